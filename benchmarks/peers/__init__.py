"""Alternatives to edgeai, each a complete program as its author would write it."""
