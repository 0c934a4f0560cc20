"""Values as bytes, in the types of controllers. Sources: as in `config.field_table`."""

import struct
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from edgeai.answers.conversions import (
    UNIT_NS,
    Unwritable,
    codes_of,
    compile_codes,
    compile_iso,
    compile_scale,
    counted,
    encoded,
    moment_of,
    zone_of,
)
from edgeai.config.answer_fields import FLAG_TYPES, BinaryField
from edgeai.config.answer_formats import text_room
from edgeai.messages import SECOND_NS

DTL_YEARS = range(1970, 2263)
DATE_AND_TIME_YEARS = range(1990, 2090)
DATE_AND_TIME_START_NS = round(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) * SECOND_NS
BCD_DIGITS = {"bcd8": 2, "bcd16": 4, "bcd32": 8}
FLOAT_CODES = {"f32": "f", "f64": "d"}

Endian = Literal["big", "little"]
Range = tuple[int, int]


def whole_range(kind: str, width: int) -> Range:
    """Return the smallest and the largest number of a type of whole numbers.

    >>> whole_range("i16", 16), whole_range("bcd16", 16), whole_range("u16", 8)
    ((-32768, 32767), (0, 9999), (0, 255))
    """
    if kind in FLAG_TYPES:
        return 0, 1
    if kind in BCD_DIGITS:
        return 0, 10 ** BCD_DIGITS[kind] - 1
    if kind.startswith("i"):
        return -(1 << (width - 1)), (1 << (width - 1)) - 1
    return 0, (1 << width) - 1


def binary_writer(
    field: BinaryField, *, endian: Endian, encoding: str, signals: list[str]
) -> Callable[[Any], bytes | int]:
    """Return the function that writes a value in its type.

    It returns bytes; for a `bool` and for `bits` the number that these bits hold.

    Raises:
        ValueError: A code is beyond the range of its type.
    """
    spec = field.spec
    kind = spec.type
    if field.is_text:
        return _binary_text(field, encoding)
    if kind == "dtl":
        return _dtl(zone_of(field))
    if kind == "date_and_time":
        return _date_and_time(zone_of(field))
    if kind in FLOAT_CODES:
        return _float(field, endian)
    whole_of = _whole(field, signals)
    pack = _packer(kind, spec.width, endian, in_bits=kind == "bool" or spec.bits is not None)
    return lambda value: pack(whole_of(value))


def binary_substitute(field: BinaryField, *, endian: Endian, encoding: str) -> bytes | int:
    """Return what stands in place of a value, or of the bytes of a constant.

    Raises:
        ValueError: It does not fit into the type.
    """
    value: Any = field.value if field.info is None else field.substitute
    try:
        return _written_constant(field, value, endian, encoding)
    except Unwritable as fault:
        msg = f"`{field.name}`: {value!r} cannot be written as {field.spec.type} ({fault.fault})"
        raise ValueError(msg) from fault


def _written_constant(field: BinaryField, value: Any, endian: Endian, encoding: str) -> bytes | int:
    spec = field.spec
    kind = spec.type
    if field.is_text:
        return _filler(field)(encoded("" if value is None else str(value), encoding))
    if kind == "dtl":
        return _dtl(UTC)(0)
    if kind == "date_and_time":
        return _date_and_time(UTC)(DATE_AND_TIME_START_NS)
    if kind in FLOAT_CODES:
        return _packed_float(FLOAT_CODES[kind], value or 0, endian)
    number = int(value or 0)
    if number != (value or 0):
        raise Unwritable("out_of_range")
    is_in_bits = kind == "bool" or spec.bits is not None
    return _packer(kind, spec.width, endian, in_bits=is_in_bits)(number)


