"""Payload bytes to samples, as the configuration declares."""
