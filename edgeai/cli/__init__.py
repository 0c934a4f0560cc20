"""The command line: one module a group of commands. What a command does stands in its room."""

from edgeai.cli.main import app, main

__all__ = ["app", "main"]
