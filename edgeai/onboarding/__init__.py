"""First contact with a line: record what arrives, and show what becomes of it."""

__all__: list[str] = []
