"""Choose the execution provider of a model: find hardware, prove and measure candidates."""
