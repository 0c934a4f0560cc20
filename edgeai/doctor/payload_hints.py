"""What a payload that cannot be read looks like, and the key to set: a hint for people.

What a source reads is declared and never guessed. This is used by `edgeai doctor` alone, after the
declared decoder has refused a payload.
"""

import base64
import binascii
import json
import math
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from edgeai.config.text_formats import CborPayload, MsgpackPayload
from edgeai.decoding.formats.line_protocol import compile_line_protocol
from edgeai.decoding.formats.packed import compile_cbor, compile_msgpack
from edgeai.errors import DecodeError

MAX_CONTENT_BYTES = 65_536  # of a payload, or of a compressed one, that are looked at
MIN_BASE64, MIN_HEX = 16, 4  # characters; shorter texts may be words
MAX_LINES = 20
SEPARATORS = (";", "\t", ",", "|")
TEXT_VALUES = {"on", "off", "true", "false", "yes", "no", "running", "stopped", "open", "closed"}
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
HEX_DIGITS = re.compile(r"[0-9A-Fa-f ]+")
LINE_PROTOCOL = re.compile(r"[^\s,=]+(,[^\s,=]+=[^\s,=]+)* [^\s=]+=\S+")
NAMED_VALUES = re.compile(r"\s*[\w.]+\s*[=:]\s*[^,;\s]+(\s*[,;\s]\s*[\w.]+\s*[=:]\s*[^,;\s]+)*\s*")


class Hint(NamedTuple):
    """What a payload looks like, and what to do."""

    looks_like: str
    """Behind the words "it looks like"."""
    remedy: str
    """What to set, or what the sender has to change; `KEY` stands for the source's place."""


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
    for find in (_by_magic, _as_text, _as_document, _as_number, _as_protobuf, _as_bytes):
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
    is_same = f"KEY.format: {form}" in found.remedy or f"{{type: {form}" in found.remedy
    return None if is_same else found


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
    inner = None if _is_json(content) else hint_for(topic, content, form=form, compression="")
    looks = f"{kind} compression"
    remedy = f"set KEY.compression: {kind}"
    if inner is not None:
        return Hint(f"{looks} of {inner.looks_like}", f"{remedy}; {inner.remedy}")
    return Hint(f"{looks} of JSON" if _is_json(content) else looks, remedy)


# ------------------------------------------------------------------------------------------ texts


def _as_text(payload: bytes) -> Hint | None:
    if payload[:2] in {b"\xff\xfe", b"\xfe\xff"} or _is_wide(payload):
        return Hint("UTF-16 text", "let the sender write UTF-8")
    try:
        text = payload.decode("utf-8-sig").strip("\0 \r\n\t")
    except UnicodeDecodeError:
        return _other_encoding(payload)
    if not text or not _is_printable(text):
        return None
    for find in (
        _json_value, _json_almost, _number, _word, _xml, _encoded, _line_protocol, _csv, _pairs
    ):  # fmt: skip
        found = find(text)
        if found is not None:
            return found
    return Hint("a text", "set KEY.format: text if the text is one value, else see docs/formats.md")


def _is_wide(payload: bytes) -> bool:
    """Return whether a payload is UTF-16 of mostly ASCII: every second byte is 0."""
    return len(payload) >= 8 and (not any(payload[1::2]) or not any(payload[0::2]))


def _is_printable(text: str) -> bool:
    return all(one.isprintable() or one in "\r\n\t" for one in text)


def _other_encoding(payload: bytes) -> Hint | None:
    """Return the hint for a text in a Korean or Western encoding of Windows."""
    for encoding in ("cp949", "cp1252"):
        try:
            text = payload.decode(encoding)
        except UnicodeDecodeError:
            continue
        readable = sum(one.isascii() for one in text) >= 0.5 * len(text)
        if readable and _is_printable(text):
            if text.lstrip()[:1] in {"{", "["}:
                return Hint(f"JSON in {encoding}, not UTF-8", "let the sender write UTF-8")
            found = _csv(text)
            if found is not None:
                remedy = found.remedy.replace("}", f", encoding: {encoding}}}", 1)
                return Hint(f"{found.looks_like} in {encoding}", remedy)
    return None


def _json_value(text: str) -> Hint | None:
    if text[:1] not in '{["tfn':
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    if isinstance(document, dict):
        return Hint("a JSON object", "set KEY.format: json")
    if isinstance(document, list):
        if document and all(isinstance(one, dict) for one in document):
            return Hint(
                "a JSON list of records", 'set KEY.items: "*", so that each element is a record'
            )
        return Hint(
            "a JSON list of values without names",
            "let the sender write an object with names, or the layout `frame` for a waveform "
            "(docs/config.md)",
        )
    if isinstance(document, str) and document.lstrip()[:1] in {"{", "["}:
        return Hint("JSON in a JSON text: it was encoded twice", "let the sender encode it once")
    return _word(str(document))


