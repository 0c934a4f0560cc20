"""Frames of a packed binary header and samples: two `struct` calls and one view per frame."""

import struct
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np

from edgeai.config.base import NANOSECONDS, TimeField
from edgeai.config.frames import COUNTS, TIMES, BinaryFormat, Endian, HeaderField
from edgeai.decoding.frames.block import (
    ColumnIndex,
    Decode,
    Frame,
    Values,
    compute_span_ns,
    index_channels,
    numpy_dtype,
)
from edgeai.decoding.times import MAX_TIME_NS, time_reader
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS

STRUCT_CODES = {
    "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i16": "h", "i32": "i", "i64": "q",
    "f32": "f", "f64": "d",
}  # fmt: skip

ValueType = tuple["np.dtype[Any]", int, bool]
"""Dtype of the samples, bytes of one value, whether the dtype is native float32."""

Shape = tuple[int, "np.dtype[Any]", bool, float, int, int]
"""All that a header says except time and sequence: bytes of the frame, dtype, whether the dtype is
native float32, rate in hertz, samples of each channel, latest valid time of the first sample."""

MAX_SHAPES = 100  # shapes cached per pipeline


def compile_binary(form: BinaryFormat, channels: list[str]) -> Decode:
    """Return a decoder of binary frames.

    The decoder raises DecodeError: "bad_header" (too short, or a negative number), "bad_magic",
    "bad_version", "bad_dtype", "bad_rate", "wrong_channels", "wrong_size", "invalid_time".

    Args:
        form: The declared format.
        channels: The model's signals, by their names in the frame.
    """
    names = form.channels or channels
    columns = index_channels(names, channels)
    width = len(names)
    is_model_order = form.order == "sample_major" and columns is None

    field_names = {field.name for field in form.fields}
    time_name: str = next((name for name in TIMES if name in field_names), "")
    varying = {time_name, "sequence"}
    constant_part, varying_part = _split_header(form, varying)
    fields = [field for field in form.fields if field.name in varying]
    position: dict[str, int] = {field.name: index for index, field in enumerate(fields)}
    sequence_at, time_at = position.get("sequence"), position.get(time_name)
    unit = time_name[3:] or "ns"
    to_ns = time_reader(TimeField.model_validate({"path": ["t0"], "unit": unit}))
    is_whole = time_at is not None and not fields[time_at].type.startswith("f")
    factor = NANOSECONDS[unit] if is_whole else 0  # an integer time needs no call of `to_ns`
    read_shape = _shape_reader(form, width)
    header_bytes = constant_part.size
    view_values = _value_viewer(form, width, columns, header_bytes)
    unpack_constant, unpack_varying = constant_part.unpack_from, varying_part.unpack_from
    # The constant header fields are the same in every frame of a sender: their meaning is cached.
    shapes: dict[tuple[bytes, ...], Shape] = {}

    def decode(payload: bytes | memoryview) -> Frame:
        if len(payload) < header_bytes:
            raise DecodeError("bad_header")
        constant = unpack_constant(payload)
        shape = shapes.get(constant)
        if shape is None or shape[0] != len(payload):
            shape = read_shape(payload)
            if len(shapes) >= MAX_SHAPES:
                shapes.clear()
            shapes[constant] = shape
        _, dtype, is_native, rate_hz, count, latest_ns = shape
        found = unpack_varying(payload)
        sequence = None if sequence_at is None else found[sequence_at]
        if sequence is not None and sequence < 0:
            raise DecodeError("bad_header")
        t0_ns = None
        if time_at is not None:
            t0_ns = found[time_at] * factor if factor else to_ns(found[time_at])
            if not 0 <= t0_ns <= latest_ns:
                raise DecodeError("invalid_time")
        if is_model_order and is_native:
            return Frame(t0_ns, rate_hz, count, memoryview(payload)[header_bytes:], sequence)
        return Frame(t0_ns, rate_hz, count, view_values(payload, dtype, count), sequence)

    return decode


def _value_viewer(
    form: BinaryFormat, width: int, columns: ColumnIndex, offset: int
) -> Callable[[bytes | memoryview, "np.dtype[Any]", int], Values]:
    """Return a function from payload, dtype and samples per channel to the values (n, C).

    Args:
        form: The declared format.
        width: Channels in a frame.
        columns: The model's channels among them.
        offset: Bytes of the header.
    """
    by_sample = form.order == "sample_major"

    def view_values(payload: bytes | memoryview, dtype: "np.dtype[Any]", count: int) -> Values:
        shape = (count, width) if by_sample else (width, count)
        values: Values = np.ndarray(shape, dtype, payload, offset)
        values = values if by_sample else values.T
        return values if columns is None else values[:, columns]

    return view_values


