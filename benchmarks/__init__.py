"""Measurements of edgeai beside what a user would otherwise write: `python -m benchmarks`."""
