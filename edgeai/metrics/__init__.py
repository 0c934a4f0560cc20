"""Prometheus metrics, and the counters and histograms behind them."""

__all__: list[str] = []
