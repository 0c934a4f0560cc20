"""Keys, folders and statements to sign in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeai.signing.bundle import Bundle, signed_bytes, write_bundle
from edgeai.signing.keys import PrivateKey, PublicKey, read_private_key, read_public_key
from edgeai.signing.trust import Trust

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
FILES = {
    "model.yaml": b"name: press\n",
    "model.onnx": bytes(range(64)),
    "golden.npz": b"windows",
    "training/train.py": b"print()\n",
    "training-notes.txt": b"",
    "한글 이름.md": b"a name beyond ASCII",
}
"""Names whose order by path and by text differ, an empty file, and a folder."""


def write_keys(
    folder: Path, name: str = "key", curve: str = "P-256", password: bytes | None = None
) -> tuple[Path, Path]:
    """Write a new pair of keys; return the files of the private and of the public one."""
    key = ec.generate_private_key(CURVES[curve])
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        protection = serialization.BestAvailableEncryption(password)
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    )
    private.chmod(0o600)
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


def new_keys(folder: Path, name: str = "key", curve: str = "P-256") -> tuple[PrivateKey, PublicKey]:
    """Return a new pair of keys."""
    private, public = write_keys(folder, name, curve)
    return read_private_key(private), read_public_key(public)


def write_folder(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """Write a folder with these files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def trusting(*keys: PublicKey, **options: Any) -> Trust:
    return Trust(list(keys), **options)


def sign_payload(path: Path, payload: bytes, key: PrivateKey, hint: str | None = None) -> None:
    """Write a signature over any payload, such as a statement that breaks a rule."""
    hint = key.id if hint is None else hint
    path.write_bytes(write_bundle(Bundle(payload, key.sign(signed_bytes(payload)), hint)))


def leaves(value: Any, place: Sequence[str | int] = ()) -> list[tuple[str | int, ...]]:
    """Return the places of all values in a JSON value, containers included."""
    found = [tuple(place)] if place else []
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        found += leaves(inner, [*place, key])
    return found
