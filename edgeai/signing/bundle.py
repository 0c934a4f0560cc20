"""The file of a signature: a Sigstore bundle with a DSSE envelope, as JSON.

    {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
     "verificationMaterial": {"publicKey": {"hint": <key id>}, "tlogEntries": []},
     "dsseEnvelope": {"payload": <base64>, "payloadType": "application/vnd.in-toto+json",
                      "signatures": [{"sig": <base64>, "keyid": ""}]}}

Only the payload is signed; everything else helps to find the key, and is believed in nothing.
Entries of a transparency log and time stamps are not read, as that would need a network.
"""

import base64
import json
from typing import NamedTuple

import msgspec

from edgeai.signing.statement import PAYLOAD_TYPE

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BUNDLE_BYTES = 8 * 1024 * 1024


class BundleError(ValueError):
    """A bundle that breaks a rule; the text is the rule, with the value."""


class Bundle(NamedTuple):
    """What a bundle holds."""

    payload: bytes
    signature: bytes
    key_hint: str
    """Id of the key, by the word of the bundle; empty: the bundle names none."""


class _PublicKey(msgspec.Struct):
    hint: str | None = None


class _Material(msgspec.Struct, rename="camel"):
    public_key: _PublicKey | None = None


class _Signature(msgspec.Struct):
    sig: str


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_Signature]


class _Bundle(msgspec.Struct, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


def signed_bytes(payload: bytes) -> bytes:
    """Return what the signature of a payload is computed over: DSSE's encoding with its type."""
    head = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} "
    return head.encode("ascii") + payload


def write_bundle(bundle: Bundle) -> bytes:
    """Return the content of a signature's file."""
    content = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": bundle.key_hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(bundle.payload).decode("ascii"),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"sig": base64.b64encode(bundle.signature).decode("ascii"), "keyid": ""}
            ],
        },
    }
    return json.dumps(content).encode("ascii")


def read_bundle(content: bytes) -> Bundle:
    """Return what a signature's file holds.

    Raises:
        BundleError: It is no bundle of this format.
    """
    try:
        found = msgspec.json.decode(content, type=_Bundle)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BundleError(f"is no Sigstore bundle with a DSSE envelope: {error}") from error
    envelope = found.dsse_envelope
    for name, value, expected in (
        ("mediaType", found.media_type, MEDIA_TYPE),
        ("payloadType", envelope.payload_type, PAYLOAD_TYPE),
    ):
        if value != expected:
            raise BundleError(f"{name} must be {expected!r} (found {value[:80]!r})")
    if len(envelope.signatures) != 1:
        raise BundleError(f"must hold one signature, but holds {len(envelope.signatures)}")
    try:
        payload = base64.b64decode(envelope.payload, validate=True)
        signature = base64.b64decode(envelope.signatures[0].sig, validate=True)
    except ValueError as error:
        raise BundleError(f"payload and signature must be base64: {error}") from error
    key = found.verification_material.public_key
    return Bundle(payload, signature, (key.hint if key is not None else None) or "")
