"""The child process of an accelerator: loads one model and answers calls."""
