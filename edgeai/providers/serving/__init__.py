"""Serve a model on an accelerator, with failover to the CPU session."""
