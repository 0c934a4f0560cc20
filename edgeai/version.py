"""The version of edgeai, for the command, the metrics and the package's metadata."""

__version__ = "0.1.0"
