"""What formats of text share: from bytes to text."""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE

from edgeai.errors import DecodeError

_MARKS = ((BOM_UTF8, "utf-8"), (BOM_UTF16_LE, "utf-16-le"), (BOM_UTF16_BE, "utf-16-be"))


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
