"""Prometheus metrics, and the counters and histograms behind them."""
