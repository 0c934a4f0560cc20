"""Create a certificate for loopback with the openssl program."""

import subprocess
from pathlib import Path


def write_certificate(folder: Path) -> Path:
    """Write a self-signed certificate and its key into one file, and return it."""
    certificate = folder / "loopback.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(certificate), "-out", str(folder / "certificate.pem"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    with certificate.open("a") as file:
        file.write((folder / "certificate.pem").read_text())
    return certificate
