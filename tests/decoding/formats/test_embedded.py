"""Registers and hexadecimal digits in JSON."""

from __future__ import annotations

import json
import struct
import unicodedata
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgeai.config.binary_formats import HexPayload, RegistersPayload
from edgeai.errors import DecodeError
from tests.support.formats import reader

VALUES = st.fixed_dictionaries(
    {"a": st.integers(-(2**15), 2**15 - 1), "b": st.integers(0, 2**32 - 1),
     "c": st.floats(width=32, allow_nan=False), "d": st.floats(allow_nan=False),
     "e": st.integers(-(2**63), 2**63 - 1)}
)  # fmt: skip
KINDS = {"a": "int", "b": "udint", "c": "real", "d": "lreal", "e": "lint"}
FIELDS = [{"name": name, "type": kind} for name, kind in KINDS.items()]


def words_of(values: dict[str, Any], *, low_first: bool) -> list[int]:
    """Return the registers of a controller, by arithmetic instead of byte orders."""
    words = []
    for name, value in values.items():
        size = {"a": 1, "b": 2, "c": 2, "d": 4, "e": 4}[name]
        number = value
        if name in "cd":
            raw = struct.pack("=f" if name == "c" else "=d", value)
            (number,) = struct.unpack("=I" if name == "c" else "=Q", raw)
        parts = [number >> 16 * index & 0xFFFF for index in range(size)]
        words += parts if low_first else parts[::-1]
    return words


@settings(max_examples=20, deadline=None)
@given(VALUES, st.booleans(), st.booleans())
def test_registers_are_read_in_either_word_order(
    values: dict[str, Any], low_first: bool, signed: bool
) -> None:
    values = {name: values[name] for name in KINDS}
    words = words_of(values, low_first=low_first)
    order = "low_first" if low_first else "high_first"
    shown = [word - 2**16 if signed and word >= 2**15 else word for word in words]
    read = reader(
        {"type": "registers", "words": order, "blocks": [{"path": "plc.d100", "fields": FIELDS}]}
    )
    document = {"t": 1, "plc": {"d100": shown}}
    assert read(json.dumps(document).encode()) == {"t": 1, "plc": {"d100": values}}
    exchanged = [(word & 0xFF) << 8 | word >> 8 for word in words]
    form = {"type": "registers", "words": order, "bytes": "low_first"}
    block = {"path": "x", "fields": FIELDS}
    assert reader({**form, "blocks": [block]})(b'{"x": %a}' % exchanged) == {"x": values}
    other = {"type": "registers", "words": "low_first" if order == "high_first" else "high_first"}
    block |= {"words": order, "bytes": "low_first"}
    assert reader({**other, "blocks": [block]})(b'{"x": %a}' % exchanged) == {"x": values}
    form = {"type": "registers", "words": order, "encoding": "text"}
    block = {"path": "x", "fields": FIELDS}
    for text in (json.dumps(list(map(str, shown))), json.dumps("; ".join(map(str, shown)))):
        assert reader({**form, "blocks": [block]})(b'{"x": %s}' % text.encode()) == {"x": values}
    digits = [f"{word:04X}" for word in words]
    form = {"type": "registers", "words": order, "encoding": "hex"}
    for value in (digits, " ".join(digits), "0x" + "".join(digits), [f"0x{one}" for one in digits]):
        read = reader({**form, "blocks": [{"path": "x", "fields": FIELDS}]})
        assert read(json.dumps({"x": value}).encode()) == {"x": values}
    names = [f"r {word}" for word in range(len(words))]
    form = {"type": "registers", "words": order, "blocks": [{"members": names, "fields": FIELDS}]}
    document = {"t": 1, **dict(zip(names, shown, strict=True))}
    assert reader(form)(json.dumps(document).encode()) == {**document, **values}
    named = {f"D{number:04}": word for number, word in enumerate(shown, 98)}
    form = {"type": "registers", "words": order, "blocks": [{"first": "D0098", "fields": FIELDS}]}
    document = {"t": 1, **named, "D0090": 7}
    assert reader(form)(json.dumps(document).encode()) == {**document, **values}
    for encoding in ("big", "little"):
        raw = b"".join(word.to_bytes(2, encoding) for word in words)  # type: ignore[arg-type]
        form = {"type": "registers", "words": order, "encoding": encoding}
        assert reader({**form, "blocks": [{"fields": FIELDS}]})(raw) == values


