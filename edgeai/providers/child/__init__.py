"""The program that runs an accelerator's session in a process of its own."""
