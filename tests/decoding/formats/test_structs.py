"""Binary structs: fields lie where the table says, and values are those that were written."""

from __future__ import annotations

import ctypes
import math
import struct
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edgeai.config.binary_formats import StructPayload
from edgeai.config.field_places import places_of
from edgeai.config.field_table import FieldSpec
from edgeai.errors import DecodeError
from tests.support.formats import reader

FIELDS: TypeAdapter[list[FieldSpec]] = TypeAdapter(list[FieldSpec])
NUMBERS = {
    "u8": st.integers(0, 2**8 - 1), "u16": st.integers(0, 2**16 - 1),
    "u32": st.integers(0, 2**32 - 1), "u64": st.integers(0, 2**64 - 1),
    "i8": st.integers(-(2**7), 2**7 - 1), "i16": st.integers(-(2**15), 2**15 - 1),
    "i32": st.integers(-(2**31), 2**31 - 1), "i64": st.integers(-(2**63), 2**63 - 1),
    "f32": st.floats(width=32, allow_nan=False), "f64": st.floats(allow_nan=False),
}  # fmt: skip


def fields_of(*lines: Any) -> list[FieldSpec]:
    return FIELDS.validate_python(
        [dict(zip(("name", "type"), line, strict=False)) for line in lines]
    )


def struct_of(*fields: dict[str, Any], **keys: Any) -> Any:
    return reader({"type": "struct", "fields": list(fields), **keys})


def to_bytes(kind: str, value: Any, endian: str) -> bytes:
    """Write a number without the `struct` codes of the reader."""
    size = int(kind[1:]) // 8
    if kind.startswith("f"):
        raw = struct.pack("=d" if kind == "f64" else "=f", value)
        (bits,) = struct.unpack("=Q" if kind == "f64" else "=I", raw)
        return int(bits).to_bytes(size, endian)  # type: ignore[arg-type]
    return int(value).to_bytes(size, endian, signed=kind.startswith("i"))  # type: ignore[arg-type]


ONE = st.sampled_from(sorted(NUMBERS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.none() | st.integers(1, 3),
        st.lists(NUMBERS[kind], min_size=3, max_size=3),
        st.integers(0, 3),
    )
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(ONE, min_size=1, max_size=6),
    st.sampled_from(["big", "little"]),
    st.randoms(use_true_random=False),
    st.integers(0, 3),
)
def test_numbers_are_those_that_were_written(
    parts: list[Any], endian: str, random: Any, records: int
) -> None:
    payload, wanted, fields = b"", {}, []
    for index, (kind, count, drawn, gap) in enumerate(parts):
        field = {"name": f"f{index}", "type": kind, "offset": len(payload) + gap}
        payload += b"\xaa" * gap
        values = drawn[: count or 1]
        payload += b"".join(to_bytes(kind, value, endian) for value in values)
        wanted[f"f{index}"] = values[0] if count is None else values
        fields.append(field if count is None else {**field, "count": count})
    random.shuffle(fields)
    assert struct_of(*fields, endian=endian)(payload) == wanted
    many = reader(
        {"type": "struct", "endian": endian, "fields": [{"name": "n", "type": "u16"}],
         "records": {"fields": fields}}
    )  # fmt: skip
    head = (7).to_bytes(2, endian)  # type: ignore[arg-type]
    assert many(head + payload * records) == {"n": 7, "records": [wanted] * records}


@pytest.mark.parametrize(
    ("align", "wanted"),
    [
        ("s7", "0.0 0.1 2.0 6.0 7.0 8.0 8.1 10.0 18.0 18.1"),
        ("packed", "0.0 0.1 1.0 5.0 6.0 7.0 7.1 8.0 16.0 16.1"),
    ],
)
def test_offsets_are_those_of_a_data_block(align: Any, wanted: str) -> None:
    """With `s7` the offsets are those that TIA Portal shows for a standard data block."""
    fields = fields_of(
        ("run", "Bool"), ("fault", "Bool"), ("speed", "Real"), ("mode", "Byte"), ("tool", "USInt"),
        ("a", "Bool"), ("b", "Bool"), ("work", "LReal"), ("c", "Bool"), ("d", "Bool"),
    )  # fmt: skip
    places, size = places_of(fields, align=align)
    assert " ".join(f"{place.offset}.{place.bit}" for place in places) == wanted
    assert size == (20 if align == "s7" else 17)


