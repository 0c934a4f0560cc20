"""Benchmarks of edgeai and of alternatives that a user could write: `python -m benchmarks`."""
