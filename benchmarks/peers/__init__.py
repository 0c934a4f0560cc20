"""What one would use instead of edgeai, each a program of its own as its author would write it."""
