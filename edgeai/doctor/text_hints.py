"""What a payload of text looks like that cannot be read, and the key to set."""

import base64
import binascii
import json
import math
import re
from typing import NamedTuple

from edgeai.decoding.formats.line_protocol import compile_line_protocol
from edgeai.errors import DecodeError

MIN_WIDE = 8  # bytes
MIN_BASE64, MIN_HEX = 16, 4  # characters; shorter texts may be words
MAX_LINES = 20
SEPARATORS = (";", "\t", ",", "|")
TEXT_VALUES = {"on", "off", "true", "false", "yes", "no", "running", "stopped", "open", "closed"}
HEX_DIGITS = re.compile(r"[0-9A-Fa-f ]+")
LINE_PROTOCOL = re.compile(r"[^\s,=]+(,[^\s,=]+=[^\s,=]+)* [^\s=]+=\S+")
NAMED_VALUES = re.compile(r"\s*[\w.]+\s*[=:]\s*[^,;\s]+(\s*[,;\s]\s*[\w.]+\s*[=:]\s*[^,;\s]+)*\s*")


class Hint(NamedTuple):
    """What a payload looks like, and what to do."""

    looks_like: str
    """Behind the words "it looks like"."""
    remedy: str
    """What to set, or what the sender has to change; `KEY` stands for the source's place."""


def text_hint(payload: bytes) -> Hint | None:
    """Return what a payload of text looks like; None: it is no text."""
    wide = _wide_encoding(payload)
    if wide:
        is_json = payload.decode(wide, "replace").lstrip()[:1] in {"{", "["}
        form = f"{{type: {'json' if is_json else 'text'}, encoding: {wide}}}"
        return Hint(f"text in {wide}", f"set KEY.format: {form}, or let the sender write UTF-8")
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


def _wide_encoding(payload: bytes) -> str:
    """Return the kind of UTF-16 that a text of mostly ASCII is in: every second byte is 0."""
    if len(payload) < MIN_WIDE:
        return ""
    if not any(payload[1::2]):
        return "utf-16-le"
    return "" if any(payload[0::2]) else "utf-16-be"


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
                form = f"{{type: json, encoding: {encoding}}}"
                return Hint(
                    f"JSON in {encoding}, not UTF-8",
                    f"set KEY.format: {form}, or let the sender write UTF-8",
                )
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
        return Hint(
            "JSON in a JSON text: it was encoded twice",
            "set KEY.format: {type: json, unpack: [{how: json}]}, or let the sender encode it once",
        )
    return _word(str(document))


def _json_almost(text: str) -> Hint | None:
    if text[:1] not in "{[":
        return None
    lines = [line for line in text.splitlines() if line.strip()][:MAX_LINES]
    if len(lines) > 1 and all(is_json(line.encode()) for line in lines):
        return Hint(
            "several JSON objects, a line each",
            'set KEY.format: json_lines and KEY.items: "*"',
        )
    if "'" in text and is_json(text.replace("'", '"').encode()):
        return Hint(
            "JSON with single quotes, as Python prints a dict",
            "let the sender write JSON (json.dumps)",
        )
    without_commas = re.sub(r",\s*([}\]])", r"\1", text)
    if without_commas != text and is_json(without_commas.encode()):
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
    if is_json(content):
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
    assign = "=" if "=" in text else ":"
    separator = next((one for one in (";", ",", " ") if one in text.strip()), ";")
    more = [f'separator: "{separator}"'] if separator != ";" else []
    more += [f'assign: "{assign}"'] if assign != "=" else []
    form = f"{{{', '.join(['type: pairs', *more])}}}" if more else "pairs"
    return Hint("names and values as text", f"set KEY.format: {form} (docs/formats.md)")


def _is_number(text: str, *, decimal_comma: bool = False) -> bool:
    try:
        float(text.strip().strip('"').replace(",", "." if decimal_comma else ",", 1))
    except ValueError:
        return False
    return True


def is_json(content: bytes) -> bool:
    """Return whether bytes are a JSON object or list."""
    try:
        return isinstance(json.loads(content), dict | list)
    except (ValueError, RecursionError):
        return False