C_TYPES: dict[str, Any] = {
    "u8": ctypes.c_uint8, "i16": ctypes.c_int16, "u32": ctypes.c_uint32, "i64": ctypes.c_int64,
    "f32": ctypes.c_float, "f64": ctypes.c_double, "bool": ctypes.c_bool,
    "text3": ctypes.c_char * 3,
}  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(C_TYPES)), st.none() | st.integers(1, 3)),
             min_size=1, max_size=8),
)  # fmt: skip
def test_natural_places_are_those_of_c(parts: list[tuple[str, int | None]]) -> None:
    kinds = [
        (f"f{number}", C_TYPES[kind] if count is None else C_TYPES[kind] * count)
        for number, (kind, count) in enumerate(parts)
    ]
    c_struct = type("S", (ctypes.LittleEndianStructure,), {"_fields_": kinds})
    fields = FIELDS.validate_python(
        [{"name": f"f{number}", "type": kind, "count": count}
         for number, (kind, count) in enumerate(parts)]
    )  # fmt: skip
    places, size = places_of(fields, align="natural")
    wanted = [getattr(c_struct, name).offset for name, _ in kinds]
    assert ([place.offset for place in places], size) == (wanted, ctypes.sizeof(c_struct))


def test_booleans_of_c_take_a_byte_each() -> None:
    """Read as bits of one byte, as in S7, the second would be lost in the padding."""
    fields = ({"name": "a", "type": "BOOL"}, {"name": "b", "type": "BOOL"},
              {"name": "x", "type": "REAL"}, {"name": "c", "type": "bool", "count": 2})  # fmt: skip
    payload = struct.pack("<??xxf??xx", False, True, 2.5, True, False)
    read = struct_of(*fields, endian="little", align="natural")
    assert read(payload) == {"a": 0, "b": 1, "x": 2.5, "c": [1, 0]}
    packed = ({"name": "a", "type": "bool8"}, {"name": "b", "type": "bool8"})
    assert struct_of(*packed, endian="little")(b"\0\xff") == {"a": 0, "b": 1}
    bits = ({"name": "a", "type": "bool", "bit": 0}, {"name": "b", "type": "bool", "bit": 1})
    assert struct_of(*bits, endian="little", align="natural")(b"\2") == {"a": 0, "b": 1}


@pytest.mark.parametrize("kind", ["DT", "date", "DTL", "S5Time", "String[4]"])
def test_types_of_siemens_are_refused_in_little_endian(kind: str) -> None:
    """A DT of CODESYS or TwinCAT has four bytes, and not the eight digits of a Siemens one."""
    form = {"type": "struct", "fields": [{"name": "x", "type": kind}]}
    StructPayload.model_validate(form)
    with pytest.raises(ValidationError, match="is a type of Siemens S7, which is big endian"):
        StructPayload.model_validate({**form, "endian": "little"})


def test_nine_bits_take_two_bytes() -> None:
    fields = [{"name": f"b{n}", "type": "bool"} for n in range(9)]
    found = struct_of(*fields)(bytes([0b10000001, 1]))
    assert [name for name, value in found.items() if value] == ["b0", "b7", "b8"]


def test_bits_are_found_by_offset_as_the_programming_tool_shows_it() -> None:
    read = struct_of(
        {"name": "a", "type": "bool", "offset": 0.3},
        {"name": "b", "type": "bool", "offset": 1, "bit": 7},
        {"name": "all", "type": "bool", "offset": 0, "count": 16},
        {"name": "word", "type": "word", "offset": 0.0},
        {"name": "low", "type": "u16", "offset": 0, "bits": [0, 3]},
        {"name": "high", "type": "u16", "bits": [4, 15]},
        {"name": "signed", "type": "i16", "bits": [4, 7]},
    )
    found = read(b"\x08\x80" + b"\x00\xf0")
    assert found["a"] == found["b"] == 1
    assert found["all"] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (found["word"], found["low"], found["high"]) == (0x0880, 0, 0x088)
    assert found["signed"] == -1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 64), st.booleans()), min_size=1, max_size=8), st.data())
