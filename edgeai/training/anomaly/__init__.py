"""Anomaly detectors: the mathematics of each and the graph that computes it."""
