"""One stream's samples: conditioning, alignment, the ring of the last window."""

__all__: list[str] = []
