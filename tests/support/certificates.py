"""Certificates for tests, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: str, folder: Path) -> None:
    """Run openssl in a folder."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_ca(folder: Path, name: str, days: int = 365) -> None:
    """Make NAME.crt and NAME.key, valid for a year or some days."""
    out = ("-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}")
    openssl("req", "-x509", *NEW_KEY, "-days", str(days), *out, folder=folder)


def make_certificate(
    folder: Path, name: str, ca: str, extension: str = "subjectAltName=IP:127.0.0.1", days: int = 90
) -> None:
    """Make NAME.crt and NAME.key, signed by a CA; expired if `days` is negative."""
    (folder / f"{name}.ext").write_text(extension)
    out = ("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl("req", *NEW_KEY, *out, folder=folder)
    sign = ("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key")
    more = ("-CAcreateserial", "-days", str(days), "-extfile", f"{name}.ext")
    openssl(*sign, *more, "-out", f"{name}.crt", folder=folder)


def tls_lines(folder: Path, server: str, ca: str) -> list[str]:
    """Return the lines of mosquitto's configuration for a listener with TLS."""
    return [f"cafile {folder}/{ca}.crt", f"certfile {folder}/{server}.crt",
            f"keyfile {folder}/{server}.key"]  # fmt: skip
