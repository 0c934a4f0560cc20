"""edgeai: anomaly and physics-informed models as a service on a factory line."""

__version__ = "0.1.0"
