"""Binary records by a field table: one `struct` call a record, then what a type needs besides."""

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from edgeai.config.field_places import Align, Place, places_of
from edgeai.config.field_table import FieldSpec
from edgeai.config.frames import Endian
from edgeai.decoding.formats.s7_types import READERS, s7_string
from edgeai.decoding.formats.texts import shown, shown_name
from edgeai.errors import DecodeError

Buffer = bytes | memoryview
Convert = Callable[[Any], Any]
"""What `struct` returns for a field to its value; None for a value that cannot be used."""

CODES = {
    "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i8": "b", "i16": "h", "i32": "i", "i64": "q",
    "f32": "f", "f64": "d", "bool8": "B", "bcd8": "B", "bcd16": "H", "bcd32": "I", "date": "H",
    "s5time": "H",
}  # fmt: skip
"""Code of `struct` by type; a type that is not here is taken as bytes."""


class Table(NamedTuple):
    """A compiled field table."""

    size: int
    """Bytes of a record."""
    read: Callable[[Buffer, int], dict[str, Any]]
    """Returns the record that begins at an offset of a buffer, which must be long enough. Raises
    DecodeError: "not_the_format": a constant field has another value."""


class _Part(NamedTuple):
    """Bytes of a record that `struct` reads in one go; several fields may be bits of them."""

    offset: int
    code: str
    """Of `struct`, without byte order."""


class _Value(NamedTuple):
    """A value, and how it comes out of what `struct` returns for its part."""

    name: str
    first: int
    """Position of its first element."""
    elements: int | None
    """Their number; None: it is no list."""
    convert: Convert | None


Layer = tuple[struct.Struct, list[_Value]]
"""Parts that do not overlap, in one `struct`, and their values."""


def compile_table(
    fields: Sequence[FieldSpec],
    *,
    endian: Endian,
    length: int | None = None,
    unit: int = 1,
    align: Align = "packed",
    encoding: str = "ascii",
) -> Table:
    """Compile a field table that was checked by its configuration.

    Args:
        fields: In order.
        endian: Byte order of numbers.
        length: Length of a record in units; None: up to the end of the last field.
        unit: Bytes that an offset and the length count: 1, or 2 for registers.
        align: As for `places_of`.
        encoding: Character encoding of texts.
    """
    places, size = places_of(fields, unit=unit, align=align)
    size = size if length is None else length * unit
    in_bytes = [p for p in places if not p.field.is_reserved and p.field.bit_offset is None]
    layers = _layers(in_bytes, endian, unit, encoding)
    constants = [(one.name, one.value) for one in fields if one.value is not None]
    of_all_bits = [
        (one.name, one.bit_offset, one.width, one.type)
        for one in fields
        if one.bit_offset is not None and not one.is_reserved
    ]
    if len(layers) == 1 and not constants and not of_all_bits:
        layout, values = layers[0]
        if all(one.elements is None and one.convert is None for one in values):
            names, unpack = [one.name for one in values], layout.unpack_from
            return Table(size, lambda buffer, at: dict(zip(names, unpack(buffer, at), strict=True)))

    def read(buffer: Buffer, at: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for layout, values in layers:
            raw = layout.unpack_from(buffer, at)
            for name, first, elements, convert in values:
                if elements is None:
                    found[name] = raw[first] if convert is None else convert(raw[first])
                else:
                    several = raw[first : first + elements]
                    found[name] = list(several if convert is None else map(convert, several))
        if of_all_bits:
            number = int.from_bytes(buffer[at : at + size], "big")
            for name, low, width, kind in of_all_bits:
                found[name] = _of_bits((number >> low) & ((1 << width) - 1), width, kind)
        for name, wanted in constants:
            if found[name] != wanted:
                what = f"{shown_name(name)} is {shown(found[name])}, not {shown(wanted)}"
                raise DecodeError("not_the_format", detail=f"the field {what}")
        return found

    return Table(size, read)


def _layers(places: list[Place], endian: Endian, unit: int, encoding: str) -> list[Layer]:
    """Return the values of whole bytes, in as few calls of `struct` as they need."""
    values_of: dict[_Part, list[tuple[FieldSpec, int | None, Convert | None]]] = {}
    for place in places:
        part, count, convert = _part_of(place, endian, unit, encoding)
        values_of.setdefault(part, []).append((place.field, count, convert))
    order = "<" if endian == "little" else ">"
    layers: list[Layer] = []
    left = sorted(values_of)
    while left:
        codes, end, first, values = order, 0, 0, list[_Value]()
        later: list[_Part] = []
        for part in left:
            if part.offset < end:  # bits of a word that is also read as a whole
                later.append(part)
                continue
            codes += f"{part.offset - end}x{part.code}"
            end = part.offset + struct.calcsize(order + part.code)
            for field, count, convert in values_of[part]:
                values.append(_Value(field.name, first, count, convert))
            first += len(struct.Struct(order + part.code).unpack(bytes(end - part.offset)))
        layers.append((struct.Struct(codes), values))
        left = later
    return layers


def _part_of(
    place: Place, endian: Endian, unit: int, encoding: str
) -> tuple[_Part, int | None, Convert | None]:
    """Return the part that holds a field, the number of its elements, and their conversion."""
    field, offset, bit = place
    kind, count = field.type, field.count
    if kind == "bool":
        code = "B" if unit == 1 else "H"
        if count is None:
            return _Part(offset, code), None, lambda number: number >> bit & 1
        units = -(-(bit + count) // (8 * unit))
        bits = partial(
            _bits_of, struct.Struct(f"{'<' if endian == 'little' else '>'}{units}{code}")
        )
        return _Part(offset, f"{units * unit}s"), None, partial(bits, bit, count, 8 * unit)
    if kind in CODES:
        code = CODES[kind]
        return (
            _Part(offset, code if count is None else f"{count}{code}"),
            count,
            _convert(field, bit),
        )
    code = f"{field.size}s" * (count or 1)
    if kind.startswith(("text", "string(")):
        return _Part(offset, code), count, partial(_text, encoding)
    if kind.startswith("string"):
        return _Part(offset, code), count, partial(s7_string, encoding)
    return _Part(offset, code), count, READERS[kind]


def _convert(field: FieldSpec, low: int) -> Convert | None:
    """Return the conversion of a number; None if it is the value."""
    kind, width = field.type, field.width
    if field.bits is not None:
        mask = (1 << width) - 1
        if kind.startswith("i"):
            return lambda number: _signed(number >> low & mask, width)
        return lambda number: number >> low & mask
    return READERS.get(kind)


def _bits_of(units: struct.Struct, first: int, count: int, width: int, raw: bytes) -> list[int]:
    """Return `count` bits of bytes or words as 0 and 1, from the lowest bit of the first one."""
    numbers = units.unpack(raw)
    return [numbers[at // width] >> at % width & 1 for at in range(first, first + count)]


def _text(encoding: str, raw: bytes) -> str | None:
    """Return a text of fixed length up to its first NUL, without spaces at its end."""
    try:
        return raw.partition(b"\0")[0].decode(encoding).rstrip()
    except UnicodeError:
        return None


def _of_bits(number: int, width: int, kind: str) -> Any:
    """Return the value of a field with `bit_offset`."""
    if kind == "f32":
        return struct.unpack(">f", number.to_bytes(4, "big"))[0]
    if kind == "f64":
        return struct.unpack(">d", number.to_bytes(8, "big"))[0]
    return _signed(number, width) if kind.startswith("i") else number


def _signed(number: int, width: int) -> int:
    return number - (1 << width) if number >> (width - 1) else number
