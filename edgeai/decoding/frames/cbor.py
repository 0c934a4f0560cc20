"""A small reader of CBOR (RFC 8949) that leaves typed arrays (RFC 8746) where they are.

It reads what senders of measurements write: maps with text or integer keys, arrays, texts, byte
strings, numbers, and typed arrays as views of the payload. Lengths must be definite; other tags say
what a value means and are passed over. The general library, cbor2, copies every byte string, and
interprets tags (shared references, regular expressions, dates) that a frame never needs.
"""

import struct
from typing import Any

import numpy as np

from edgeai.errors import DecodeError

MAX_DEPTH = 16
MAX_ITEMS = 20_000
"""Values in a message, a typed array counted as one: two for each of some thousand channels."""

TYPED_ARRAYS: dict[int, np.dtype[Any]] = {
    64: np.dtype("u1"), 65: np.dtype(">u2"), 66: np.dtype(">u4"), 67: np.dtype(">u8"),
    68: np.dtype("u1"), 69: np.dtype("<u2"), 70: np.dtype("<u4"), 71: np.dtype("<u8"),
    72: np.dtype("i1"), 73: np.dtype(">i2"), 74: np.dtype(">i4"), 75: np.dtype(">i8"),
    77: np.dtype("<i2"), 78: np.dtype("<i4"), 79: np.dtype("<i8"),
    80: np.dtype(">f2"), 81: np.dtype(">f4"), 82: np.dtype(">f8"),
    84: np.dtype("<f2"), 85: np.dtype("<f4"), 86: np.dtype("<f8"),
}  # fmt: skip
"""RFC 8746, section 2.1. 76 is reserved; 83 and 87 are float128, which no machine of ours has."""
UNREADABLE = (76, 83, 87)

SIMPLE = {20: False, 21: True, 22: None, 23: None}
_LENGTHS = {24: struct.Struct(">B"), 25: struct.Struct(">H"), 26: struct.Struct(">I"),
            27: struct.Struct(">Q")}  # fmt: skip
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}


def read_cbor(payload: bytes) -> Any:
    """Return the one value a payload holds.

    A byte string becomes a memoryview and a typed array an array (n,), both views of the payload.

    Raises:
        DecodeError: "not_a_frame": not CBOR, or beyond the bounds; "bad_dtype": a typed array of
            float128; "wrong_size": one that is not a whole number of values.
    """
    reader = _Reader(payload)
    try:
        value = reader.item(MAX_DEPTH)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise DecodeError("not_a_frame") from error
    if reader.offset != len(payload):
        raise DecodeError("not_a_frame")
    return value


class _Reader:
    """A position in a payload."""

    __slots__ = ("_items", "_payload", "offset")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._items = 0
        self.offset = 0

    def item(self, depth: int) -> Any:
        """Return the value at the position and move behind it."""
        self._items += 1
        if depth == 0 or self._items > MAX_ITEMS:
            raise DecodeError("not_a_frame")
        first = self._payload[self.offset]
        self.offset += 1
        major, info = first >> 5, first & 31
        if major == 7:
            return self._simple(info)
        number = info if info < 24 else self._number(_LENGTHS, info)
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            return memoryview(self._payload)[self._take(number) : self.offset]
        if major == 3:
            return str(self._payload[self._take(number) : self.offset], "utf-8")
        if major == 4:
            return [self.item(depth - 1) for _ in range(self._some(number))]
        if major == 5:
            return self._map(number, depth - 1)
        return self._tagged(number, depth - 1)

    def _number(self, sizes: dict[int, struct.Struct], info: int) -> Any:
        form = sizes.get(info)
        if form is None:  # reserved, or of indefinite length
            raise DecodeError("not_a_frame")
        (number,) = form.unpack_from(self._payload, self.offset)
        self.offset += form.size
        return number

    def _simple(self, info: int) -> Any:
        if info in SIMPLE:
            return SIMPLE[info]
        return self._number(_FLOATS, info)

    def _take(self, size: int) -> int:
        """Move over bytes that must be there; return where they start."""
        start = self.offset
        if size > len(self._payload) - start:
            raise DecodeError("not_a_frame")
        self.offset = start + size
        return start

    def _some(self, count: int) -> int:
        """Return a number of items, each of which needs a byte that must be there."""
        if count > len(self._payload) - self.offset:
            raise DecodeError("not_a_frame")
        return count

    def _map(self, count: int, depth: int) -> dict[str | int, Any]:
        found: dict[str | int, Any] = {}
        for _ in range(self._some(count)):
            key = self.item(depth)
            if not isinstance(key, str | int) or key in found:
                raise DecodeError("not_a_frame")
            found[key] = self.item(depth)
        return found

    def _tagged(self, tag: int, depth: int) -> Any:
        value = self.item(depth)
        dtype = TYPED_ARRAYS.get(tag)
        if dtype is None:
            if tag in UNREADABLE:
                raise DecodeError("bad_dtype")
            return value
        if not isinstance(value, memoryview):
            raise DecodeError("not_a_frame")
        if len(value) % dtype.itemsize:
            raise DecodeError("wrong_size")
        return np.frombuffer(value, dtype)
