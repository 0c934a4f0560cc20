"""Several processes that share the streams of one node."""

__all__: list[str] = []
