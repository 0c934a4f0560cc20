"""Alarm state and diagnosis."""

__all__: list[str] = []
