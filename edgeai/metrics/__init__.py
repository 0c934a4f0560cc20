"""Prometheus metrics: the table of all, cheap counters and histograms."""

__all__: list[str] = []
