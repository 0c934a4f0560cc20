"""Frames that are a map of named fields: CBOR, MessagePack, JSON, and Arrow with its metadata.

Each format opens a payload into two parts: a function that finds a field by its path, and the
samples as the format stores them. All other steps are shared.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from edgeai.config.base import NANOSECONDS, FieldPath, TimeField
from edgeai.config.frames import (
    ArrowFormat,
    CborFormat,
    JsonFormat,
    MapFormat,
    MsgpackFormat,
)
from edgeai.decoding.fields import (
    ABSENT,
    find,
    other_forms,
    parse_json,
)
from edgeai.decoding.formats.texts import shown
from edgeai.decoding.frames.arrays import (
    channel_in,
    no_array,
    read_base64,
    read_hex,
    read_numbers,
    read_rows,
    read_text,
    view_bytes,
    wrong_channels,
)
from edgeai.decoding.frames.arrow import arrow_reader
from edgeai.decoding.frames.block import (
    MAX_SEQUENCE,
    Decode,
    Frame,
    Values,
    build_frame,
    index_channels,
    join_channels,
    numpy_dtype,
    reshape_flat,
)
from edgeai.decoding.frames.cbor import read_cbor
from edgeai.decoding.frames.scaling import Opened, Scale, compile_scaling
from edgeai.decoding.times import time_reader
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS

Open = Callable[[bytes], Opened]
ReadArray = Callable[[Any], Values]
"""An array as the format stores it to values (n,)."""
ReadBlock = Callable[[bytes, Any], Values]
"""A payload and its samples as the format stores them to values (n, C)."""


def _compile(
    form: CborFormat | MsgpackFormat | JsonFormat | ArrowFormat,
    open_: Open,
    read_block: ReadBlock,
    scale: Scale | None = None,
) -> Decode:
    read_time = _time_reader(form.time)
    read_rate = _rate_reader(form)
    sequence_path = form.sequence
    path = form.data if not isinstance(form, ArrowFormat) else []
    nothing_there = f"there is nothing at {'.'.join(map(str, path))} (`frame.data`)"

    def decode(payload: bytes | memoryview) -> Frame:
        payload = bytes(payload)  # copies only a memoryview
        opened = open_(payload)
        t0_ns = read_time(opened)
        rate_hz = read_rate(opened)
        sequence = None if sequence_path is None else _check_sequence(opened.find(sequence_path))
        if opened.data is ABSENT:
            raise DecodeError("not_a_frame", detail=nothing_there)
        values = read_block(payload, opened.data)
        if scale is not None:
            values = scale(opened, values)
        return build_frame(t0_ns, rate_hz, len(values), values, sequence)

    return decode


# ------------------------------------------------------------------------- time, rate, sequence


def _time_reader(field: TimeField | None) -> Callable[[Opened], int | None]:
    if field is None:
        return lambda _: None
    path = field.path
    to_ns = time_reader(field)

    def read(opened: Opened) -> int:
        moment = opened.find(path)
        if moment is ABSENT:
            raise DecodeError("no_time")
        return to_ns(moment)

    return read


def _rate_reader(form: MapFormat) -> Callable[[Opened], float]:
    if form.rate_hz is not None:
        rate_hz = form.rate_hz
        return lambda _: rate_hz
    path, unit = form.rate.path, form.rate.unit
    hz = {"hz": 1.0, "khz": 1000.0}.get(unit)
    units_per_second = 0.0 if hz is not None else SECOND_NS / NANOSECONDS[unit]

    def read(opened: Opened) -> float:
        value = opened.find(path)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            what = "nothing is" if value is ABSENT else f"{shown(value)} stands"
            where = f"{'.'.join(map(str, path))} (`frame.rate`)"
            raise DecodeError("bad_rate", detail=f"{what} at {where}")
        try:
            return float(value) * hz if hz is not None else units_per_second / value
        except OverflowError as error:
            raise DecodeError("bad_rate") from error

    return read


def _check_sequence(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEQUENCE:
        raise DecodeError("bad_header")
    return value


# ----------------------------------------------------------------------------------- samples


def _block_reader(
    form: CborFormat | MsgpackFormat | JsonFormat, channels: list[str], read_array: ReadArray
) -> ReadBlock:
    """Return a function from the samples, in the declared shape, to values (n, C).

    The function raises DecodeError: "not_a_frame" (another shape), "wrong_channels", "wrong_size".
    """
    names = form.channels or channels
    columns = index_channels(names, channels)
    width, shape, order = len(names), form.shape, form.order

    def read_by_name(payload: bytes, data: Any) -> Values:
        if not isinstance(data, dict):
            raise no_array(data, "an object with an array for each channel")
        found = [channel_in(data, name) for name in channels]
        return join_channels(payload, [read_array(value) for value in found])

    def read_block(payload: bytes, data: Any) -> Values:
        if shape == "flat":
            values = reshape_flat(read_array(data), width, order)
        elif not isinstance(data, list):
            raise no_array(data, "a list")
        elif shape == "per_channel":
            if len(data) != width:
                raise wrong_channels(len(data), width, "the list has")
            values = join_channels(payload, [read_array(part) for part in data])
        else:
            values = read_rows(data, names)
        return values if columns is None else values[:, columns]

    return read_by_name if shape == "by_name" else read_block


# ----------------------------------------------------------------------------------- formats


def compile_cbor(form: CborFormat, channels: list[str]) -> Decode:
    """Return a decoder of CBOR frames (RFC 8949, RFC 8746)."""
    dtype = numpy_dtype(form.dtype, form.endian) if form.dtype else None
    data = form.data

    def open_(payload: bytes) -> Opened:
        document = read_cbor(payload)
        return Opened(partial(find, document), find(document, data))

    read_block = _block_reader(form, channels, partial(view_bytes, dtype))
    return _compile(form, open_, read_block, compile_scaling(form, channels))


def compile_json(form: JsonFormat, channels: list[str]) -> Decode:
    """Return a decoder of JSON frames."""
    read_array: ReadArray = read_numbers
    if form.encoding == "text":
        read_array = partial(read_text, form.separator)
    if form.dtype is not None:
        read_bytes = read_hex if form.encoding == "hex" else read_base64
        read_array = partial(read_bytes, numpy_dtype(form.dtype, form.endian))
    data = form.data
    parse = msgspec.json.Decoder().decode

    def open_(payload: bytes) -> Opened:
        try:
            document = parse(payload)
        except (ValueError, RecursionError):  # also NaN and 1e999, which parse_json accepts
            document = parse_json(payload)
        if not isinstance(document, dict) and data:
            raise DecodeError("not_an_object")
        return Opened(partial(find, document), find(document, data))

    return _compile(
        form, open_, _block_reader(form, channels, read_array), compile_scaling(form, channels)
    )


def compile_arrow(form: ArrowFormat, channels: list[str]) -> Decode:
    """Return a decoder of Arrow IPC streams.

    Raises:
        ConfigError: If pyarrow is not installed.
    """
    index_channels(form.channels or channels, channels)  # checks the declared names
    read = arrow_reader(channels)

    def open_(payload: bytes) -> Opened:
        metadata, arrays = read(payload)
        return Opened(partial(find, metadata), arrays)

    return _compile(form, open_, join_channels)


_RAW_MAP = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
_RAW_LIST = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ANY = msgspec.msgpack.Decoder()
_DECODER_OF_SHAPE: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "flat": msgspec.msgpack.Decoder(memoryview),
    "per_channel": msgspec.msgpack.Decoder(list[memoryview]),
    "by_name": msgspec.msgpack.Decoder(dict[Any, memoryview]),
}


def compile_msgpack(form: MsgpackFormat, channels: list[str]) -> Decode:
    """Return a decoder of MessagePack frames.

    First only the outer map is decoded and its values stay raw; then only the needed fields are
    decoded. So the samples can be a view of the payload.
    """
    decoder = _DECODER_OF_SHAPE[form.shape]
    data = form.data

    def open_(payload: bytes) -> Opened:
        try:
            document = _RAW_MAP.decode(payload)
        except (ValueError, TypeError, RecursionError) as error:  # TypeError: a list as key
            raise DecodeError("not_a_frame") from error
        find_in = partial(_find_raw, document)
        return Opened(partial(find_in, _ANY), find_in(decoder, data))

    read_array = partial(view_bytes, numpy_dtype(form.dtype, form.endian))
    return _compile(
        form, open_, _block_reader(form, channels, read_array), compile_scaling(form, channels)
    )


def _find_raw(
    document: dict[Any, msgspec.Raw], decoder: msgspec.msgpack.Decoder[Any], path: FieldPath
) -> Any:
    """Return the value at a path, decoded; `ABSENT` if there is none."""
    here: Any = document
    try:
        for part in path:
            inside = isinstance(part, int)
            if isinstance(here, msgspec.Raw):
                here = (_RAW_LIST if inside else _RAW_MAP).decode(here)
            key: str | int = part
            if isinstance(part, str) and part not in here:
                key = next((form for form in other_forms(part) if form in here), part)
            here = here[key]
        return decoder.decode(here)
    except LookupError:
        return ABSENT
    except (ValueError, TypeError, RecursionError) as error:
        raise DecodeError("not_a_frame") from error
