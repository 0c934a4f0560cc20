"""What formats of text share: from bytes to text."""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import Any

import msgspec

from edgeai.errors import DecodeError, printable

_MARKS = ((BOM_UTF8, "utf-8"), (BOM_UTF16_LE, "utf-16-le"), (BOM_UTF16_BE, "utf-16-be"))


MAX_SHOWN = 40  # characters of a value or a name in a message


def shown(value: Any) -> str:
    """Return a value of a payload for a message: on one line, cut."""
    if isinstance(value, dict | list):  # `repr` of one of these may be long and deep
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value[:MAX_SHOWN] if isinstance(value, str | bytes) else value)[:MAX_SHOWN]


def shown_name(name: str) -> str:
    """Return a name of a payload for a message: on one line, cut."""
    return printable(name[:MAX_SHOWN])[:MAX_SHOWN]


def bytes_of_base64(value: str) -> bytes | None:
    """Return the bytes that a base64 text means, RFC 4648 section 4; None if it is none.

    Line ends, as MIME has them, do not count.
    """
    try:
        if "\n" in value:
            value = value.replace("\r", "").replace("\n", "")
        return msgspec.convert(value, bytes)  # stricter than binascii, and faster
    except ValueError:  # also UnicodeEncodeError: half a surrogate pair
        return None


def decode_text(payload: bytes, encoding: str) -> str:
    """Return the text of a payload, without a byte order mark and without NULs at its end.

    Raises:
        DecodeError: "not_the_format": the bytes are no text in this encoding.
    """
    if encoding == "utf-8":
        for mark, marked in _MARKS:
            if payload.startswith(mark):
                payload, encoding = payload[len(mark) :], marked
                break
    try:
        text = payload.decode(encoding)
    except UnicodeError as error:
        raise DecodeError(
            "not_the_format", detail=f"the bytes are no text in the encoding {encoding}"
        ) from error
    return text.rstrip("\x00\r\n \t")
