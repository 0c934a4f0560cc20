"""The command line. Each module holds one group of commands; the work is done in its room."""

from edgeai.cli.main import app, main

__all__ = ["app", "main"]
