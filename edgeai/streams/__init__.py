"""One stream's samples: conditioning, order, alignment, and the ring that emits windows."""

__all__: list[str] = []
