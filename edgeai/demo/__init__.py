"""The demo: a broker, a simulated line, the runtime and a live table."""

__all__: list[str] = []
