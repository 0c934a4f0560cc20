"""Mend the small faults with which publishers write JSON. Only for payloads that do not parse.

- Numbers that are none, as printf and other libraries write them: nan, -nan, NAN, inf, -inf,
  Infinity, nan(0x8000), -nan(ind), 1.#QNAN, -1.#IND, 1.#INF. They become NaN and Infinity, so that
  the value is unusable and the rest of the message is not.
- A byte order mark at the start, of UTF-8 or UTF-16.
- NUL bytes at the end, from a buffer of fixed length or a C text sent with its terminator.

Texts in quotes are never changed. Everything else stays as it is, so that JSON that is broken in
another way is still refused.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE

_ENCODINGS = ((BOM_UTF8, "utf-8-sig"), (BOM_UTF16_LE, "utf-16"), (BOM_UTF16_BE, "utf-16"))
_TOKEN = re.compile(
    # A text in quotes, closed or cut off. Possessive, so that the time is linear in the length.
    r'"(?:[^"\\]++|\\.)*+"?'
    r"|(?<![\w.+-])([+-]?)(?:1\.#(?:(inf)|[qs]?nan|ind)\d{0,9}"
    r"|(inf(?:inity)?)|nan(?:\([\w-]{0,32}\))?)(?![\w.(+-])",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


def mend_json(payload: bytes) -> str | None:
    """Return the text of a payload without these faults; None if it has none of them.

    The time is linear in the length of the payload.
    """
    encoding = next((name for mark, name in _ENCODINGS if payload.startswith(mark)), "utf-8")
    try:
        text = payload.decode(encoding)
    except UnicodeDecodeError:
        return None
    mended = _TOKEN.sub(_mend, text.rstrip("\x00 \t\r\n"))
    return None if encoding == "utf-8" and mended == text else mended


def _mend(found: re.Match[str]) -> str:
    sign, old_infinity, infinity = found.groups()
    if sign is None:  # a text in quotes
        return found[0]
    if old_infinity or infinity:
        return "-Infinity" if sign == "-" else "Infinity"
    return "NaN"
