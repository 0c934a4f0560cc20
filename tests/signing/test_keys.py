"""Files of keys: what is taken, and what is said of all others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from edgeai.errors import ConfigError
from edgeai.signing.keys import MAX_KEY_BYTES, read_private_key, read_public_key
from tests.support.signing import CURVES, write_keys

Key = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PASSWORD = "두 단어 word"


def other_keys() -> dict[str, Key]:
    return {
        "RSA": rsa.generate_private_key(65537, 2048),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
        "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    }


def private_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def refusal(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path)
    (problem,) = caught.value.problems
    assert problem.file == str(path)
    return problem.rule


@pytest.mark.parametrize("curve", CURVES)
def test_a_pair_of_keys(tmp_path: Path, curve: str) -> None:
    private, public = write_keys(tmp_path, curve=curve)
    key, other = read_private_key(private), read_public_key(public)
    assert key.id == other.id
    signature = key.sign(b"data")
    assert other.has_signed(b"data", signature)
    assert not other.has_signed(b"date", signature)
    assert not other.has_signed(b"data", b"")


def test_a_key_with_a_password(tmp_path: Path) -> None:
    private, _ = write_keys(tmp_path, password=PASSWORD.encode())
    assert read_private_key(private, PASSWORD).id
    assert "has a password: give --password-file" in refusal(read_private_key, private)
    said = refusal(lambda path: read_private_key(path, "secret of mine"), private)
    assert "the password is not that of the key" in said
    assert "secret of mine" not in said
    plain, _ = write_keys(tmp_path, "plain")
    said = refusal(lambda path: read_private_key(path, PASSWORD), plain)
    assert said == "the key has no password, but one is given"


@pytest.mark.parametrize("kind", other_keys())
def test_other_kinds_of_keys_are_refused(tmp_path: Path, kind: str) -> None:
    key, path = other_keys()[kind], tmp_path / "key.pem"
    path.write_bytes(private_pem(key))
    assert "on P-256, P-384 or P-521" in refusal(read_private_key, path)
    path.write_bytes(public_pem(key))
    assert "on P-256, P-384 or P-521" in refusal(read_public_key, path)


def test_a_private_key_in_place_of_a_public_one_and_the_other_way_round(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    assert "is a private key, which must stay" in refusal(read_public_key, private)
    assert refusal(read_private_key, public) == "is not a private key in PEM"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"-" * (MAX_KEY_BYTES + 1))
    readers: list[Callable[[Path], object]] = [read_private_key, read_public_key]
    for read in readers:
        assert refusal(read, tmp_path / "none") == "cannot be read: No such file or directory"
        assert refusal(read, tmp_path) == "cannot be read: Is a directory"
        assert refusal(read, large) == f"must not be larger than {MAX_KEY_BYTES} bytes"


@given(st.data())
def test_damaged_keys_are_refused_or_are_another_key(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    private, public = write_keys(folder)
    readers: list[tuple[Callable[[Path], object], Path]] = [
        (read_private_key, private), (read_public_key, public),
    ]  # fmt: skip
    read, path = data.draw(st.sampled_from(readers))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with contextlib.suppress(ConfigError):
        read(path)
