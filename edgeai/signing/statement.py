"""What is signed: an in-toto statement with the SHA-256 of every file of a package.

The format is that of OpenSSF Model Signing v1.0, serialization method `files`:

    {"_type": "https://in-toto.io/Statement/v1",
     "subject": [{"name": <folder>, "digest": {"sha256": <SHA-256 over all digests, in order>}}],
     "predicateType": "https://model_signing/signature/v1.0",
     "predicate": {
       "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": false,
                         "ignore_paths": [<path>, ...]},
       "resources": [{"name": <path>, "algorithm": "sha256", "digest": <hexadecimal>}, ...]}}

Other fields are ignored, as the format demands of a verifier of v1.0.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from edgeai.errors import printable
from edgeai.signing.files import MAX_FILES, is_plain_name

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MAX_IGNORED = 100
_HEXADECIMAL = re.compile(r"[0-9a-f]{64}", re.ASCII)


class StatementError(ValueError):
    """A statement that breaks a rule; the text is the rule, with the value."""


class SignedFiles(NamedTuple):
    """What a statement says of the files of a package."""

    digests: Mapping[str, str]
    """SHA-256, hexadecimal, by name."""
    ignored: tuple[str, ...]
    """Paths that the signer left out."""


class _Subject(msgspec.Struct):
    digest: dict[str, str]


class _Serialization(msgspec.Struct):
    method: str
    hash_type: str
    ignore_paths: list[str] = []


class _Resource(msgspec.Struct):
    name: str
    algorithm: str
    digest: str


class _Predicate(msgspec.Struct):
    serialization: _Serialization
    resources: list[_Resource]


class _Statement(msgspec.Struct):
    type: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicate_type: str = msgspec.field(name="predicateType")
    predicate: _Predicate


def write_statement(name: str, digests: Mapping[str, str], ignored: Sequence[str]) -> bytes:
    """Return the statement to sign.

    Args:
        name: Name of the package folder, for people only.
        digests: SHA-256 by file, in the order of `list_files`.
        ignored: Paths that are left out.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root_of(digests.values())}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": sorted(ignored),
            },
            "resources": [
                {"name": file, "algorithm": "sha256", "digest": digest}
                for file, digest in digests.items()
            ],
        },
    }
    return json.dumps(statement, ensure_ascii=False).encode("utf-8")


def read_statement(payload: bytes) -> SignedFiles:
    """Return what a statement says.

    Raises:
        StatementError: It is no statement of this format, or contradicts itself.
    """
    try:
        found = msgspec.json.decode(payload, type=_Statement)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StatementError(f"the signed statement is damaged: {error}") from error
    _must_be("_type", found.type, STATEMENT_TYPE)
    _must_be("predicateType", found.predicate_type, PREDICATE_TYPE)
    serialization, resources = found.predicate.serialization, found.predicate.resources
    _must_be("serialization.method", serialization.method, "files")
    _must_be("serialization.hash_type", serialization.hash_type, "sha256")
    if len(found.subject) != 1:
        raise StatementError(f"must have one subject, but has {len(found.subject)}")
    if not 0 < len(resources) <= MAX_FILES:
        raise StatementError(f"must sign 1 to {MAX_FILES} files, but signs {len(resources)}")
    if len(serialization.ignore_paths) > MAX_IGNORED:
        raise StatementError(f"must not ignore more than {MAX_IGNORED} paths")
    for path in serialization.ignore_paths:
        _check_name(path)
    digests: dict[str, str] = {}
    for one in resources:
        _check_name(one.name)
        _must_be(f"algorithm of {printable(one.name)}", one.algorithm, "sha256")
        if not _HEXADECIMAL.fullmatch(one.digest):
            raise StatementError(f"the digest of {printable(one.name)} is no SHA-256")
        if one.name in digests:
            raise StatementError(f"lists {printable(one.name)} twice")
        digests[one.name] = one.digest
    if found.subject[0].digest.get("sha256") != _root_of(digests.values()):
        raise StatementError("the digest of the subject is not that of its files")
    return SignedFiles(digests, tuple(serialization.ignore_paths))


def _root_of(digests: Iterable[str]) -> str:
    """Return the SHA-256 over the digests of all files, in their order."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def _must_be(what: str, value: str, expected: str) -> None:
    if value != expected:
        raise StatementError(f"{what} must be {expected!r} (found {value[:80]!r})")


def _check_name(name: str) -> None:
    if not is_plain_name(name):
        text = printable(name)[:80]
        raise StatementError(f"names must be relative and without `.` and `..` (found {text!r})")
