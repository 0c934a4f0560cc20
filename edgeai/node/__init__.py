"""One node: engine, broker connection, HTTP server."""

__all__: list[str] = []
