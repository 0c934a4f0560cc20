"""Frames of a binary header and samples: two `struct` calls, one view."""

import struct
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np

from edgeai.config.base import TimeField
from edgeai.config.frames import COUNTS, TIMES, BinaryFormat, Endian, HeaderField
from edgeai.decoding.fields import MAX_TIME_NS, UNIT_NS, time_reader
from edgeai.decoding.frames.block import (
    Decode,
    Frame,
    Pick,
    Values,
    chosen,
    numpy_dtype,
    span_ns_of,
)
from edgeai.errors import DecodeError

STRUCT_CODES = {
    "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i16": "h", "i32": "i", "i64": "q",
    "f32": "f", "f64": "d",
}  # fmt: skip
_NS = 1e9

Kind = tuple["np.dtype[Any]", int, bool]
"""Of the values: dtype, bytes of one, whether they are float32 in this machine's order."""

Shape = tuple[int, "np.dtype[Any]", bool, float, int, int]
"""What a header says but for time and sequence: bytes of the frame, dtype, whether that is float32
in this machine's order, rate, samples of each channel, and the latest time of the first of them."""

MAX_SHAPES = 100


def compile_binary(form: BinaryFormat, channels: list[str]) -> Decode:
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
    as_it_lies = form.order == "sample_major" and pick is None

    names_of_fields = {field.name for field in form.fields}
    time_name: str = next((name for name in TIMES if name in names_of_fields), "")
    varying = {time_name, "sequence"}
    of_all, of_each = _parts(form, varying)
    fields = [field for field in form.fields if field.name in varying]
    place: dict[str, int] = {field.name: index for index, field in enumerate(fields)}
    sequence_at, time_at = place.get("sequence"), place.get(time_name)
    unit = time_name[3:] or "ns"
    time_ns = time_reader(TimeField.model_validate({"path": ["t0"], "unit": unit}))
    is_whole = time_at is not None and not fields[time_at].type.startswith("f")
    factor = UNIT_NS[unit] if is_whole else 0
    """Of a time in whole numbers, which needs no call."""
    shape_of = _shape_reader(form, width)
    head = of_all.size
    values_of = _values_reader(form, width, pick, head)
    constants, variables = of_all.unpack_from, of_each.unpack_from
    shapes: dict[tuple[bytes, ...], Shape] = {}
    """By what stands in the header but for time and sequence, which of a sender is always the
    same: it is looked at once, not with each frame."""

    def decode(payload: bytes | memoryview) -> Frame:
        if len(payload) < head:
            raise DecodeError("bad_header")
        constant = constants(payload)
        shape = shapes.get(constant)
        if shape is None or shape[0] != len(payload):
            shape = shape_of(payload)
            if len(shapes) >= MAX_SHAPES:
                shapes.clear()
            shapes[constant] = shape
        _, dtype, is_ours, rate_hz, count, latest_ns = shape
        found = variables(payload)
        sequence = None if sequence_at is None else found[sequence_at]
        if sequence is not None and sequence < 0:
            raise DecodeError("bad_header")
        t0_ns = None
        if time_at is not None:
            t0_ns = found[time_at] * factor if factor else time_ns(found[time_at])
            if not 0 <= t0_ns <= latest_ns:
                raise DecodeError("invalid_time")
        if as_it_lies and is_ours:
            return Frame(t0_ns, rate_hz, count, memoryview(payload)[head:], sequence)
        return Frame(t0_ns, rate_hz, count, values_of(payload, dtype, count), sequence)

    return decode


def _values_reader(
    form: BinaryFormat, width: int, pick: Pick, head: int
) -> Callable[[bytes | memoryview, "np.dtype[Any]", int], Values]:
    """Return a function from a payload, its dtype and its samples of each channel to (n, C)."""
    by_sample = form.order == "sample_major"

    def values_of(payload: bytes | memoryview, dtype: "np.dtype[Any]", count: int) -> Values:
        lies = (count, width) if by_sample else (width, count)
        values: Values = np.ndarray(lies, dtype, payload, head)
        values = values if by_sample else values.T
        return values if pick is None else values[:, pick]

    return values_of


def _parts(form: BinaryFormat, varying: set[str]) -> tuple[struct.Struct, struct.Struct]:
    """Return what reads a header's constant fields, as bytes, and what reads the varying ones."""
    order = "<" if form.endian == "little" else ">"
    constant, each = order, order
    for kind, together in groupby(form.fields, lambda field: _kind_of_part(field, varying)):
        part = list(together)
        size = sum(field.size for field in part)
        constant += f"{size}{'s' if kind == 'constant' else 'x'}"
        varies = kind == "varying"
        each += "".join(STRUCT_CODES[one.type] for one in part) if varies else f"{size}x"
    return struct.Struct(constant), struct.Struct(each)


def _kind_of_part(field: HeaderField, varying: set[str]) -> str:
    if field.name in varying:
        return "varying"
    return "reserved" if field.name == "reserved" else "constant"


def _shape_reader(form: BinaryFormat, width: int) -> Callable[[bytes | memoryview], Shape]:
    """Return a function from a payload, long enough for its header, to what that says.

    Args:
        form: The layout.
        width: Channels in a frame.

    The function raises DecodeError as the decoder does.
    """
    fields = [field for field in form.fields if field.name != "reserved"]
    place = {field.name: index for index, field in enumerate(fields)}
    layout = struct.Struct(("<" if form.endian == "little" else ">") + _struct_code(form.fields))
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
    rate_at, period_at = place.get("rate_hz"), place.get("period_ns")

    def shape_of(payload: bytes | memoryview) -> Shape:
        found = layout.unpack_from(payload)
        for index, value, code in fixed:
            if found[index] != value:
                raise DecodeError(code)
        if any(found[index] < 0 for index in signed):
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
        if channels_at is not None and found[channels_at] != width:
            raise DecodeError("wrong_channels")
        size = len(payload) - layout.size
        count = size // (width * item_size) if count_at is None else found[count_at]
        if count < 1 or count * width * item_size != size:
            raise DecodeError("wrong_size")
        latest_ns = MAX_TIME_NS - span_ns_of(rate_hz, count)
        return len(payload), dtype, is_ours, rate_hz, count, latest_ns

    return shape_of


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