def test_bits_and_texts_of_registers() -> None:
    fields = [
        {"name": "run", "type": "bool", "offset": 1, "bit": 0},
        {"name": "stop", "type": "bool"},
        {"name": "top", "type": "bool", "bit": 15},
        {"name": "next", "type": "bool"},
        {"name": "name", "type": "text4"},
        {"name": "step", "type": "bcd16"},
        {"name": "all", "type": "bool", "offset": 1, "count": 17},
    ]  # fmt: skip
    document = [0, 0x8001, 1, 0x4241, 0x0043, 0x0123]
    read = reader({"type": "registers", "words": "low_first", "blocks": [{"fields": fields}]})
    found = read(json.dumps(document).encode())
    assert found["all"] == [1, *[0] * 14, 1, 1]
    del found["all"]
    assert found == {"run": 1, "stop": 0, "top": 1, "next": 1, "name": "ABC", "step": 123}


@pytest.mark.parametrize(
    ("document", "code", "detail"),
    [
        ([1, 2], "wrong_length", "2 registers came, but 3 are declared"),
        ([1, 2, 65536], "not_the_format", "a register is 65536, not a whole number of 16 bits"),
        ([1, 2, 1.0], "not_the_format", "a register is 1.0, not a whole number of 16 bits"),
        ([1, 2, True], "not_the_format", "a register is True, not a whole number of 16 bits"),
        ([1, 2, None], "not_the_format", "a register is None, not a whole number of 16 bits"),
        ("123", "not_the_format", "there is no list of registers at its path"),
    ],
)
def test_other_registers_are_refused(document: Any, code: str, detail: str) -> None:
    form = {"type": "registers", "words": "low_first",
            "blocks": [{"fields": [{"name": "x", "type": "u16"}], "length": 3}]}  # fmt: skip
    with pytest.raises(DecodeError) as raised:
        reader(form)(json.dumps(document).encode())
    assert (raised.value.code, raised.value.detail) == (code, detail)


def test_registers_by_name_are_all_there_or_none() -> None:
    block = {"path": "data", "first": 40001, "fields": [{"name": "x", "type": "real"}]}
    form = {"type": "registers", "words": "high_first", "blocks": [block]}
    read = reader(form)
    for document in ({"t": 1}, {"data": {"other": 1}}):
        assert read(json.dumps(document).encode()) == document
    with pytest.raises(DecodeError) as raised:
        read(b'{"data": {"40002": 1}}')
    assert raised.value.detail == "there is no register 40001 beside 40002"
    with pytest.raises(DecodeError) as raised:
        read(b'{"data": [1, 2]}')
    assert raised.value.detail == "no object holds the register 40001"


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        ({"encoding": "big", "bytes": "low_first"}, "delete `bytes`"),
        ({"encoding": "big", "blocks": [{"first": 1, "fields": FIELDS}]}, "one block"),
        ({"blocks": [{"first": "D", "fields": FIELDS}]}, "must end with the number"),
        ({"blocks": [{"first": 1, "members": ["a"], "fields": FIELDS}]}, "exclude each other"),
        ({"blocks": [{"members": ["a", "a"], "fields": FIELDS}]}, "occurs twice"),
        ({"blocks": [{"members": ["a"], "fields": FIELDS}]}, "`members`: `length` is 1 registers"),
    ],
)
def test_registers_that_cannot_be(form: Any, rule: str) -> None:
    whole = {"type": "registers", "words": "low_first", "blocks": [{"fields": FIELDS}], **form}
    with pytest.raises(ValidationError, match=rule):
        RegistersPayload.model_validate(whole)


def test_registers_in_quotes_must_be_declared() -> None:
    form = {"type": "registers", "words": "low_first", "blocks": [{"path": "x", "fields": SHORT}]}
    with pytest.raises(DecodeError) as raised:
        reader(form)(b'{"x": ["205"]}')
    assert raised.value.detail.endswith("16 bits; write `encoding: text` or `hex`")
    for wrong in ("20.5", "0x10", "205 C", "99999"):
        with pytest.raises(DecodeError):
            reader({**form, "encoding": "text"})(json.dumps({"x": [wrong]}).encode())
    for digits in ("00", "00CD0", "00GD", 205, ["00CD", 5], "00CD00CD", ["00", "CD"]):
        with pytest.raises(DecodeError):
            reader({**form, "encoding": "hex"})(json.dumps({"x": digits}).encode())


SHORT = [{"name": "a", "type": "int"}]


# ------------------------------------------------------------------------------------------ hex

TEMPERATURE = [
    {"name": "celsius", "type": "i14", "bit_offset": 2},
    {"name": "out2", "type": "bool", "bit_offset": 1},
    {"name": "out1", "type": "bool", "bit_offset": 0},
]


def ports(**data: str) -> Any:
    return {"data": {"payload": {port: {"code": 200, "data": one} for port, one in data.items()}}}


