"""Keys: ECDSA on P-256, P-384 or P-521, in PEM files. The only module that needs `cryptography`.

The id of a key is the SHA-256 of its public key in PEM, hexadecimal, as the reference tool writes
it into a bundle.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeai.errors import ConfigError, Problem
from edgeai.paths import reason_of

MAX_KEY_BYTES = 65_536
HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
"""The hash of the signature by the key's curve."""
CURVES = "must be an elliptic curve key on P-256, P-384 or P-521"


@dataclass(frozen=True)
class PublicKey:
    """A public key that a user trusts."""

    file: str
    id: str
    key: ec.EllipticCurvePublicKey

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Whether the owner of the key has signed this data."""
        try:
            self.key.verify(signature, data, _algorithm_of(self.key))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """A private key to sign with, and the id of its public key."""

    id: str
    key: ec.EllipticCurvePrivateKey

    def sign(self, data: bytes) -> bytes:
        """Return the signature of the data, DER."""
        return self.key.sign(data, _algorithm_of(self.key.public_key()))


def read_public_key(path: Path, field: str = "") -> PublicKey:
    """Read a public key.

    Args:
        path: A PEM file.
        field: The configuration key or option that names it, for errors.

    Raises:
        ConfigError: The file cannot be read, or holds no public key of these curves.
    """
    content = _read(path, field)
    if b"PRIVATE KEY-----" in content:
        rule = "is a private key, which must stay with the signer: give its public key"
        raise _refusal(path, field, f"{rule} (openssl pkey -in KEY -pubout -out PUBLIC)")
    try:
        key: Any = serialization.load_pem_public_key(content)
    except Exception as error:
        rule = "is not a public key in PEM (-----BEGIN PUBLIC KEY-----)"
        raise _refusal(path, field, rule) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise _refusal(path, field, CURVES)
    return PublicKey(str(path), _id_of(key), key)


def read_private_key(path: Path, password: str | None = None) -> PrivateKey:
    """Read a private key.

    Args:
        path: A PEM file.
        password: Its password; None: it has none.

    Raises:
        ConfigError: The file cannot be read, holds no private key of these curves, or the password
            does not fit. No error shows a byte of the key or of the password.
    """
    content, secret = _read(path, ""), None if password is None else password.encode()
    try:
        key: Any = serialization.load_pem_private_key(content, secret)
    except TypeError as error:  # a password is missing, or one is given to a key without
        rule = "the key has no password, but one is given"
        if password is None:
            rule = "the key has a password: give --password-file or --password-env"
        raise _refusal(path, "", rule) from error
    except Exception as error:
        rule = "is not a private key in PEM"
        if password is not None:
            rule += ", or the password is not that of the key"
        raise _refusal(path, "", rule) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in HASHES:
        raise _refusal(path, "", CURVES)
    return PrivateKey(_id_of(key.public_key()), key)


def _algorithm_of(key: ec.EllipticCurvePublicKey) -> ec.ECDSA:
    return ec.ECDSA(HASHES[key.curve.name]())


def _id_of(key: ec.EllipticCurvePublicKey) -> str:
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(pem).hexdigest()


def _read(path: Path, field: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _refusal(path, field, f"cannot be read: {reason_of(error)}") from error
    if len(content) > MAX_KEY_BYTES:
        raise _refusal(path, field, f"must not be larger than {MAX_KEY_BYTES} bytes")
    return content


def _refusal(path: Path, field: str, rule: str) -> ConfigError:
    return ConfigError([Problem(str(path), field, rule)])
