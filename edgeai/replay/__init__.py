"""Recorded data through the same turn as live data."""
