"""Recordings as messages: CSV and Parquet tables, and JSON lines; read by replay and training."""

__all__: list[str] = []
