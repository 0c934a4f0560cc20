"""Operating states: declared conditions that name what a machine does, and what follows from it."""

__all__: list[str] = []
