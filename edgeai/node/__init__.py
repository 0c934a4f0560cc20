"""One node: engine, broker connection, HTTP server."""
