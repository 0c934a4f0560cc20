"""Formats of text: bare values, CSV, and line protocol."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.errors import DecodeError
from tests.support.formats import reader

# ---------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"23.4", "23.4"),
        (b" 23.4\r\n", "23.4"),
        (b"ON\x00\x00", "ON"),
        (b"\xef\xbb\xbftrue", "true"),
        (b"\xff\xfe2\x003\x00", "23"),
        ("가동".encode(), "가동"),
        (b"007", "007"),
        (b"", None),
        (b"\r\n", None),
    ],
)
def test_one_value_is_a_text(payload: bytes, value: str | None) -> None:
    assert reader("text")(payload) == {"value": value}


def test_a_declared_encoding_is_used() -> None:
    read = reader({"type": "text", "encoding": "cp949"})
    assert read("정지".encode("cp949")) == {"value": "정지"}
    with pytest.raises(DecodeError, match="not_the_format") as raised:
        reader("text")("정지".encode("cp949"))
    assert raised.value.detail == "the bytes are no text in the encoding utf-8"


def test_a_long_text_is_no_single_value() -> None:
    with pytest.raises(DecodeError) as raised:
        reader("text")(b"1" * 1001)
    assert raised.value.detail == "a text of 1,001 characters is no single value (at most 1,000)"


# ----------------------------------------------------------------------------------------- csv

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\ufeff\r"), max_size=6)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
)
def test_csv_is_read_as_another_program_wrote_it(
    rows: list[tuple[str, str, str]], separator: str
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(rows)
    found = reader({"type": "csv", "columns": ["a", "", "압력"], "separator": separator})(
        text.getvalue().encode()
    )
    assert found == [{"a": a.strip() or None, "압력": c.strip() or None} for a, _, c in rows]


def test_names_come_from_the_first_line() -> None:
    payload = "시각;온도;\r\n1;20,5;x\r\n\r\n2;;y\r\n".encode("cp949")
    read = reader({"type": "csv", "header": True, "separator": ";", "encoding": "euc-kr"})
    assert read(payload) == [{"시각": "1", "온도": "20,5"}, {"시각": "2", "온도": None}]


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b"1,2\n3\n", "line 2 has 1 values, but there are 2 columns"),
        (b"1,2,3\n", "line 1 has 3 values, but there are 2 columns"),
        (b'1,"2\n', "line 1: unexpected end of data"),
        (b'1,"2"3\n', "line 1: ',' expected after '\"'"),
    ],
)
def test_a_broken_line_refuses_the_message(payload: bytes, detail: str) -> None:
    with pytest.raises(DecodeError, match="not_the_format") as raised:
        reader({"type": "csv", "columns": ["a", "b"]})(payload)
    assert raised.value.detail == detail


@pytest.mark.parametrize(
    ("payload", "detail"),
    [(b"a,b,a\n1,2,3", "a column occurs twice"), (b"\n1", "the first line names no column")],
)
def test_a_header_must_name_columns(payload: bytes, detail: str) -> None:
    with pytest.raises(DecodeError) as raised:
        reader({"type": "csv", "header": True})(payload)
    assert raised.value.detail == detail


# ------------------------------------------------------------------------------- line protocol

WORDS = st.text(st.sampled_from('ab,= 가"#'), min_size=1, max_size=5)
TEXTS = st.text(st.sampled_from('ab,= 가"\\\n#'), max_size=6)
VALUES = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | TEXTS
)
LINES = st.tuples(
    WORDS.filter(lambda word: not word.startswith("#")),
    st.dictionaries(WORDS, WORDS, max_size=3),
    st.dictionaries(WORDS, VALUES, min_size=1, max_size=3),
    st.none() | st.integers(0, 2**63 - 1),
)


def escaped(word: str) -> str:
    return word.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def written(value: Any) -> str:
    if isinstance(value, bool):
        return "T" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value}i" if isinstance(value, int) else repr(value)


@settings(max_examples=25, deadline=None)
@given(st.lists(LINES, max_size=4), st.sampled_from(["\n", "\r\n", "\n# comment\n\n"]))
def test_line_protocol_is_read_as_another_program_wrote_it(
    lines: list[tuple[str, dict[str, str], dict[str, Any], int | None]], end: str
) -> None:
    text = ""
    wanted = []
    for name, tags, fields, moment in lines:
        text += escaped(name)
        text += "".join(f",{escaped(key)}={escaped(value)}" for key, value in tags.items())
        text += " " + ",".join(f"{escaped(key)}={written(value)}" for key, value in fields.items())
        text += f" {moment}" * (moment is not None) + end
        line = {"name": name, "tags": tags, "fields": fields}
        wanted.append(line if moment is None else {**line, "timestamp": moment})
    found = reader("line_protocol")(text.encode())
    assert found == wanted
    for line, (_, _, fields, _) in zip(found, lines, strict=True):  # in Python 1 == 1.0 == True
        assert list(map(type, line["fields"].values())) == list(map(type, fields.values()))


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("p x=1", {"x": 1.0}),
        ("p x=-.5e3,y=3u,z=2.", {"x": -500.0, "y": 3, "z": 2.0}),
        ('p s="a b"', {"s": "a b"}),
        ("p\\ q,a\\=b=c\\,d x=T,y=FALSE  17 ", {"x": True, "y": False}),
        ("a\\b x=1", {"x": 1.0}),
    ],
)
def test_lines_of_the_reference(line: str, fields: dict[str, Any]) -> None:
    (found,) = reader("line_protocol")(line.encode())
    assert found["fields"] == fields


def test_a_value_of_c_that_is_no_number_costs_itself() -> None:
    (found,) = reader("line_protocol")(b"p x=nan,y=-inf,z=1")
    assert math.isnan(found["fields"]["x"])
    assert math.isnan(found["fields"]["y"])
    assert found["fields"]["z"] == 1.0


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b"p", "line 1: no fields follow the measurement and its tags"),
        (b"p x=1\np,a= x=1", "line 2: the tag a has no value"),
        (b"p,a x=1", "line 1: a tag has the form name=value"),
        (b"p,a=1,a=2 x=1", "line 1: the tag a occurs twice"),
        (b"p x=1,x=2", "line 1: the field x occurs twice"),
        (b"p x", "line 1: a field has the form name=value"),
        (b"p x=abc", "line 1: the value of x is 'abc', which is no value"),
        (b'p x="abc', "line 1: the value of x is '\"abc', which is no value"),
        (b"p x=1_0", "line 1: the value of x is '1_0', which is no value"),
        (b"p x=1 1.5", "line 1: after the fields only a time may follow, a whole number"),
        (b",a=1 x=1", "line 1: it begins with no measurement"),
    ],
)
def test_a_broken_line_is_named(payload: bytes, detail: str) -> None:
    with pytest.raises(DecodeError, match="not_the_format") as raised:
        reader("line_protocol")(payload)
    assert raised.value.detail == detail


@pytest.mark.parametrize(
    ("form", "line"),
    [("line_protocol", b"p x=1\n"), ({"type": "csv", "columns": ["x"]}, b"1\n")],
)
def test_records_of_a_message_are_bounded(form: Any, line: bytes) -> None:
    read = reader(form, limits={"message_records": 3})
    assert len(read(line * 3)) == 3
    with pytest.raises(DecodeError, match="too_many_records"):
        read(line * 4)


PLAIN_WORDS = st.text(st.sampled_from("ab=,-_# \t\r\x0b가\xa0"), max_size=4)
PLAIN_TOKENS = st.sampled_from(
    ["1", "-.5", "1e5", "1_0", "3i", "7u", "t", "FALSE", "nan", "-inf", "0x1", "1.", ".", "-", "",
     "9" * 50, "1e999", "१1", "12ii", "+3i"]
)  # fmt: skip
PLAIN_LINES = st.builds(
    lambda head, pairs, gap, end: head + gap + ",".join(pairs) + gap * bool(end) + end,
    st.sampled_from(["p", "p,a=b", "p,a=b,a=c", "p,a", "p,a=", "p=q", "", ",a=b"]) | PLAIN_WORDS,
    st.lists(st.builds("{}={}".format, PLAIN_WORDS | st.just("x"), PLAIN_TOKENS), max_size=3),
    st.sampled_from([" ", "  ", "\t", ""]),
    st.sampled_from(["", "17", "-5", "1.5", "1 2", "9" * 21]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PLAIN_LINES, max_size=3))
def test_plain_lines_are_read_as_others_are(lines: list[str]) -> None:
    """A quotation mark in a comment makes the reader take the general way."""

    def outcome(text: str) -> str:
        try:
            return repr(reader("line_protocol")(text.encode()))
        except DecodeError as error:
            return f"{error.code} {error.detail}"

    text = "\n".join(lines)
    assert outcome(text) == outcome(text + '\n#"')
