"""Frames that are a map of named fields: CBOR, MessagePack, JSON, and Arrow with its metadata.

Each format opens a payload into two things: a function that finds a field by its path, and the
samples as they lie there. The rest is the same for all.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from edgeai.config.base import FieldPath, TimeField
from edgeai.config.frames import ArrowFormat, CborFormat, JsonFormat, MapFormat, MsgpackFormat
from edgeai.decoding.fields import UNIT_NS, find, parse_json, time_reader
from edgeai.decoding.frames.arrow import arrow_reader
from edgeai.decoding.frames.block import (
    MAX_SEQUENCE,
    Decode,
    Frame,
    Values,
    chosen,
    finished,
    flat_block,
    numpy_dtype,
    side_by_side,
)
from edgeai.decoding.frames.cbor import read_cbor
from edgeai.errors import DecodeError

ABSENT = find(None, ["absent"])
"""What `find` returns for a field that is not there."""


class Opened(NamedTuple):
    """A payload that was read."""

    find: Callable[[FieldPath], Any]
    data: Any


Open = Callable[[bytes], Opened]
Array = Callable[[Any], Values]
"""From an array as a format writes it to (n,)."""


def _compile(form: MapFormat, open_: Open, block: Callable[[bytes, Any], Values]) -> Decode:
    """Return a decoder; `block` makes (n, C) of the samples of an opened payload."""
    time_of = _time_of(form.time)
    rate_of = _rate_of(form)
    sequence = form.sequence

    def decode(payload: bytes | memoryview) -> Frame:
        payload = bytes(payload)  # which is itself, unless it is a view
        opened = open_(payload)
        t0_ns = time_of(opened)
        rate_hz = rate_of(opened)
        number = None if sequence is None else _sequence(opened.find(sequence))
        if opened.data is ABSENT:
            raise DecodeError("not_a_frame")
        values = block(payload, opened.data)
        return finished(t0_ns, rate_hz, len(values), values, number)

    return decode


# -------------------------------------------------------------------------------------- the fields


def _time_of(field: TimeField | None) -> Callable[[Opened], int | None]:
    if field is None:
        return lambda _: None
    path = field.path
    time_ns = time_reader(field)

    def read(opened: Opened) -> int:
        moment = opened.find(path)
        if moment is ABSENT:
            raise DecodeError("no_time")
        return time_ns(moment)

    return read


def _rate_of(form: MapFormat) -> Callable[[Opened], float]:
    if form.rate_hz is not None:
        rate_hz = form.rate_hz
        return lambda _: rate_hz
    path, unit = form.rate.path, form.rate.unit
    periods = None if unit == "hz" else UNIT_NS["s"] / UNIT_NS[unit]  # in a second

    def read(opened: Opened) -> float:
        value = opened.find(path)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise DecodeError("bad_rate")
        try:
            return float(value) if periods is None else periods / value
        except OverflowError as error:
            raise DecodeError("bad_rate") from error

    return read


def _sequence(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEQUENCE:
        raise DecodeError("bad_header")
    return value


# ------------------------------------------------------------------------------------- the samples


def _block_of(
    form: CborFormat | MsgpackFormat | JsonFormat, channels: list[str], array: Array
) -> Callable[[bytes, Any], Values]:
    """Return a function from the samples, in the declared shape, to (n, C).

    It raises DecodeError: "not_a_frame" (not that shape), "wrong_channels", "wrong_size".
    """
    names = form.channels or channels
    pick = chosen(names, channels)
    width, shape, order = len(names), form.shape, form.order

    def by_name(payload: bytes, data: Any) -> Values:
        if not isinstance(data, dict):
            raise DecodeError("not_a_frame")
        if any(name not in data for name in channels):
            raise DecodeError("wrong_channels")
        return side_by_side(payload, [array(data[name]) for name in channels])

    def block(payload: bytes, data: Any) -> Values:
        if shape == "flat":
            values = flat_block(array(data), width, order)
        elif not isinstance(data, list):
            raise DecodeError("not_a_frame")
        elif shape == "per_channel":
            if len(data) != width:
                raise DecodeError("wrong_channels")
            values = side_by_side(payload, [array(part) for part in data])
        else:
            values = _rows(data, width)
        return values if pick is None else values[:, pick]

    return by_name if shape == "by_name" else block


def _buffer(dtype: np.dtype[Any] | None, value: Any) -> Values:
    """View the bytes of an array; a typed array is one already."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, bytes | memoryview):
        raise DecodeError("not_a_frame")
    if dtype is None:
        raise DecodeError("bad_dtype")
    if len(value) % dtype.itemsize:
        raise DecodeError("wrong_size")
    return np.frombuffer(value, dtype)


