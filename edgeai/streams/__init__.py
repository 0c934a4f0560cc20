"""One stream's samples: conditioning, alignment, the ring of the last window."""
