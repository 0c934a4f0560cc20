"""Compressed payloads: gzip, zlib and raw deflate, with a bound against bombs."""

import zlib
from collections.abc import Callable
from typing import Literal

from edgeai.errors import DecodeError

Compression = Literal["gzip", "zlib", "deflate"]
WINDOW_BITS: dict[Compression, int] = {
    "gzip": 16 + zlib.MAX_WBITS,
    "zlib": zlib.MAX_WBITS,
    "deflate": -zlib.MAX_WBITS,
}
"""Argument of zlib by the declared compression."""
MAX_MEMBERS = 16
"""A gzip file may consist of several; each one copies what follows it."""


def compile_decompression(
    kind: Compression, max_bytes: int
) -> Callable[[bytes | memoryview], bytes]:
    """Return a function from a compressed payload to its content.

    The function raises DecodeError: "not_compressed" (not this compression, or cut off) and
    "too_large_content" (more than `max_bytes`; it stops there, so it never takes more memory).

    Args:
        kind: As declared.
        max_bytes: Largest content.
    """
    bits = WINDOW_BITS[kind]

    def read(payload: bytes | memoryview) -> bytes:
        parts: list[bytes] = []
        left, rest = max_bytes, bytes(payload)
        for _ in range(MAX_MEMBERS if kind == "gzip" else 1):
            stream = zlib.decompressobj(bits)
            try:
                # One byte more than allowed shows that there is more; 0 would mean no bound.
                part = stream.decompress(rest, left + 1)
            except zlib.error as error:
                raise DecodeError("not_compressed", detail=str(error)) from error
            left -= len(part)
            if left < 0:
                raise DecodeError("too_large_content")
            if not stream.eof:
                raise DecodeError("not_compressed", detail="its end is missing")
            parts.append(part)
            rest = stream.unused_data
            if not rest.strip(b"\x00"):  # a buffer of fixed length ends with NULs
                return parts[0] if len(parts) == 1 else b"".join(parts)
        raise DecodeError("not_compressed", detail=f"{len(rest):,} bytes follow its end")

    return read