def test_digits_are_never_read_as_a_decimal_number() -> None:
    """0335 is 821, and 14 bits of it from the third one are 205: 20.5 degC."""
    form = {"type": "hex", "blocks": [{"path": "data.payload.*.data", "fields": TEMPERATURE}]}
    found = reader(form, numeric_text=True)(json.dumps(ports(p1="0335", p2="FFFE")).encode())
    assert found == ports(
        p1={"celsius": 205, "out2": 0, "out1": 1}, p2={"celsius": -1, "out2": 1, "out1": 0}
    )


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=6, max_size=6), st.sampled_from(["big", "little"]), st.booleans())
def test_digits_are_bytes(raw: bytes, endian: Any, upper: bool) -> None:
    fields = [{"name": "a", "type": "u32"}, {"name": "b", "type": "i16"}]
    text = raw.hex().upper() if upper else "0x" + raw.hex()
    form = {"type": "hex", "endian": endian, "blocks": [{"path": "x", "fields": fields}]}
    found = reader(form)(json.dumps({"x": f" {text}\r\n"}).encode())
    wanted = {
        "a": int.from_bytes(raw[:4], endian), "b": int.from_bytes(raw[4:], endian, signed=True)
    }  # fmt: skip
    assert found["x"] == wanted
    for mark in " :-":
        assert reader(form)(json.dumps({"x": raw.hex(mark)}).encode())["x"] == wanted
        assert reader(form)(json.dumps({"x": raw.hex(mark, 2)}).encode())["x"] == wanted
    signed = [byte - 256 if byte > 127 else byte for byte in raw]
    for kind, value in (
        ("base64", b64encode(raw).decode()), ("byte_list", list(raw)), ("byte_list", signed)
    ):  # fmt: skip
        assert reader({**form, "type": kind})(json.dumps({"x": value}).encode())["x"] == wanted


@pytest.mark.parametrize(
    ("value", "code", "detail"),
    [
        (335, "not_the_format", "335 is no text of hexadecimal digits"),
        (None, "not_the_format", "None is no text of hexadecimal digits"),
        ("033", "not_the_format", "'033' is no even number of hexadecimal digits"),
        ("0 335", "not_the_format", "'0 335' is no even number of hexadecimal digits"),
        ("03  35", "not_the_format", "'03  35' is no even number of hexadecimal digits"),
        ("03 35-", "not_the_format", "'03 35-' is no even number of hexadecimal digits"),
        ("03G5", "not_the_format", "'03G5' is no even number of hexadecimal digits"),
        ("٠٣٣٥", "not_the_format", "'٠٣٣٥' is no even number of hexadecimal digits"),
        ("033512", "wrong_length", "3 bytes came, but 2 are declared"),
        ("", "wrong_length", "0 bytes came, but 2 are declared"),
    ],
)
def test_other_digits_are_refused(value: Any, code: str, detail: str) -> None:
    form = {"type": "hex", "blocks": [{"path": "x", "fields": TEMPERATURE}]}
    with pytest.raises(DecodeError) as raised:
        reader(form)(json.dumps({"x": value}).encode())
    assert (raised.value.code, raised.value.detail) == (code, detail)


def test_a_block_that_is_not_there_is_left_out() -> None:
    blocks = [{"path": ["data", "payload", name, "data"], "fields": TEMPERATURE} for name in "ab"]
    found = reader({"type": "hex", "blocks": blocks})(json.dumps(ports(b="0000")).encode())
    assert found == ports(b={"celsius": 0, "out2": 0, "out1": 0})  # type: ignore[arg-type]
    assert reader({"type": "hex", "blocks": blocks})(b'{"code": "event"}') == {"code": "event"}


def test_names_in_another_unicode_form_are_found() -> None:
    name = "압력"
    form = {"type": "hex", "blocks": [{"path": [name], "fields": TEMPERATURE}]}
    other = unicodedata.normalize("NFD", name)
    assert reader(form)(json.dumps({other: "0000"}).encode())[other]["celsius"] == 0


@pytest.mark.parametrize("paths", [["a.b", "a.b"], ["a", "a.b"], ["a.*", "a.b"]])
def test_blocks_must_not_lie_in_each_other(paths: list[str]) -> None:
    blocks = [{"path": path, "fields": TEMPERATURE} for path in paths]
    with pytest.raises(ValidationError, match="lies in another block"):
        HexPayload.model_validate({"type": "hex", "blocks": blocks})


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"encoding": "big", "blocks": [{"path": "x", "fields": FIELDS}]}, "without `path`"),
        ({"blocks": [{"fields": FIELDS, "length": 3}]}, "`length` is 3 registers"),
        ({"blocks": [{"fields": [{"name": "x", "type": "u8", "bit_offset": 0}]}]}, "endian: big"),
        (
            {"blocks": [{"fields": [{"name": "x", "type": "bool", "bit": 16}]}]},
            "less than or equal",
        ),
    ],
)
def test_registers_that_cannot_be_are_refused(keys: Any, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        RegistersPayload.model_validate({"type": "registers", "words": "low_first", **keys})