def _base64(dtype: np.dtype[Any], value: Any) -> Values:
    """Decode base64 text, RFC 4648 section 4: no line breaks, padded."""
    if not isinstance(value, str):
        raise DecodeError("not_a_frame")
    try:
        raw = msgspec.convert(value, bytes)  # twice as fast as binascii, and stricter
    except ValueError as error:  # UnicodeEncodeError for half a surrogate pair
        raise DecodeError("not_a_frame") from error
    return _buffer(dtype, raw)


def _numbers(value: Any) -> Values:
    """Return a list of numbers as (n,) float64, NaN for a null."""
    if not isinstance(value, list):
        raise DecodeError("not_a_frame")
    try:
        return np.array(msgspec.convert(value, list[float | None]), np.float64)
    except msgspec.ValidationError as error:
        raise DecodeError("bad_dtype") from error


def _rows(value: list[Any], width: int) -> Values:
    """Return n lists of C numbers as (n, C) float64."""
    if not value:
        raise DecodeError("wrong_size")
    try:
        rows = msgspec.convert(value, list[list[float | None]])
    except msgspec.ValidationError as error:
        raise DecodeError("bad_dtype") from error
    if any(len(row) != width for row in rows):
        raise DecodeError("wrong_channels")
    return np.array(rows, np.float64)


# ------------------------------------------------------------------------------------- the formats


def compile_cbor(form: CborFormat, channels: list[str]) -> Decode:
    """Return a decoder of CBOR frames (RFC 8949, RFC 8746)."""
    dtype = numpy_dtype(form.dtype, form.endian) if form.dtype else None
    data = form.data

    def open_(payload: bytes) -> Opened:
        document = read_cbor(payload)
        return Opened(partial(find, document), find(document, data))

    return _compile(form, open_, _block_of(form, channels, partial(_buffer, dtype)))


def compile_json(form: JsonFormat, channels: list[str]) -> Decode:
    """Return a decoder of JSON frames."""
    array: Array = _numbers
    if form.dtype is not None:
        array = partial(_base64, numpy_dtype(form.dtype, form.endian))
    data = form.data
    parse = msgspec.json.Decoder().decode

    def open_(payload: bytes) -> Opened:
        try:
            document = parse(payload)
        except (ValueError, RecursionError):  # a NaN or 1e999 too, which parse_json takes
            document = parse_json(payload)
        if not isinstance(document, dict):
            raise DecodeError("not_an_object")
        return Opened(partial(find, document), find(document, data))

    return _compile(form, open_, _block_of(form, channels, array))


def compile_arrow(form: ArrowFormat, channels: list[str]) -> Decode:
    """Return a decoder of Arrow IPC streams; ConfigError when pyarrow is not installed."""
    chosen(form.channels or channels, channels)
    read = arrow_reader(channels)

    def open_(payload: bytes) -> Opened:
        metadata, parts = read(payload)
        return Opened(partial(find, metadata), parts)

    return _compile(form, open_, side_by_side)


_RAW_MAP = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
_RAW_LIST = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ANY = msgspec.msgpack.Decoder()
_DATA: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "flat": msgspec.msgpack.Decoder(memoryview),
    "per_channel": msgspec.msgpack.Decoder(list[memoryview]),
    "by_name": msgspec.msgpack.Decoder(dict[Any, memoryview]),
}


def compile_msgpack(form: MsgpackFormat, channels: list[str]) -> Decode:
    """Return a decoder of MessagePack frames.

    The map is decoded one level deep, its values left as they are, and only the fields that are
    needed are decoded further: so the samples can be a view.
    """
    decoder = _DATA[form.shape]
    data = form.data

    def open_(payload: bytes) -> Opened:
        try:
            document = _RAW_MAP.decode(payload)
        except (ValueError, TypeError, RecursionError) as error:  # TypeError: a list as key
            raise DecodeError("not_a_frame") from error
        lookup = partial(_find_raw, document)
        return Opened(partial(lookup, _ANY), lookup(decoder, data))

    block = _block_of(form, channels, partial(_buffer, numpy_dtype(form.dtype, form.endian)))
    return _compile(form, open_, block)


def _find_raw(
    document: dict[Any, msgspec.Raw], decoder: msgspec.msgpack.Decoder[Any], path: FieldPath
) -> Any:
    """Return what lies at a path, decoded; `ABSENT` when nothing does."""
    here: Any = document
    try:
        for part in path:
            inside = isinstance(part, int)
            if isinstance(here, msgspec.Raw):
                here = (_RAW_LIST if inside else _RAW_MAP).decode(here)
            here = here[part]
        return decoder.decode(here)
    except LookupError:
        return ABSENT
    except (ValueError, TypeError, RecursionError) as error:
        raise DecodeError("not_a_frame") from error
