r"""InfluxDB line protocol: measurement,tag=value field=1.5,other=2i 1763719200000000000.

Each line becomes {"name": ..., "tags": {...}, "fields": {...}, "timestamp": ...}, the names that
Telegraf's JSON has. Source: InfluxDB, line protocol reference. A backslash escapes comma, equals
sign and space in names and tags, and quotation mark and backslash in texts; elsewhere it stands for
itself. A line that begins with # is a comment. The unit of the time is declared by `source.time`.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from edgeai.config.text_formats import LineProtocolPayload
from edgeai.decoding.formats.texts import decode_text, shown, shown_name
from edgeai.errors import DecodeError

_MEASUREMENT = re.compile(r"(?:[^, \t\r\n\\]|\\[,= ]|\\)++")
_WORD = re.compile(r"(?:[^,= \t\r\n\\]|\\[,= ]|\\)++")
_TEXT = re.compile(r'"((?:[^"\\]|\\.|\\)*+)"', re.DOTALL)
_VALUE = re.compile(r"[^, \t\r\n]++")
_FLOAT = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER = re.compile(r"([+-]?\d{1,20})[iu]", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf(?:inity)?)", re.IGNORECASE | re.ASCII)
_TIME = re.compile(r"-?\d{1,20}", re.ASCII)
_SPACES = re.compile(r"[ \t]*+")
_LINE_END = re.compile(r"[ \t]*+(?:\r?\n|\Z)")
_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_ESCAPED = re.compile(r"\\([,= ])")
_ESCAPED_IN_TEXT = re.compile(r'\\(["\\])')
_LAST_OF_FLOAT = frozenset("0123456789.")
MAX_FLOAT = 40  # characters that a number has in a plain line
BOOLEANS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}


def compile_line_protocol(_form: LineProtocolPayload, max_records: int) -> Callable[[bytes], Any]:
    """Return a function from a payload to a list with one map for each line.

    Args:
        max_records: Lines in one message; more are refused.
    """

    def read(payload: bytes) -> list[dict[str, Any]]:
        text = decode_text(payload, "utf-8")
        found: list[dict[str, Any]] = []
        if "\\" not in text and '"' not in text:
            for plain in text.split("\n"):
                line = _plain_line(plain, len(found) + 1)
                if line is not None:
                    if len(found) == max_records:
                        raise DecodeError("too_many_records")
                    found.append(line)
            return found
        at = _end(_BLANK, text, 0)
        while at < len(text):
            if len(found) == max_records:
                raise DecodeError("too_many_records")
            line, at = _read_line(text, at, len(found) + 1)
            found.append(line)
            at = _end(_BLANK, text, at)
        return found

    return read


def _plain_line(text: str, number: int) -> dict[str, Any] | None:
    """Return a line without quotation marks and backslashes; None if it is blank or a comment.

    Most lines are so: they are split at their commas, and `_read_line` takes the others.
    """
    text = text.removesuffix("\r").rstrip(" \t").lstrip(" \t\r")
    if not text or text.startswith("#"):
        return None
    if not text.isprintable():  # a tab, or a space that is none for line protocol
        return _read_line(text, 0, number)[0]
    parts = text.split()
    name, *pairs = parts[0].split(",")
    tags = _plain_tags(pairs)
    if not 2 <= len(parts) <= 3 or not name or tags is None:
        return _read_line(text, 0, number)[0]
    fields: dict[str, Any] = {}
    pairs = parts[1].split(",")
    for pair in pairs:
        key, _, token = pair.partition("=")
        if token[-1:] not in _LAST_OF_FLOAT or len(token) > MAX_FLOAT or not token.isascii():
            whole = _INTEGER.fullmatch(token)
            if whole is None:
                return _read_line(text, 0, number)[0]
            fields[key] = int(whole[1])
            continue
        try:
            fields[key] = float(token)
        except ValueError:
            return _read_line(text, 0, number)[0]
        if "_" in token:  # only Python reads 1_000
            return _read_line(text, 0, number)[0]
    line: dict[str, Any] = {"name": name, "tags": tags, "fields": fields}
    if len(fields) < len(pairs) or "" in fields:
        return _read_line(text, 0, number)[0]
    if len(parts) == 3:
        if _TIME.fullmatch(parts[2]) is None:
            return _read_line(text, 0, number)[0]
        line["timestamp"] = int(parts[2])
    return line


def _plain_tags(pairs: list[str]) -> dict[str, str] | None:
    """Return tags; None if one of them is not a name and a value, or occurs twice."""
    tags: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not key or not value or "=" in value:
            return None
        tags[key] = value
    return tags if len(tags) == len(pairs) else None


def _read_line(text: str, at: int, number: int) -> tuple[dict[str, Any], int]:
    """Return a line, and where the next one begins.

    Args:
        text: The payload.
        at: Where the line begins.
        number: Of the line, comments and blank lines not counted.
    """

    def fail(what: str) -> DecodeError:
        return DecodeError("not_the_format", detail=f"line {number}: {what}")

    found = _MEASUREMENT.match(text, at)
    if found is None:
        raise fail("it begins with no measurement")
    line: dict[str, Any] = {"name": _plain(found[0]), "tags": {}, "fields": {}}
    at = found.end()
    while text.startswith(",", at):
        key, value, at = _read_tag(text, at + 1, fail)
        if key in line["tags"]:
            raise fail(f"the tag {shown_name(key)} occurs twice")
        line["tags"][key] = value
    spaces = _end(_SPACES, text, at)
    if spaces == at or text[spaces : spaces + 1] in {"", "\r", "\n"}:
        raise fail("no fields follow the measurement and its tags")
    at, fields = spaces, line["fields"]
    while True:
        word = _WORD.match(text, at)
        if word is None or not text.startswith("=", word.end()):
            raise fail("a field has the form name=value")
        key = _plain(word[0])
        if key in fields:
            raise fail(f"the field {shown_name(key)} occurs twice")
        fields[key], at = _read_value(text, word.end() + 1, key, fail)
        if not text.startswith(",", at):
            break
        at += 1
    moment = _TIME.match(text, _end(_SPACES, text, at))
    if moment is not None and moment.start() > at:
        line["timestamp"] = int(moment[0])
        at = moment.end()
    end = _LINE_END.match(text, at)
    if end is None:
        raise fail("after the fields only a time may follow, a whole number")
    return line, end.end()


def _read_tag(text: str, at: int, fail: Callable[[str], DecodeError]) -> tuple[str, str, int]:
    key = _WORD.match(text, at)
    if key is None or not text.startswith("=", key.end()):
        raise fail("a tag has the form name=value")
    value = _WORD.match(text, key.end() + 1)
    if value is None:
        raise fail(f"the tag {shown_name(key[0])} has no value")
    return _plain(key[0]), _plain(value[0]), value.end()


def _read_value(
    text: str, at: int, key: str, fail: Callable[[str], DecodeError]
) -> tuple[Any, int]:
    """Return the value of a field, and where it ends."""
    quoted = _TEXT.match(text, at)
    if quoted is not None:
        inside = quoted[1]
        return _ESCAPED_IN_TEXT.sub(r"\1", inside) if "\\" in inside else inside, quoted.end()
    word = _VALUE.match(text, at)
    token = word[0] if word is not None else ""
    end = at + len(token)
    if _FLOAT.fullmatch(token):
        return float(token), end
    whole = _INTEGER.fullmatch(token)
    if whole is not None:
        return int(whole[1]), end
    if token in BOOLEANS:
        return BOOLEANS[token], end
    if _NOT_FINITE.fullmatch(token):  # as C's printf writes it: it costs the value, not the line
        return math.nan, end
    raise fail(f"the value of {shown_name(key)} is {shown(token)}, which is no value")


def _plain(word: str) -> str:
    return _ESCAPED.sub(r"\1", word) if "\\" in word else word


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where a pattern that may match nothing ends."""
    found = pattern.match(text, at)
    assert found is not None
    return found.end()
