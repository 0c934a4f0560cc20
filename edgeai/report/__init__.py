"""A page about what a pipeline makes of recordings, for `edgeai report`."""

__all__: list[str] = []
