"""Frames of a binary header and samples: one `struct` call, one view."""

import struct
from typing import Any

import numpy as np

from edgeai.configbase import TimeField
from edgeai.errors import DecodeError
from edgeai.frameconfig import COUNTS, TIMES, BinaryFormat, Endian, HeaderField
from edgeai.frames.block import Decode, Frame, chosen, finished, numpy_dtype
from edgeai.payload import time_reader

STRUCT_CODES = {
    "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i16": "h", "i32": "i", "i64": "q",
    "f32": "f", "f64": "d",
}  # fmt: skip
_NS = 1e9

Kind = tuple["np.dtype[Any]", int, bool]
"""Of the values: dtype, bytes of one, whether they are float32 in this machine's order."""


def compile_binary(  # noqa: C901, PLR0915  the decoder with all it needs
    form: BinaryFormat, channels: list[str]
) -> Decode:
    """Return a decoder of binary frames.

    Args:
        form: The layout.
        channels: The model's signals, by the names that the frame has for them.

    The decoder raises DecodeError: "bad_header" (too short, or a negative number), "bad_magic",
    "bad_version", "bad_dtype", "bad_rate", "wrong_channels", "wrong_size", "invalid_time".
    """
    names = form.channels or channels
    pick = chosen(names, channels)
    width = len(names)
    by_sample = form.order == "sample_major"
    as_it_lies = by_sample and pick is None

    fields = [field for field in form.fields if field.name != "reserved"]
    place = {field.name: index for index, field in enumerate(fields)}
    layout = struct.Struct(("<" if form.endian == "little" else ">") + _struct_code(form.fields))
    unpack, head = layout.unpack_from, layout.size
    fixed = _fixed(fields)
    signed = [place[f.name] for f in fields if f.name in COUNTS and f.type.startswith("i")]
    declared = _kind(form.dtype, form.endian) if form.dtype else None
    codes = {
        code: _kind(name, form.endian)
        for field in fields
        if field.name == "dtype" and isinstance(field.value, dict)
        for code, name in field.value.items()
    }
    dtype_at, count_at, channels_at = place.get("dtype"), place.get("count"), place.get("channels")
    sequence_at = place.get("sequence")
    rate_at, period_at = place.get("rate_hz"), place.get("period_ns")
    time_name = next((name for name in TIMES if name in place), None)
    time_at = place[time_name] if time_name else None
    time_ns = time_reader(
        TimeField.model_validate({"path": ["t0"], "unit": time_name[3:] if time_name else "ns"})
    )

    def decode(payload: bytes) -> Frame:  # noqa: C901, PLR0912  one function, for speed
        size = len(payload) - head
        if size < 0:
            raise DecodeError("bad_header")
        found = unpack(payload)
        for index, value, code in fixed:
            if found[index] != value:
                raise DecodeError(code)
        for index in signed:
            if found[index] < 0:
                raise DecodeError("bad_header")
        kind = declared if dtype_at is None else codes.get(found[dtype_at])
        if kind is None:
            raise DecodeError("bad_dtype")
        dtype, item_size, is_ours = kind
        if rate_at is not None:
            rate_hz = float(found[rate_at])
        elif period_at is not None:
            rate_hz = _NS / found[period_at] if found[period_at] > 0 else 0.0
        else:
            rate_hz = form.rate_hz or 0.0
        t0_ns = None if time_at is None else time_ns(found[time_at])
        if channels_at is not None and found[channels_at] != width:
            raise DecodeError("wrong_channels")
        count = size // (width * item_size) if count_at is None else found[count_at]
        if count < 1 or count * width * item_size != size:
            raise DecodeError("wrong_size")
        sequence = None if sequence_at is None else found[sequence_at]
        if as_it_lies and is_ours:
            return finished(t0_ns, rate_hz, count, memoryview(payload)[head:], sequence)
        if by_sample:
            values = np.ndarray((count, width), dtype, payload, head)
        else:
            values = np.ndarray((width, count), dtype, payload, head).T
        if pick is not None:
            values = values[:, pick]
        return finished(t0_ns, rate_hz, count, values, sequence)

    return decode


def _kind(name: str, endian: Endian) -> Kind:
    dtype = numpy_dtype(name, endian)
    return dtype, dtype.itemsize, dtype == np.dtype(np.float32)


def _struct_code(fields: list[HeaderField]) -> str:
    """Return the fields in the language of `struct`; reserved ones are skipped."""
    codes = []
    for field in fields:
        if field.name == "reserved":
            codes.append(f"{field.size}x")
        elif field.type.startswith("bytes"):
            codes.append(f"{field.size}s")
        else:
            codes.append(STRUCT_CODES[field.type])
    return "".join(codes)


def _fixed(fields: list[HeaderField]) -> list[tuple[int, bytes | int, str]]:
    """Return the fields that must hold a known value: position, value, code of the error."""
    fixed: list[tuple[int, bytes | int, str]] = []
    for index, field in enumerate(fields):
        if field.name == "magic":
            fixed.append((index, field.magic, "bad_magic"))
        elif field.name == "version" and isinstance(field.value, int):
            fixed.append((index, field.value, "bad_version"))
    return fixed
