"""Training data: files, the simulated plant, windows."""
