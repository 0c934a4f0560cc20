"""What a payload that cannot be read looks like, and the key to set: a hint for people.

What a source reads is declared and never guessed. This is used by `edgeai doctor` alone, after the
declared decoder has refused a payload.
"""

import math
import struct
import zlib
from collections.abc import Callable
from typing import Any

from edgeai.config.document_formats import CborPayload, MsgpackPayload
from edgeai.decoding.formats.packed import compile_cbor, compile_msgpack
from edgeai.doctor.text_hints import Hint, is_json, text_hint
from edgeai.errors import DecodeError

MAX_CONTENT_BYTES = 65_536  # of a payload, or of a compressed one, that are looked at
MAGIC = (
    (b"EDG1", "a frame of edgeai", "layout: frame with frame: {type: binary, header: edgeai1}"),
    (b"\xff\xff\xff\xff", "an Arrow IPC stream", "layout: frame with frame: {type: arrow}"),
)
UNREADABLE = (
    (b"\x28\xb5\x2f\xfd", "zstd compression"),
    (b"\x04\x22\x4d\x18", "LZ4 compression"),
    (b"PK\x03\x04", "a ZIP file"),
    (b"BZh", "bzip2 compression"),
    (b"\xfd7zXZ", "xz compression"),
    (b"\xff\x06\x00\x00sNaPpY", "Snappy compression"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\x80\x04\x95", "a pickled Python object"),
    (b"Obj\x01", "Avro"),
)


def hint_for(
    topic: str, payload: bytes, *, form: str = "json", compression: str = ""
) -> Hint | None:
    """Return what a refused payload looks like; None: nothing that is known.

    Args:
        topic: The message's.
        payload: As received.
        form: Type of the declared format.
        compression: As declared; empty: none.
    """
    if not payload:
        return Hint(
            "an empty payload, as a sender writes to delete what the broker has kept",
            "let the sender write no empty messages on this topic, or choose another one in "
            "KEY.topic",
        )
    if topic.startswith("spBv1.0/"):
        return Hint(
            "Sparkplug B (protobuf; by its topic spBv1.0/)",
            "let the gateway publish JSON instead, on a topic of its own: edgeai reads no "
            "Sparkplug",
        )
    content = payload[:MAX_CONTENT_BYTES]
    if not compression:
        packed = _unpacked(content)
        if packed is not None:
            return _compressed(topic, *packed, form=form)
    for find in (_by_magic, text_hint, _as_document, _as_number, _as_protobuf, _as_bytes):
        found = find(content)
        if found is not None:
            return _unless_declared(found, form, compression)
    return None


def _unless_declared(found: Hint, form: str, compression: str) -> Hint | None:
    """Return a hint with what has to be removed first; None if it names what is declared."""
    if form == "frame" and not compression and "{type: " not in found.remedy:
        return found._replace(
            remedy="set KEY.layout: row if a message is one sample, or KEY.frame for a block of "
            "samples in this format (docs/config.md)"
        )
    if compression:
        remedy = found.remedy
        extra = f"; and {remedy}" if remedy and f"format: {form}" not in remedy else ""
        return Hint(found.looks_like, f"remove KEY.compression{extra}")
    if not found.remedy:
        return None
    # Of JSON there are several: in another encoding, or encoded twice.
    names_it = f"KEY.format: {form}" in found.remedy and "json_lines" not in found.remedy
    names_it = names_it or (f"{{type: {form}" in found.remedy and form != "json")
    return None if names_it else found


# ------------------------------------------------------------------------------------ compression


def _unpacked(payload: bytes) -> tuple[str, bytes] | None:
    """Return how a payload is compressed and its content; None: it is not."""
    kinds = []
    if payload[:2] == b"\x1f\x8b":
        kinds = [("gzip", 31)]
    elif payload[:1] == b"\x78" and int.from_bytes(payload[:2], "big") % 31 == 0:
        kinds = [("zlib", 15)]
    elif payload[:1] not in b'{["-0123456789' and not payload[:16].isascii():
        kinds = [("deflate", -15)]
    for kind, bits in kinds:
        unpack = zlib.decompressobj(bits)
        try:
            content = unpack.decompress(payload, MAX_CONTENT_BYTES)
        except zlib.error:
            continue
        if kind != "deflate" or (unpack.eof and content.lstrip()[:1] in {b"{", b"["}):
            return kind, content
    return None


def _compressed(topic: str, kind: str, content: bytes, *, form: str) -> Hint:
    inner = None if is_json(content) else hint_for(topic, content, form=form, compression="")
    looks = f"{kind} compression"
    remedy = f"set KEY.compression: {kind}"
    if inner is not None:
        return Hint(f"{looks} of {inner.looks_like}", f"{remedy}; {inner.remedy}")
    return Hint(f"{looks} of JSON" if is_json(content) else looks, remedy)


# ----------------------------------------------------------------------------------- binary data


def _by_magic(payload: bytes) -> Hint | None:
    for start, what in UNREADABLE:
        if payload.startswith(start):
            return Hint(what, "let the sender publish what docs/formats.md lists: this is not")
    for start, what, keys in MAGIC:
        if payload.startswith(start):
            return Hint(what, f"set KEY.{keys}")
    return None


def _as_document(payload: bytes) -> Hint | None:
    """Return the hint for MessagePack and CBOR that hold a map or a list."""
    readers: dict[str, tuple[str, Callable[[bytes], Any]]] = {
        "msgpack": ("MessagePack", compile_msgpack(MsgpackPayload(type="msgpack"))),
        "cbor": ("CBOR", compile_cbor(CborPayload(type="cbor"), 0)),
    }
    for name, (what, read) in readers.items():
        try:
            document = read(payload)
        except DecodeError:
            continue
        if isinstance(document, dict) and document:
            return Hint(what, f"set KEY.format: {name}")
        if isinstance(document, list) and len(document) > 1:
            return Hint(f"{what}, a list", f"set KEY.format: {name}, and KEY.items for its records")
    return None


def _as_number(payload: bytes) -> Hint | None:
    """Return the hint for one binary number: a float of 4 or 8 bytes that is no strange value."""
    kinds = {4: ("f32", "f"), 8: ("f64", "d")}.get(len(payload))
    if kinds is None:
        return None
    for order, endian in ((">", "big"), ("<", "little")):
        (value,) = struct.unpack(order + kinds[1], payload)
        if math.isfinite(value) and 1e-3 <= abs(value) <= 1e7:
            return Hint(
                f"one binary number ({kinds[0]}, {endian} endian: {value:g})",
                f"set KEY.format: {{type: struct, endian: {endian}, fields: [{{name: value, type: "
                f"{kinds[0]}}}]}} and KEY.layout: tag (docs/formats.md)",
            )
    return None


def _as_protobuf(payload: bytes) -> Hint | None:
    """Return the hint for a payload that is a whole message of protobuf with two fields or more."""
    place = fields = 0
    while place < len(payload):
        key, place = _varint(payload, place)
        kind, number = key & 7, key >> 3
        if place < 0 or not 1 <= number <= 1000 or kind not in {0, 1, 2, 5}:
            return None
        if kind == 0:
            _, place = _varint(payload, place)
        elif kind == 2:
            length, place = _varint(payload, place)
            place = place + length if place >= 0 else place
        else:
            place += 8 if kind == 1 else 4
        if place < 0:
            return None
        fields += 1
    if place != len(payload) or fields < 2:
        return None
    return Hint("protobuf", "let the gateway publish JSON: edgeai reads no protobuf")


def _varint(payload: bytes, place: int) -> tuple[int, int]:
    """Return a number and the place after it; -1 as the place if there is none."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(payload):
            break
        byte = payload[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    return 0, -1


def _as_bytes(payload: bytes) -> Hint | None:
    return Hint(
        f"{len(payload)} bytes of binary data",
        "declare their fields with KEY.format: {type: struct} or {type: registers} "
        "(docs/formats.md), as the program of the controller writes them",
    )
