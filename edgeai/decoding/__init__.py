"""Payload bytes to samples, as the configuration declares."""

__all__: list[str] = []
