"""Conditions over the signals of a stream: a small closed set of operators, compiled once."""

__all__: list[str] = []
