"""Alarm state and diagnosis."""
