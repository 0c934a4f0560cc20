"""Where the fields of a binary record lie: byte and bit of each, and the length of the record."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from edgeai.config.field_table import (
    MAX_BIT_RECORD_BYTES,
    MAX_RECORD_BYTES,
    OF_SIEMENS,
    SIZES,
    FieldSpec,
)

Align = Literal["packed", "s7", "natural"]
ALIGN_MEANING = (
    "`packed`: fields without `offset` follow each other without gaps. `s7`: fields of two bytes "
    "or more begin at an even byte, as in a standard (not optimized) data block of Siemens S7. "
    "`natural`: numbers begin at a multiple of their size, up to 8 bytes, a `bool` takes a byte, "
    "and the end is filled up, as in C and TwinCAT 3."
)
MAX_ALIGNMENT = 8  # bytes


class Place(NamedTuple):
    """Where a value lies in its record."""

    field: FieldSpec
    offset: int
    """Bytes from the start of the record; of a bool and of `bits`, of the integer that holds it."""
    bit: int
    """Lowest bit of the value in that integer; 0 for other types."""


def places_of(
    fields: Sequence[FieldSpec], *, unit: int = 1, align: Align = "packed"
) -> tuple[list[Place], int]:
    """Return where each field lies, and the bytes that all of them take.

    Args:
        fields: In order.
        unit: Bytes that an `offset` counts: 1, or 2 for registers.
        align: `packed`: without gaps. `s7`: fields of two bytes or more, arrays and strings begin
            at an even byte, as in a standard (not optimized) data block. `natural`: numbers begin
            at a multiple of their size, and a `bool` takes a byte, as in C.

    Raises:
        ValueError: A field has a bit that its unit lacks, or two fields overlap.
    """
    if align == "natural":
        fields = [_as_byte(field) for field in fields]
    places: list[Place] = []
    after = 0  # the first byte after the fields so far
    before: Place | None = None
    for field in fields:
        if field.bit_offset is not None:
            before = None
            places.append(Place(field, 0, 0))
            continue
        place = _next_place(field, before, after, unit, align)
        places.append(place)
        after = max(after, _end_of(place, unit))
        before = place
    if any(place.field.bit_offset is not None for place in places):
        last = max((f.bit_offset or 0) + f.width for f in fields if f.bit_offset is not None)
        after = max(after, -(-last // 8))
    if align == "s7" or unit == 2:
        after += after % 2
    if align == "natural":
        after = _rounded(after, max(map(_alignment, fields)))
    _check_overlap(places, unit)
    return places, after


def _next_place(
    field: FieldSpec, before: Place | None, after: int, unit: int, align: Align
) -> Place:
    width = 8 * unit
    if field.offset is not None:
        start, bit = divmod(round(field.offset * 10), 10)
        bit = field.bit if field.bit is not None else bit
        if field.type == "bool" and bit >= width:
            msg = f"`{field.name}`: a byte has the bits 0 to 7"
            raise ValueError(msg)
        return Place(field, start * unit, bit if field.type == "bool" else _low(field))
    if field.type == "bool" and field.count is None:
        follows = before is not None and before.field.type == "bool"
        if follows and before is not None:
            first = before.offset * 8 + before.bit + (before.field.count or 1)
            start, bit = divmod(first, width)
            start *= unit
            # offsets are in bytes, and a group of bits begins at a whole unit
            return _at_bit(field, start, bit, after, unit)
        return _at_bit(field, _rounded(after, unit), 0, after, unit)
    is_of_bits = field.bits is not None and before is not None and before.field.bits is not None
    if is_of_bits and before is not None and before.field.type == field.type:
        return Place(field, before.offset, _low(field))
    start = _rounded(after, _alignment(field) if align == "natural" else unit)
    if align == "s7" and (field.size > 1 or field.count is not None):
        start += start % 2
    return Place(field, start, _low(field))


def _at_bit(field: FieldSpec, start: int, bit: int, after: int, unit: int) -> Place:
    if field.bit is None:
        return Place(field, start, bit)
    if field.bit >= 8 * unit:
        msg = f"`{field.name}`: a byte has the bits 0 to 7"
        raise ValueError(msg)
    # A bit that was passed already lies in the next unit.
    return Place(field, start if field.bit >= bit else _rounded(after, unit), field.bit)


def _as_byte(field: FieldSpec) -> FieldSpec:
    """Return a boolean that names no bit as the byte that it takes in C."""
    names_bit = field.bit is not None or isinstance(field.offset, float)
    if field.type != "bool" or names_bit or field.bit_offset is not None:
        return field
    return field.model_copy(update={"type": "bool8"})


def _alignment(field: FieldSpec) -> int:
    """Return the bytes of which the place of a field in C is a multiple."""
    is_number = field.type[0] in "uifb" and field.type in SIZES and field.bit_offset is None
    return min(field.size, MAX_ALIGNMENT) if is_number else 1


def _rounded(offset: int, unit: int) -> int:
    return -(-offset // unit) * unit


def _low(field: FieldSpec) -> int:
    return field.bits[0] if field.bits is not None else 0


def _end_of(place: Place, unit: int) -> int:
    """Return the first byte after a field."""
    field = place.field
    if field.type == "bool":
        return place.offset + unit * -(-(place.bit + (field.count or 1)) // (8 * unit))
    return place.offset + field.size * (field.count or 1)


def _check_overlap(places: list[Place], unit: int) -> None:
    """Raise ValueError if two fields of whole bytes overlap: an offset is wrong."""
    whole = [
        (place.offset, _end_of(place, unit), place.field.name)
        for place in places
        if place.field.type != "bool"
        and place.field.bits is None
        and place.field.bit_offset is None
        and not place.field.is_reserved
    ]
    whole.sort()
    for (start, end, name), (next_start, _, next_name) in pairwise(whole):
        if next_start < end:
            msg = (
                f"`{name}` takes the bytes {start} to {end - 1}, and `{next_name}` begins at byte "
                f"{next_start}: one of the offsets is wrong"
            )
            raise ValueError(msg)


def siemens_fault(fields: Sequence[FieldSpec], endian: str) -> str | None:
    """Return which field has a type that is stored otherwise in a little endian controller."""
    if endian == "big":
        return None
    for field in fields:
        if field.type.startswith(OF_SIEMENS) and not field.is_reserved:
            return (
                f"`{field.name}`: {field.type} is a type of Siemens S7, which is big endian. In "
                "CODESYS and TwinCAT a DT or DATE is u32, seconds since 1970 (`unit: s`), and a "
                "STRING(N) is string(N), in parentheses"
            )
    return None


def table_fault(
    fields: Sequence[FieldSpec],
    *,
    length: int | None,
    unit: int = 1,
    align: Align = "packed",
    endian: str = "big",
) -> str | None:
    """Return what is wrong with a field table; None if it is valid.

    Args:
        fields: In order.
        length: Declared length of a record, in units; None: that of the fields.
        unit: Bytes that an offset and the length count.
        align: As for `places_of`.
        endian: Byte order of the record.
    """
    names = [field.name for field in fields if not field.is_reserved]
    if not names:
        return "the table has no field with a name"
    repeated = {name for name in names if names.count(name) > 1} if len(names) < 500 else set()
    if repeated or len(set(names)) < len(names):
        return f"the name `{min(repeated, default='')}` occurs twice"
    try:
        _, size = places_of(fields, unit=unit, align=align)
    except ValueError as error:
        return str(error)
    if size > MAX_RECORD_BYTES:
        return f"the fields take {size:,} bytes; a record has at most {MAX_RECORD_BYTES:,}"
    if length is not None and length * unit < size:
        word = "registers" if unit == 2 else "bytes"
        return f"`length` is {length:,} {word}, but the fields take {-(-size // unit):,}"
    if any(field.bit_offset is not None for field in fields):
        if endian != "big":
            return "`bit_offset` needs `endian: big`"
        if max(size, (length or 0) * unit) > MAX_BIT_RECORD_BYTES:
            return f"a record with `bit_offset` has at most {MAX_BIT_RECORD_BYTES} bytes"
    return None
