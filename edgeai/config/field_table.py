"""Field tables: which bytes and bits of a binary record hold which value.

The formats `struct`, `registers` and `hex` share them. A type is named as here (u16, f32) or as a
controller's programming tool names it (UINT, REAL), in capitals or not.

Sources: IEC 61131-3 (elementary types); Siemens, S7-1200 and S7-1500 system manuals (STRING, DTL,
DATE_AND_TIME, S5TIME, alignment of standard data blocks); IO-Link device descriptions (IODD 1.1),
where a bit offset counts from the lowest bit of the last byte.
"""

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from edgeai.config.base import Strict

MAX_RECORD_BYTES = 65_536
MAX_COUNT = 4096
MAX_FIELDS = 4096
MAX_BIT_RECORD_BYTES = 256
"""A record with `bit_offset` is read as one number; process data of IO-Link have up to 32 bytes."""
ROUNDING = 1e-6  # of an offset such as 12.3
HIGHEST_BIT = 7

SIZES = {
    "u8": 1, "u16": 2, "u32": 4, "u64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8,
    "f32": 4, "f64": 8, "bool": 1, "bool8": 1, "bcd8": 1, "bcd16": 2, "bcd32": 4,
    "s5time": 2, "date": 2, "date_and_time": 8, "dtl": 12,
}  # fmt: skip
"""Bytes of each type; a `bool` is one bit of its byte."""
INTEGERS = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")
OF_CONTROLLERS = {
    "byte": "u8", "word": "u16", "dword": "u32", "lword": "u64",
    "usint": "u8", "uint": "u16", "udint": "u32", "ulint": "u64",
    "sint": "i8", "int": "i16", "dint": "i32", "lint": "i64",
    "real": "f32", "lreal": "f64", "float": "f32", "double": "f64", "char": "text1",
    "time": "i32", "ltime": "i64", "time_of_day": "u32", "tod": "u32", "ltod": "u64",
    "ldt": "u64", "dt": "date_and_time",
}  # fmt: skip
"""Our name by the name that a controller's programming tool uses."""
TYPE_PATTERN = re.compile(
    r"(?P<known>" + "|".join(SIZES) + r")|(?P<bits>[ui])(?P<width>[1-9]|[1-5]\d|6[0-4])"
    r"|text(?P<text>[1-9]\d{0,3})|bytes(?P<bytes>[1-9]\d{0,4})"
    r"|string(?:\[(?P<string>[1-9]\d{0,2})\]|\((?P<zero_ended>[1-9]\d{0,2})\))?",
    re.ASCII,
)
TYPES = (
    "u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, bool, bool8, bcd8, bcd16, bcd32, textN, "
    "bytesN, string[N], string(N), s5time, date, date_and_time, dtl, or a name of IEC 61131-3 such "
    "as INT or REAL"
)
S7_STRING_CHARACTERS = 254
OF_SIEMENS = ("date_and_time", "dtl", "date", "s5time", "string[")
"""Types that only Siemens S7 stores in this form, big endian."""


