"""Sessions on an accelerator, with the CPU behind them."""
