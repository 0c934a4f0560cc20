"""What hinders a node on this machine and at its broker, and what to do, for `edgeai doctor`."""

__all__: list[str] = []