def _json_almost(text: str) -> Hint | None:
    if text[:1] not in "{[":
        return None
    lines = [line for line in text.splitlines() if line.strip()][:MAX_LINES]
    if len(lines) > 1 and all(_is_json(line.encode()) for line in lines):
        return Hint(
            "several JSON objects, a line each",
            "let the sender write a list of them, with KEY.items, or one object a message",
        )
    if "'" in text and _is_json(text.replace("'", '"').encode()):
        return Hint(
            "JSON with single quotes, as Python prints a dict",
            "let the sender write JSON (json.dumps)",
        )
    without_commas = re.sub(r",\s*([}\]])", r"\1", text)
    if without_commas != text and _is_json(without_commas.encode()):
        return Hint("JSON with a comma before a closing bracket", "correct the sender")
    if re.search(r"[:\[,]\s*-?\d+,\d+\s*[,}\]]", text):
        return Hint(
            "JSON with decimal commas",
            "let the sender write a decimal point, or numbers in quotes with KEY.numeric_text and "
            "KEY.decimal_mark",
        )
    if re.search(r"[{,]\s*[A-Za-z_]\w*\s*:", text):
        return Hint("JSON with names without quotes", "let the sender quote the names")
    opened = text.count("{") + text.count("[") - text.count("}") - text.count("]")
    if opened > 0:
        return Hint(
            "JSON that is cut off",
            "raise the length of the buffer in the sender's program (in a controller the maximum "
            "length of its STRING)",
        )
    return Hint("JSON with a mistake in it", f"correct the sender{_json_mistake(text)}")


def _json_mistake(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        return f": {error}"
    return ""


def _number(text: str) -> Hint | None:
    plain = text.replace(",", ".", 1)
    try:
        value = float(plain)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    comma = ', KEY.decimal_mark: ","' if "," in text else ""
    return Hint(
        "one value as text", f"set KEY.format: text{comma} and KEY.layout: tag (docs/formats.md)"
    )


def _word(text: str) -> Hint | None:
    if text.strip('"').lower() not in TEXT_VALUES:
        return None
    return Hint(
        "one value as a word",
        "set KEY.format: text, KEY.layout: tag and KEY.value_map, which gives each word a number",
    )


def _xml(text: str) -> Hint | None:
    if not re.match(r"<(\?xml|[A-Za-z][\w.:-]*[\s/>])", text):
        return None
    return Hint("XML", "let the gateway publish JSON: edgeai reads no XML")


def _encoded(text: str) -> Hint | None:
    """Return the hint for base64 or hexadecimal digits."""
    is_hex = len(text) >= MIN_HEX and len(text) % 2 == 0 and HEX_DIGITS.fullmatch(text)
    if is_hex and not text.replace(" ", "").isdigit():
        return Hint(
            "hexadecimal digits",
            "let the sender write the bytes themselves (KEY.format: {type: struct}), or the "
            "digits in JSON (KEY.format: {type: hex})",
        )
    if len(text) < MIN_BASE64 or not re.fullmatch(r"[A-Za-z0-9+/\s]+={0,2}", text):
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if _is_json(content):
        return Hint("base64 of JSON", "let the sender publish the JSON itself")
    return Hint("base64", "let the sender publish the bytes themselves")


def _line_protocol(text: str) -> Hint | None:
    if not LINE_PROTOCOL.match(text):
        return None
    try:
        compile_line_protocol(None, MAX_LINES * 1000)(text.encode())  # type: ignore[arg-type]
    except DecodeError:
        return None
    return Hint(
        "InfluxDB line protocol", "set KEY.preset: line-protocol (edgeai presets line-protocol)"
    )


def _csv(text: str) -> Hint | None:
    lines = [line for line in text.splitlines() if line.strip()][:MAX_LINES]
    for separator in SEPARATORS:
        rows = [line.split(separator) for line in lines]
        widths = {len(row) for row in rows}
        if len(widths) != 1 or widths == {1}:
            continue
        values = rows[-1]
        numbers = sum(_is_number(one, decimal_comma=separator != ",") for one in values)
        if numbers * 2 < len(values):
            continue
        head = not any(_is_number(one) for one in rows[0]) and len(rows) > 1
        names = "header: true" if head else "columns: [name, ...]"
        shown = '"\\t"' if separator == "\t" else f'"{separator}"'
        comma = ', KEY.decimal_mark: ","' if separator != "," and "," in text else ""
        return Hint(
            "CSV",
            f"set KEY.format: {{type: csv, separator: {shown}, {names}}}{comma} and "
            'KEY.items: "*" (docs/formats.md)',
        )
    return None


def _pairs(text: str) -> Hint | None:
    if not re.search(r"[=:]", text) or not NAMED_VALUES.fullmatch(text):
        return None
    return Hint("names and values as text", 'let the sender write JSON, such as {"name": 1.5}')


def _is_number(text: str, *, decimal_comma: bool = False) -> bool:
    try:
        float(text.strip().strip('"').replace(",", "." if decimal_comma else ",", 1))
    except ValueError:
        return False
    return True


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


def _is_json(content: bytes) -> bool:
    """Return whether bytes are a JSON object or list."""
    try:
        return isinstance(json.loads(content), dict | list)
    except (ValueError, RecursionError):
        return False
