"""What is wrong with a file of certificates or a key, in words, before OpenSSL reads it."""

import os
import re
from pathlib import Path

from edgeai.errors import Problem
from edgeai.paths import reason_of

MAX_FILE_BYTES = 4 * 1024 * 1024  # the CA certificates of a whole system take 0.3 MB
BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
CERTIFICATES = frozenset({b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE"})
CUT_OFF = "is cut off: a block of it has no end"
DER_SEQUENCE = b"\x30"  # first byte of a certificate, a key and a PKCS#12 file in binary form
PKCS12_VERSION = b"\x02\x01\x03"  # follows the length of the outer sequence


def check_certificates(path: str, field: str) -> Problem | None:
    """Return why a file holds no certificate in PEM form, with its name and key; None: it does."""
    content = _read(path)
    if isinstance(content, str):
        return Problem(path, field, content)
    blocks = set(BLOCK.findall(content))
    if content.count(b"-----BEGIN ") > content.count(b"-----END "):
        return Problem(path, field, CUT_OFF)
    if blocks & CERTIFICATES:
        return None
    if any(one.endswith(b"PRIVATE KEY") for one in blocks):
        rule = "holds a private key, but a certificate belongs here"
    elif b"CERTIFICATE REQUEST" in blocks:
        rule = "holds a certificate request (CSR): name the certificate that the CA made of it"
    else:
        rule = f"holds no certificate in PEM form{_other_form(content, path)}"
    return Problem(path, field, rule)


def check_key(path: str, field: str) -> Problem | None:
    """Return why a file holds no private key that can be used, as above; None: it does."""
    content = _read(path)
    if isinstance(content, str):
        return Problem(path, field, content)
    blocks = set(BLOCK.findall(content))
    if content.count(b"-----BEGIN ") > content.count(b"-----END "):
        return Problem(path, field, CUT_OFF)
    if b"ENCRYPTED PRIVATE KEY" in blocks or b"Proc-Type: 4,ENCRYPTED" in content:
        rule = (
            "the private key has a passphrase, and nobody is there to type it: remove it "
            f"(openssl pkey -in {path} -out NEW_FILE)"
        )
    elif any(one.endswith(b"PRIVATE KEY") for one in blocks):
        return None
    elif blocks & CERTIFICATES:
        rule = "holds a certificate, but the private key belongs here"
    else:
        rule = f"holds no private key in PEM form{_other_form(content, path)}"
    return Problem(path, field, rule)


def _read(path: str) -> bytes | str:
    """Return the content of a file, or why it cannot be used."""
    place = Path(path)
    try:
        if place.is_dir():
            return "is a folder, not a file"
        with place.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as error:
        who = (
            f" (this process is user {os.geteuid()})" if isinstance(error, PermissionError) else ""
        )
        return f"cannot be read: {reason_of(error)}{who}"
    if len(content) > MAX_FILE_BYTES:
        return f"must not be larger than {MAX_FILE_BYTES} bytes"
    return content if content.strip() else "is empty"


def _other_form(content: bytes, path: str) -> str:
    """Return which other form a file has, and how to convert it; empty if it is not known."""
    if not content.startswith(DER_SEQUENCE):
        return ""
    if PKCS12_VERSION in content[2:8]:
        return f" but PKCS#12: openssl pkcs12 -in {path} -nodes -out NEW_FILE"
    return f" but binary data (DER?): openssl x509 -inform der -in {path} -out NEW_FILE"