class FieldSpec(Strict):
    """One field of a binary record."""

    name: str = Field(
        min_length=1,
        description="Name of the value in the record. `reserved`: bytes that are skipped; it may "
        "occur several times.",
    )
    type: str = Field(
        description="Type of the field: u8, u16, u32, u64, i8, i16, i32, i64, f32, f64; `bool`, "
        "one bit, and bool8, one byte, read as 0 or 1; bcd8, bcd16, bcd32; textN, a text of N "
        "bytes; bytesN, for `reserved` only; and string[N], s5time (ms), date (days since 1990), "
        "date_and_time and dtl (ISO texts without offset) of Siemens S7; string(N) of CODESYS and "
        "TwinCAT, N characters and a zero byte. The names of IEC 61131-3 (INT, REAL, LREAL, WORD "
        "...) mean the same types. With `bit_offset` also uN and iN of N bits, up to 64."
    )
    offset: int | float | None = Field(
        None,
        ge=0,
        le=MAX_RECORD_BYTES,
        description="Where the field begins: bytes from the start of the record, for `registers` "
        "words. 12.3 is bit 3 of byte 12, as TIA Portal shows it, for a `bool`. Default: directly "
        "after the field before; a `bool` takes the next bit after a `bool`.",
    )
    bit: int | None = Field(
        None,
        ge=0,
        le=15,
        description="Bit of a `bool`: 0 is the lowest. Up to 7 in a byte, for `registers` up to 15 "
        "in a word. Default: the one in `offset`, or the next.",
    )
    bits: list[int] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Lowest and highest bit that the value takes of an integer type, 0 being the "
        "lowest: [4, 11]. A field of the same type with `bits` and without `offset`, directly "
        "after another, lies in the same integer. Default: all bits.",
    )
    bit_offset: int | None = Field(
        None,
        ge=0,
        le=8 * MAX_BIT_RECORD_BYTES,
        description="Place of the value's lowest bit, counted from the lowest bit of the last byte "
        "of the record, as in the device description (IODD) of an IO-Link device. Big endian only.",
    )
    count: int | None = Field(
        None,
        ge=1,
        le=MAX_COUNT,
        description="Number of equal fields that follow each other. The value is then a list. "
        "Default: one field, whose value is no list.",
    )
    value: int | str | None = Field(
        None,
        description="Value that the field must have: a number, or a text. A record with another "
        "value is refused. Default: any value.",
    )

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        kind = value.strip().lower()
        kind = OF_CONTROLLERS.get(kind, kind)
        if kind == "string":
            kind = f"string[{S7_STRING_CHARACTERS}]"
        if TYPE_PATTERN.fullmatch(kind) is None:
            msg = f"must be one of {TYPES}"
            raise ValueError(msg)
        return kind

    @model_validator(mode="after")
    def _fits(self) -> Self:
        fault = next((found for rule in FAULTS if (found := rule(self))), None)
        if fault:
            raise ValueError(fault)
        return self

    @property
    def is_reserved(self) -> bool:
        """Whether the bytes of the field are skipped."""
        return self.name == "reserved"

    @property
    def size(self) -> int:
        """Size of one such field in bytes; of the whole integer, if it has `bits`."""
        found = TYPE_PATTERN.fullmatch(self.type)
        assert found is not None
        for group in ("text", "bytes"):
            if found[group]:
                return int(found[group])
        if found["string"]:
            return int(found["string"]) + 2
        if found["zero_ended"]:
            return int(found["zero_ended"]) + 1
        return SIZES.get(self.type, 0)

    @property
    def width(self) -> int:
        """Number of bits that the value takes."""
        if self.type == "bool":
            return 1
        if self.bits is not None:
            return self.bits[1] - self.bits[0] + 1
        if self.type in SIZES or not self.type[1:].isdigit():
            return 8 * self.size
        return int(self.type[1:])


def _type_fault(field: FieldSpec) -> str | None:
    kind = field.type
    if kind.startswith("bytes") and not field.is_reserved:
        return "the type bytesN is for the name `reserved`; a text has the type textN"
    if kind.startswith("string") and int(kind[7:-1]) > S7_STRING_CHARACTERS:
        return f"a string has at most {S7_STRING_CHARACTERS} characters"
    if field.bit_offset is None and kind not in SIZES and kind[0] in "ui":
        return f"the type {kind} has no whole number of bytes: it needs `bit_offset`, or `bits`"
    return None if field.name.strip() else "`name` must not be blank"


def _bit_offset_fault(field: FieldSpec) -> str | None:
    if field.bit_offset is None:
        return None
    kind = field.type
    if (field.offset, field.bit, field.bits, field.count) != (None,) * 4:
        return "`bit_offset` says it all: delete `offset`, `bit`, `bits` and `count`"
    if kind in {"bool", "f32", "f64"} or (kind[0] in "ui" and kind[1:].isdigit()):
        return None
    return "with `bit_offset` the type is uN or iN with N bits, bool, f32 or f64"


def _bits_fault(field: FieldSpec) -> str | None:
    if field.bit is not None and field.type != "bool":
        return "`bit` belongs to the type bool; an integer takes `bits`"
    if field.bits is None:
        return None
    if field.type not in INTEGERS:
        return "`bits` belongs to an integer type, such as u16"
    low, high = field.bits
    if not 0 <= low <= high < 8 * field.size:
        return f"`bits` must be [lowest, highest], from 0 to {8 * field.size - 1} in {field.type}"
    return None


def _offset_fault(field: FieldSpec) -> str | None:
    if not isinstance(field.offset, float):
        return None
    place = round(field.offset * 10)
    if abs(place - field.offset * 10) > ROUNDING or place % 10 > HIGHEST_BIT:
        return "`offset` is a whole number of bytes, or byte and bit such as 12.3 (0 to 7)"
    if place % 10 and field.type != "bool":
        return f"`offset` names a bit, but the type is {field.type}, not bool"
    if place % 10 and field.bit is not None:
        return "the bit is given twice: in `offset` and in `bit`"
    return None


def _value_fault(field: FieldSpec) -> str | None:
    if field.value is None:
        return None
    if field.count is not None or field.is_reserved:
        return "`value` belongs to one field with a name"
    if isinstance(field.value, str) != field.type.startswith(("text", "string")):
        word = "number" if isinstance(field.value, str) else "text"
        return f"`value` must be a {word} for the type {field.type}"
    return None


FAULTS = (_type_fault, _bit_offset_fault, _bits_fault, _offset_fault, _value_fault)
"""The rules that a field must keep by itself; each returns what is wrong, or None."""