def test_bit_offsets_count_from_the_last_byte(widths: list[tuple[int, bool]], data: Any) -> None:
    number, place, fields, wanted = 0, 0, [], {}
    for index, (width, is_signed) in enumerate(widths):
        value = data.draw(st.integers(0, 2**width - 1))
        place += data.draw(st.integers(0, 3))
        kind = f"{'i' if is_signed else 'u'}{width}"
        fields.append({"name": f"f{index}", "type": kind, "bit_offset": place})
        number |= value << place
        place += width
        wanted[f"f{index}"] = value - 2**width * (is_signed and value >= 2 ** (width - 1))
    assert struct_of(*fields)(number.to_bytes(-(-place // 8), "big")) == wanted


def test_floats_and_booleans_have_bit_offsets_too() -> None:
    read = struct_of(
        {"name": "t", "type": "f32", "bit_offset": 8},
        {"name": "ok", "type": "bool", "bit_offset": 0},
    )
    assert read(struct.pack(">fB", 1.5, 3)) == {"t": 1.5, "ok": 1}


# ------------------------------------------------------------------------------ types of S7

FIRST, LAST = datetime.fromisoformat("1990-01-01"), datetime.fromisoformat("2089-12-31")
MOMENTS = st.datetimes(FIRST, LAST)


def bcd(number: int) -> int:
    return int(str(number), 16)


@settings(max_examples=20, deadline=None)
@given(MOMENTS, st.integers(0, 999))
def test_times_of_s7(moment: datetime, nanoseconds: int) -> None:
    dtl = moment.year.to_bytes(2, "big") + bytes(
        [
            moment.month,
            moment.day,
            moment.isoweekday() % 7 + 1,
            moment.hour,
            moment.minute,
            moment.second,
        ]
    )
    dtl += (moment.microsecond * 1000 + nanoseconds).to_bytes(4, "big")
    milliseconds = moment.microsecond // 1000
    dt = bytes(
        map(bcd, (moment.year % 100, moment.month, moment.day, moment.hour, moment.minute,
                  moment.second, milliseconds // 10))
    ) + bytes([milliseconds % 10 << 4 | moment.isoweekday() % 7 + 1])  # fmt: skip
    read = struct_of({"name": "dtl", "type": "DTL"}, {"name": "dt", "type": "Date_And_Time"})
    found = read(dtl + dt)
    assert (
        found["dtl"] == f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond * 1000 + nanoseconds:09}"
    )
    assert datetime.fromisoformat(found["dt"]) == moment - timedelta(
        microseconds=moment.microsecond % 1000
    )


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("s5time", "0127", 1270),
        ("s5time", "1127", 12_700),
        ("s5time", "3999", 9_990_000),
        ("s5time", "4000", None),
        ("s5time", "00a0", None),
        ("bcd16", "1234", 1234),
        ("bcd32", "00000042", 42),
        ("bcd8", "a1", None),
        ("date_and_time", "9a01010000000001", None),
        ("string[4]", "0402616200ff", "ab"),
        ("string[4]", "040561626364", None),
        ("text4", "61620000", "ab"),
        ("text4", "61622020", "ab"),
        ("text2", "ff61", None),
        ("char", "41", "A"),
        ("time", "fffffc18", -1000),
        ("ldt", "187bdb2e6ec9e400", 0x187BDB2E6EC9E400),
        ("date", "0001", 1),
    ],
)  # fmt: skip
def test_other_types(kind: str, raw: str, value: Any) -> None:
    assert struct_of({"name": "x", "type": kind})(bytes.fromhex(raw)) == {"x": value}


def test_texts_have_the_declared_encoding() -> None:
    read = struct_of({"name": "x", "type": "text6"}, text_encoding="cp949")
    assert read("금형A".encode("cp949") + b"\0") == {"x": "금형A"}


def test_a_nan_stays_a_nan() -> None:
    assert math.isnan(struct_of({"name": "x", "type": "real"})(b"\x7f\xc0\0\0")["x"])


# ------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("size", [0, 3, 5])
def test_another_length_is_refused_with_both(size: int) -> None:
    with pytest.raises(DecodeError, match="wrong_length") as raised:
        struct_of({"name": "x", "type": "f32"})(bytes(size))
    assert raised.value.detail == f"{size} bytes came, but 4 are declared"


def test_records_must_end_with_the_message() -> None:
    form = {"type": "struct", "fields": [{"name": "n", "type": "u16"}],
            "records": {"fields": [{"name": "x", "type": "f32"}], "length": 6}}  # fmt: skip
    read = reader(form, limits={"message_records": 2})
    assert len(read(bytes(14))["records"]) == 2
    with pytest.raises(DecodeError, match="wrong_length") as raised:
        read(bytes(12))
    assert raised.value.detail == (
        "12 bytes came, but the declared length is 2 bytes and then a multiple of 6"
    )
    with pytest.raises(DecodeError, match="wrong_length"):
        read(bytes(1))
    with pytest.raises(DecodeError, match="too_many_records"):
        read(bytes(20))


def test_a_constant_field_must_have_its_value() -> None:
    read = struct_of(
        {"name": "id", "type": "u16", "value": 0x4544},
        {"name": "v", "type": "text2", "value": "v1"},
    )
    assert read(b"EDv1") == {"id": 0x4544, "v": "v1"}
    for payload in (b"DEv1", b"EDv2"):
        with pytest.raises(DecodeError, match="not_the_format"):
            read(payload)


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ({"type": "u24"}, "no whole number of bytes"),
        ({"type": "u0"}, "must be one of"),
        ({"type": "array"}, "must be one of"),
        ({"type": "bytes4"}, "for the name `reserved`"),
        ({"type": "string[255]"}, "at most 254"),
        ({"type": "f32", "bits": [0, 3]}, "belongs to an integer type"),
        ({"type": "u16", "bits": [4, 16]}, "from 0 to 15 in u16"),
        ({"type": "u16", "bits": [5, 4]}, "from 0 to 15 in u16"),
        ({"type": "u16", "bit": 1}, "an integer takes `bits`"),
        ({"type": "u16", "offset": 1.3}, "not bool"),
        ({"type": "bool", "offset": 1.8}, "byte and bit"),
        ({"type": "bool", "offset": 1.33}, "byte and bit"),
        ({"type": "bool", "offset": 1.3, "bit": 2}, "given twice"),
        ({"type": "bool", "offset": 1, "bit": 8}, "the bits 0 to 7"),
        ({"type": "u16", "bit_offset": 1, "offset": 2}, "`bit_offset` says it all"),
        ({"type": "dtl", "bit_offset": 1}, "with `bit_offset` the type is"),
        ({"type": "u16", "value": "x"}, "must be a number"),
        ({"type": "text2", "value": 1}, "must be a text"),
    ],
)
def test_a_field_that_cannot_be_is_refused(field: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        StructPayload.model_validate({"type": "struct", "fields": [{"name": "x", **field}]})


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        ({}, "`fields` is missing"),
        ({"fields": [{"name": "reserved", "type": "bytes4"}]}, "no field with a name"),
        ({"fields": [{"name": "a", "type": "u8"}] * 2}, "`a` occurs twice"),
        ({"fields": [{"name": "a", "type": "f32"}, {"name": "b", "type": "u8", "offset": 3}]},
         "`a` takes the bytes 0 to 3, and `b` begins at byte 3"),
        ({"fields": [{"name": "a", "type": "f64"}], "length": 4}, "`length` is 4 bytes, but"),
        ({"fields": [{"name": "a", "type": "u8", "offset": 65536}]}, "at most 65,536"),
        ({"fields": [{"name": "a", "type": "u8", "bit_offset": 0}], "endian": "little"},
         "needs `endian: big`"),
        ({"records": {"fields": [{"name": "a", "type": "u8"}]}, "length": 4}, "which is missing"),
        ({"fields": [{"name": "records", "type": "u8"}],
          "records": {"fields": [{"name": "a", "type": "u8"}]}}, "the name `records`"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_is_refused(form: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        StructPayload.model_validate({"type": "struct", **form})


def test_a_word_may_be_read_whole_and_in_bits() -> None:
    fields = [{"name": "reserved", "type": "bytes2"}, {"name": "status", "type": "u16"},
              {"name": "run", "type": "bool", "offset": 2.0}]  # fmt: skip
    assert struct_of(*fields)(b"\xff\xff\x01\x02") == {"status": 0x0102, "run": 1}


CODES = {
    "u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q",
    "f32": "f", "f64": "d", "bool": "?", "string(3)": "4s", "text3": "3s",
}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(kinds=st.lists(st.sampled_from(sorted(CODES)), min_size=1, max_size=12))
def test_natural_alignment_is_that_of_a_compiler(kinds: list[str]) -> None:
    """Python's `struct` with `@` asks the compiler of this machine, which has 64 bits."""
    fields = fields_of(*((f"f{n}", kind) for n, kind in enumerate(kinds)))
    _, size = places_of(fields, align="natural")
    largest = max(
        kinds, key=lambda kind: struct.calcsize(f"={CODES[kind]}") * ("s" not in CODES[kind])
    )
    end = "" if "s" in CODES[largest] else f"0{CODES[largest]}"
    native = struct.Struct("@" + "".join(CODES[kind] for kind in kinds) + end)
    assert size == native.size
    values = [b"ab" if "s" in CODES[kind] else 1 for kind in kinds]
    form = [{"name": f"f{n}", "type": kind} for n, kind in enumerate(kinds)]
    read = struct_of(*form, endian="little", align="natural")
    wanted = {f"f{n}": "ab" if value == b"ab" else 1 for n, value in enumerate(values)}
    assert read(native.pack(*values)) == wanted
