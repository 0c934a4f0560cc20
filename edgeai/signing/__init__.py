"""Signatures of model packages: OpenSSF Model Signing v1.0 with keys, offline."""

__all__: list[str] = []
