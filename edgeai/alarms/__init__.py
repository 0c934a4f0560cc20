"""Alarms: their state, what operators and causes make of them, chattering, diagnosis."""

__all__: list[str] = []