def _whole(field: BinaryField, signals: list[str]) -> Callable[[Any], int]:
    """Return the function from a value to the whole number that stands for it."""
    info, spec = field.info, field.spec
    assert info is not None
    smallest, largest = whole_range(spec.type, spec.width)
    if info.kind == "text":
        codes = codes_of(field, signals)
        wrong = [(text, code) for text, code in codes.items() if not smallest <= code <= largest]
        if wrong:
            msg = f"`{field.name}`: the code {wrong[0][1]} of `{wrong[0][0]}` is beyond {spec.type}"
            raise ValueError(msg)
        return compile_codes(codes)
    if info.kind == "flag":
        return lambda flag: 1 if flag else 0
    if info.kind == "count":
        return lambda number: counted(number, largest)
    if info.kind == "time":
        step = UNIT_NS[field.unit]
        return lambda time_ns: time_ns // step
    scaled = compile_scale(field)
    return lambda value: round(scaled(value))


def _packer(
    kind: str, width: int, endian: Endian, *, in_bits: bool
) -> Callable[[int], bytes | int]:
    """Return the function that writes a whole number, if it is in the range of its type."""
    low, high = whole_range(kind, width)
    is_bcd, mask = kind in BCD_DIGITS, (1 << width) - 1

    def pack(number: int) -> bytes | int:
        if not low <= number <= high:
            raise Unwritable("out_of_range")
        bits = int(str(number), 16) if is_bcd else number & mask
        return bits if in_bits else bits.to_bytes(width // 8, endian)

    return pack


def _float(field: BinaryField, endian: Endian) -> Callable[[Any], bytes]:
    code = FLOAT_CODES[field.spec.type]
    info = field.info
    assert info is not None
    if info.kind == "time":  # f64
        step = UNIT_NS[field.unit]
        return lambda time_ns: _packed_float(code, time_ns / step, endian)
    scaled = compile_scale(field)
    return lambda value: _packed_float(code, scaled(value), endian)


def _packed_float(code: str, value: float, endian: Endian) -> bytes:
    try:
        return struct.pack((">" if endian == "big" else "<") + code, value)
    except (OverflowError, struct.error) as error:  # beyond the range of an f32, or of a float
        raise Unwritable("out_of_range") from error


def _binary_text(field: BinaryField, encoding: str) -> Callable[[Any], bytes]:
    fill = _filler(field)
    if field.info is not None and field.info.kind == "time":
        iso = compile_iso(field)
        return lambda time_ns: fill(encoded(iso(time_ns), encoding))
    return lambda text: fill(encoded(text, encoding))


def _filler(field: BinaryField) -> Callable[[bytes], bytes]:
    """Return the function that gives characters the length of their type."""
    kind, size, room = field.spec.type, field.spec.size, text_room(field)
    has_head = "[" in kind  # a STRING of S7: its declared length, its actual length

    def fill(characters: bytes) -> bytes:
        if len(characters) > room:
            raise Unwritable("too_long")
        if has_head:
            characters = bytes([room, len(characters)]) + characters
        return characters.ljust(size, b"\0")

    return fill


def _dtl(zone: tzinfo) -> Callable[[int], bytes]:
    """Return the function that writes a DTL: year, month, day, weekday, time, nanoseconds."""

    def write(time_ns: int) -> bytes:
        moment = moment_of(time_ns, zone)
        if moment.year not in DTL_YEARS:
            raise Unwritable("out_of_range")
        return struct.pack(
            ">HBBBBBBI", moment.year, moment.month, moment.day, moment.isoweekday() % 7 + 1,
            moment.hour, moment.minute, moment.second, time_ns % SECOND_NS,
        )  # fmt: skip

    return write


def _date_and_time(zone: tzinfo) -> Callable[[int], bytes]:
    """Return the function that writes a DATE_AND_TIME: BCD, with milliseconds and weekday."""

    def write(time_ns: int) -> bytes:
        moment = moment_of(time_ns, zone)
        if moment.year not in DATE_AND_TIME_YEARS:
            raise Unwritable("out_of_range")
        weekday = moment.isoweekday() % 7 + 1
        return bytes.fromhex(f"{moment:%y%m%d%H%M%S}{moment.microsecond // 1000:03}{weekday}")

    return write
