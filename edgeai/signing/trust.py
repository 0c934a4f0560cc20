"""Sign a package folder, and decide whether a signed one is trusted.

Verification goes by constant rules, in this order: the bundle's form, a trusted key, the
signature, the statement's form, then the folder: every signed file is there with its content, and
no file is there that is not signed. Nothing of the package is read before the signature is right.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeai.errors import ConfigError, ModelError, Problem, listed
from edgeai.paths import naming_failures, reason_of, write_atomically
from edgeai.signing.bundle import (
    MAX_BUNDLE_BYTES,
    Bundle,
    BundleError,
    read_bundle,
    signed_bytes,
    write_bundle,
)
from edgeai.signing.files import ALWAYS_IGNORED, SIGNATURE, digest_of, list_files, shown
from edgeai.signing.statement import SignedFiles, StatementError, read_statement, write_statement

if TYPE_CHECKING:  # `cryptography` is loaded by those who have a key, and by no other process
    from edgeai.signing.keys import PrivateKey, PublicKey

READABLE = 0o644
SHORT = 16  # digits of a key's id, for people


@dataclass(frozen=True)
class Verified:
    """A signature that was right, and what it covers."""

    key_id: str
    key_file: str
    files: SignedFiles

    def __str__(self) -> str:
        return f"key {self.key_id[:SHORT]} ({self.key_file})"

    def check_covers(self, folder: Path, name: str) -> str:
        """Return the SHA-256 of a file that edgeai is about to read; ModelError if not signed."""
        digest = self.files.digests.get(name)
        if digest is None:
            raise ModelError(
                shown(folder, name), "is used by the model, but its signer left it out"
            )
        return digest


@dataclass(frozen=True)
class Trust:
    """Whose signatures count, and whether a package needs one."""

    keys: Sequence["PublicKey"]
    require_signature: bool = True
    signature: Path | None = None
    """File of the signature; None: model.sig in the package folder."""
    named_by: str = field(default="models.require_signature", compare=False)
    """Who asks for a signature, for errors."""

    def verify(self, folder: Path) -> Verified | None:
        """Verify the signature of a folder, and every file against it.

        Returns:
            Who has signed; None if there is no signature and none is required.

        Raises:
            ModelError: The signature is missing, or a rule is broken.
        """
        path = self.signature or folder / SIGNATURE
        if not self.require_signature and not os.path.lexists(path):
            return None
        bundle = self._read_required(path)
        key = self._key_of(path, bundle)
        files = _statement_of(path, bundle)
        _compare(folder, path, files)
        return Verified(key.id, key.file, files)

    def _read_required(self, path: Path) -> Bundle:
        if not os.path.lexists(path):
            rule = f"no such file, but {self.named_by} asks for a signature (edgeai sign)"
            raise ModelError(str(path), rule)
        return _read_bundle(path)

    def _key_of(self, path: Path, bundle: Bundle) -> "PublicKey":
        trusted = listed(f"{key.file} ({key.id[:SHORT]})" for key in self.keys)
        named = [key for key in self.keys if bundle.key_hint in {"", key.id}]
        if not named:
            rule = f"is signed with another key than the trusted ones, {trusted}"
            raise ModelError(str(path), rule, bundle.key_hint[:SHORT])
        data = signed_bytes(bundle.payload)
        for key in named:
            if key.has_signed(data, bundle.signature):
                return key
        rule = f"the signature is wrong: it is not by {listed(key.file for key in named)}"
        raise ModelError(str(path), f"{rule}, or its content was changed")


def sign_folder(folder: Path, key: "PrivateKey", output: Path | None = None) -> SignedFiles:
    """Sign every file of a package folder.

    Args:
        folder: The package folder.
        key: The key to sign with.
        output: File to write, whole or not at all; None: model.sig in the folder.

    Raises:
        ModelError: The folder holds what cannot be signed.
        ConfigError: The file cannot be written, or is there and no signature.
    """
    output = output or folder / SIGNATURE
    if os.path.lexists(output):
        try:
            _read_bundle(output)
        except ModelError as error:
            rule = "is there and is no signature: it is not overwritten"
            raise ConfigError([Problem(str(output), "", rule)]) from error
    ignored = {*ALWAYS_IGNORED, *_name_inside(folder, output)}
    digests = {name: digest_of(folder, name) for name in list_files(folder, ignored)}
    if not digests:
        raise ModelError(str(folder), "holds no file to sign")
    payload = write_statement(folder.resolve().name, digests, sorted(ignored))
    bundle = Bundle(payload, key.sign(signed_bytes(payload)), key.id)
    with naming_failures(output):
        write_atomically(output, write_bundle(bundle), READABLE)
    return SignedFiles(digests, tuple(sorted(ignored)))


def misfit(folder: Path) -> str:
    """Return why the signature in a folder no longer fits its files; empty if it does.

    Also empty if there is none. No key is asked for: this is for who changes a package.
    """
    path = folder / SIGNATURE
    if not os.path.lexists(path):
        return ""
    try:
        _compare(folder, path, _statement_of(path, _read_bundle(path)))
    except ModelError as error:
        return f"{path} no longer fits: sign the package again (edgeai sign). {error}"
    return ""


def _read_bundle(path: Path) -> Bundle:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ModelError(str(path), "must be a plain file")
            content = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {reason_of(error)}") from error
    if len(content) > MAX_BUNDLE_BYTES:
        raise ModelError(str(path), f"must not be larger than {MAX_BUNDLE_BYTES} bytes")
    try:
        return read_bundle(content)
    except BundleError as error:
        raise ModelError(str(path), str(error)) from error


def _statement_of(path: Path, bundle: Bundle) -> SignedFiles:
    try:
        return read_statement(bundle.payload)
    except StatementError as error:
        raise ModelError(str(path), str(error)) from error


def _compare(folder: Path, signature: Path, files: SignedFiles) -> None:
    """Compare a folder with what was signed; the names first, as they cost nothing."""
    ignored = {*ALWAYS_IGNORED, *files.ignored, *_name_inside(folder, signature)}
    there = list_files(folder, ignored)
    for name in there:
        if name not in files.digests:
            rule = "is not among the signed files: remove it, or sign the package again"
            raise ModelError(shown(folder, name), rule)
    for name in sorted(set(files.digests) - set(there)):
        raise ModelError(shown(folder, name), "is among the signed files, but is not there")
    for name in there:
        digest = digest_of(folder, name)
        if digest != files.digests[name]:
            rule = f"is not what was signed, whose SHA-256 is {files.digests[name][:12]}..."
            raise ModelError(shown(folder, name), rule, f"{digest[:12]}...")


def _name_inside(folder: Path, path: Path) -> list[str]:
    """Return the name of a file relative to the folder, in a list; none if it is outside."""
    # The folders are resolved, the file is not: a link in the folder stands under its own name.
    place = path.parent.resolve() / path.name
    root = folder.resolve()
    return [place.relative_to(root).as_posix()] if place.is_relative_to(root) else []
