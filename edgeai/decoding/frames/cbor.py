"""A small reader of CBOR (RFC 8949) that returns typed arrays (RFC 8746) as views of the payload.

It reads the types that senders of measurements use: maps with text or integer keys, arrays, texts,
byte strings, numbers and typed arrays. Lengths must be definite. Other tags are ignored and their
value is read. The general library, cbor2, is not used: it copies every byte string, and it
interprets tags (shared references, regular expressions, dates) that a frame never needs.
"""

import struct
from typing import Any

import numpy as np

from edgeai.errors import DecodeError

MAX_DEPTH = 16  # nested maps and arrays
MAX_ITEMS = 20_000
"""Values in a message. A typed array counts as one: enough for key and array of 4096 channels."""

TYPED_ARRAYS: dict[int, np.dtype[Any]] = {
    64: np.dtype("u1"), 65: np.dtype(">u2"), 66: np.dtype(">u4"), 67: np.dtype(">u8"),
    68: np.dtype("u1"), 69: np.dtype("<u2"), 70: np.dtype("<u4"), 71: np.dtype("<u8"),
    72: np.dtype("i1"), 73: np.dtype(">i2"), 74: np.dtype(">i4"), 75: np.dtype(">i8"),
    77: np.dtype("<i2"), 78: np.dtype("<i4"), 79: np.dtype("<i8"),
    80: np.dtype(">f2"), 81: np.dtype(">f4"), 82: np.dtype(">f8"),
    84: np.dtype("<f2"), 85: np.dtype("<f4"), 86: np.dtype("<f8"),
}  # fmt: skip
"""Dtype by tag, RFC 8746, section 2.1."""
UNREADABLE = (76, 83, 87)  # 76 is reserved; 83 and 87 are float128, which has no numpy dtype

SIMPLE = {20: False, 21: True, 22: None, 23: None}
_LENGTHS = {24: struct.Struct(">B"), 25: struct.Struct(">H"), 26: struct.Struct(">I"),
            27: struct.Struct(">Q")}  # fmt: skip
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}


def read_cbor(payload: bytes) -> Any:
    """Return the value that a payload holds.

    A byte string becomes a memoryview and a typed array an array (n,); both are views of the
    payload.

    Raises:
        DecodeError: "not_a_frame": not CBOR, or more than MAX_DEPTH or MAX_ITEMS; "bad_dtype": a
            typed array of float128; "wrong_size": the bytes of a typed array are not a whole
            number of values.
    """
    reader = _Reader(payload)
    try:
        value = reader.read_item(MAX_DEPTH)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise DecodeError("not_a_frame") from error
    if reader.offset != len(payload):
        raise DecodeError("not_a_frame")
    return value


class _Reader:
    """Reads items one after the other from a payload."""

    __slots__ = ("_items", "_payload", "offset")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._items = 0
        self.offset = 0

    def read_item(self, depth: int) -> Any:
        """Return the value at the current position and move past it.

        Args:
            depth: Levels of nesting that are still allowed.
        """
        self._items += 1
        if depth == 0 or self._items > MAX_ITEMS:
            raise DecodeError("not_a_frame")
        first = self._payload[self.offset]
        self.offset += 1
        major, info = first >> 5, first & 31
        if major == 7:
            return self._read_simple(info)
        number = info if info < 24 else self._read_number(_LENGTHS, info)
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            return memoryview(self._payload)[self._skip_bytes(number) : self.offset]
        if major == 3:
            return str(self._payload[self._skip_bytes(number) : self.offset], "utf-8")
        if major == 4:
            return [self.read_item(depth - 1) for _ in range(self._check_count(number))]
        if major == 5:
            return self._read_map(number, depth - 1)
        return self._read_tagged(number, depth - 1)

    def _read_number(self, sizes: dict[int, struct.Struct], info: int) -> Any:
        form = sizes.get(info)
        if form is None:  # reserved, or an indefinite length
            raise DecodeError("not_a_frame")
        (number,) = form.unpack_from(self._payload, self.offset)
        self.offset += form.size
        return number

    def _read_simple(self, info: int) -> Any:
        if info in SIMPLE:
            return SIMPLE[info]
        return self._read_number(_FLOATS, info)

    def _skip_bytes(self, size: int) -> int:
        """Move past `size` bytes, which the payload must have; return their start."""
        start = self.offset
        if size > len(self._payload) - start:
            raise DecodeError("not_a_frame")
        self.offset = start + size
        return start

    def _check_count(self, count: int) -> int:
        """Return `count` if that many items fit: each needs at least one byte of the payload."""
        if count > len(self._payload) - self.offset:
            raise DecodeError("not_a_frame")
        return count

    def _read_map(self, count: int, depth: int) -> dict[str | int, Any]:
        found: dict[str | int, Any] = {}
        for _ in range(self._check_count(count)):
            key = self.read_item(depth)
            if not isinstance(key, str | int) or key in found:
                raise DecodeError("not_a_frame")
            found[key] = self.read_item(depth)
        return found

    def _read_tagged(self, tag: int, depth: int) -> Any:
        value = self.read_item(depth)
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