def _split_header(form: BinaryFormat, varying: set[str]) -> tuple[struct.Struct, struct.Struct]:
    """Return a struct of the header's constant fields, as bytes, and one of its varying fields."""
    order = "<" if form.endian == "little" else ">"
    constant_codes, varying_codes = order, order
    for part, fields_of_part in groupby(form.fields, lambda field: _header_part(field, varying)):
        fields = list(fields_of_part)
        size = sum(field.size for field in fields)
        constant_codes += f"{size}{'s' if part == 'constant' else 'x'}"
        is_varying = part == "varying"
        varying_codes += (
            "".join(STRUCT_CODES[field.type] for field in fields) if is_varying else f"{size}x"
        )
    return struct.Struct(constant_codes), struct.Struct(varying_codes)


def _header_part(field: HeaderField, varying: set[str]) -> str:
    if field.name in varying:
        return "varying"
    return "reserved" if field.name == "reserved" else "constant"


def _shape_reader(form: BinaryFormat, width: int) -> Callable[[bytes | memoryview], Shape]:
    """Return a function from a payload to the `Shape` that its header declares.

    The payload must be at least as long as the header. The function raises DecodeError with the
    codes of the decoder.

    Args:
        form: The declared format.
        width: Channels in a frame.
    """
    fields = [field for field in form.fields if field.name != "reserved"]
    position = {field.name: index for index, field in enumerate(fields)}
    layout = struct.Struct(("<" if form.endian == "little" else ">") + _struct_code(form.fields))
    fixed = _fixed_fields(fields)
    signed = [position[f.name] for f in fields if f.name in COUNTS and f.type.startswith("i")]
    declared = _value_type(form.dtype, form.endian) if form.dtype else None
    codes = {
        code: _value_type(name, form.endian)
        for field in fields
        if field.name == "dtype" and isinstance(field.value, dict)
        for code, name in field.value.items()
    }
    dtype_at, count_at = position.get("dtype"), position.get("count")
    channels_at = position.get("channels")
    rate_at, period_at = position.get("rate_hz"), position.get("period_ns")

    def read_shape(payload: bytes | memoryview) -> Shape:
        found = layout.unpack_from(payload)
        for index, value, code in fixed:
            if found[index] != value:
                raise DecodeError(code)
        if any(found[index] < 0 for index in signed):
            raise DecodeError("bad_header")
        value_type = declared if dtype_at is None else codes.get(found[dtype_at])
        if value_type is None:
            raise DecodeError("bad_dtype")
        dtype, item_size, is_native = value_type
        if rate_at is not None:
            rate_hz = float(found[rate_at])
        elif period_at is not None:
            rate_hz = SECOND_NS / found[period_at] if found[period_at] > 0 else 0.0
        else:
            rate_hz = form.rate_hz or 0.0
        if channels_at is not None and found[channels_at] != width:
            raise DecodeError("wrong_channels")
        size = len(payload) - layout.size
        count = size // (width * item_size) if count_at is None else found[count_at]
        if count < 1 or count * width * item_size != size:
            raise DecodeError("wrong_size")
        latest_ns = MAX_TIME_NS - compute_span_ns(rate_hz, count)
        return len(payload), dtype, is_native, rate_hz, count, latest_ns

    return read_shape


def _value_type(name: str, endian: Endian) -> ValueType:
    dtype = numpy_dtype(name, endian)
    return dtype, dtype.itemsize, dtype == np.dtype(np.float32)


def _struct_code(fields: list[HeaderField]) -> str:
    """Return the fields as a `struct` format without byte order; reserved fields are skipped."""
    codes = []
    for field in fields:
        if field.name == "reserved":
            codes.append(f"{field.size}x")
        elif field.type.startswith("bytes"):
            codes.append(f"{field.size}s")
        else:
            codes.append(STRUCT_CODES[field.type])
    return "".join(codes)


def _fixed_fields(fields: list[HeaderField]) -> list[tuple[int, bytes | int, str]]:
    """Return position, required value and error code of each field with a required value."""
    fixed: list[tuple[int, bytes | int, str]] = []
    for index, field in enumerate(fields):
        if field.name == "magic":
            fixed.append((index, field.magic, "bad_magic"))
        elif field.name == "version" and isinstance(field.value, int):
            fixed.append((index, field.value, "bad_version"))
    return fixed
