"""Training data from files or the simulated plant, cut into windows."""
