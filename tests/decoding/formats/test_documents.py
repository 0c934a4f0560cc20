"""Documents that are unpacked: rows come back whichever way they were written."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgeai.config.document_formats import JsonPayload
from edgeai.config.text_formats import CsvPayload, PairsPayload
from edgeai.decoding.fields import find
from edgeai.errors import DecodeError
from tests.decoding.test_frames import cbor
from tests.support.formats import reader

LEAVES = st.none() | st.booleans() | st.integers(-5, 2**40) | st.text("ab 압", max_size=3)
NAMES = ["a", "b", "온도"]
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, LEAVES)), min_size=1, max_size=4)


def unpacked(document: Any, *steps: dict[str, Any], form: str = "json", **more: Any) -> Any:
    encode = {"json": lambda one: json.dumps(one).encode(), "cbor": cbor,
              "msgpack": msgspec.msgpack.encode}[form]  # fmt: skip
    return reader({"type": form, "unpack": list(steps)}, **more)(encode(document))


@settings(max_examples=25, deadline=None)
@given(ROWS, st.sampled_from(["json", "msgpack", "cbor"]))
def test_rows_come_back(rows: list[Any], form: str) -> None:
    columns = {name: [row[name] for row in rows] for name in NAMES}
    table = {"h": NAMES, "r": [[row[name] for name in NAMES] for row in rows], "lot": 7}
    assert unpacked(columns, {"how": "columns"}, form=form) == rows
    assert unpacked(
        {"x": {"y": columns, "z": 1}}, {"path": "x.y", "how": "columns"}, form=form
    ) == {"x": {"y": rows, "z": 1}}
    step = {"path": "*", "how": "table", "names": "h", "rows": "r"}
    assert unpacked([table, table], step, form=form) == [{**table, "r": rows}] * 2
    entries = {f"{number}": row for number, row in enumerate(rows)}
    assert unpacked(entries, {"how": "entries"}, form=form) == [
        {"key": key, "value": row} for key, row in entries.items()
    ]
    text = json.dumps(rows)
    assert unpacked({"d": text}, {"path": "d", "how": "json"}, form=form) == {"d": rows}
    coded = {"d": b64encode(text.encode()).decode()}
    assert unpacked(coded, {"path": "d", "how": "base64"}, form=form) == {"d": rows}
    lines = "\n".join(json.dumps(row) for row in rows) + "\r\n\0"
    assert reader("json_lines")(lines.encode()) == rows


def test_steps_follow_each_other() -> None:
    inner = json.dumps({"t": [1, 2], "m": "A"})
    steps = ({"path": "d", "how": "json"}, {"path": "d", "how": "columns"})
    assert unpacked({"d": inner}, *steps) == {"d": [{"t": 1, "m": "A"}, {"t": 2, "m": "A"}]}


def test_what_is_not_there_is_left_as_it_is() -> None:
    for step in ({"how": "json"}, {"how": "columns"}, {"how": "entries"}, {"how": "base64"},
                 {"how": "table", "names": "h", "rows": "r"}):  # fmt: skip
        assert unpacked({"x": 1}, {"path": "d", **step}) == {"x": 1}
    step = {"path": "d", "how": "table", "names": "h", "rows": "r"}
    assert unpacked({"d": {"other": 1}}, step) == {"d": {"other": 1}}


@pytest.mark.parametrize(
    ("document", "step", "detail"),
    [
        ({"d": 5}, {"how": "json"}, "at d is 5, which is no text with JSON"),
        ({"d": "{"}, {"how": "json"}, "the text at d is no JSON: '{'"),
        ({"d": "x"}, {"how": "base64"}, "at d is 'x', which is no base64"),
        ({"d": [1]}, {"how": "columns"}, "at d is a list, not an object with lists of values"),
        ({"d": {"a": 1}}, {"how": "columns"}, "at d is no list"),
        ({"d": {"a": [1], "b": [1, 2]}}, {"how": "columns"},
         "at d are lists of different lengths: a 1, b 2"),
        ({"d": [1]}, {"how": "entries"}, "at d is a list, not an object"),
        ({"d": {"r": []}}, {"how": "table", "names": "h", "rows": "r"},
         "at d there is no list of names at h"),
        ({"d": {"h": ["a", "a"], "r": []}}, {"how": "table", "names": "h", "rows": "r"},
         "at d a name occurs twice in h"),
        ({"d": {"h": ["a"], "r": [[1, 2]]}}, {"how": "table", "names": "h", "rows": "r"},
         "at d a row is 2 values, but there are 1 names"),
        ({"d": {"h": ["a"], "r": 7}}, {"how": "table", "names": "h", "rows": "r"},
         "at d there is no list of rows at r"),
    ],
)  # fmt: skip
def test_what_cannot_be_unpacked(document: Any, step: dict[str, Any], detail: str) -> None:
    with pytest.raises(DecodeError) as raised:
        unpacked(document, {"path": "d", **step})
    assert (raised.value.code, raised.value.detail) == ("not_the_format", detail)


@pytest.mark.parametrize("how", ["columns", "table", "entries"])
def test_too_many_rows_are_refused(how: str) -> None:
    document: Any = {"a": [1, 2, 3], "h": ["x"], "r": [[1]] * 3, "c": 1}
    document = {"a": document["a"]} if how == "columns" else document
    step = {"how": how, **({"names": "h", "rows": "r"} if how == "table" else {})}
    assert unpacked(document, step, limits={"message_records": 4})
    with pytest.raises(DecodeError, match="too_many_records"):
        unpacked(document, step, limits={"message_records": 2})
    with pytest.raises(DecodeError, match="too_many_records"):
        reader("json_lines", limits={"message_records": 2})(b"1\n2\n3")


@pytest.mark.parametrize("step", [{"how": "table"}, {"how": "columns", "names": "h"}])
def test_a_table_names_its_parts(step: Any) -> None:
    with pytest.raises(ValidationError, match="belong to `how: table`"):
        JsonPayload.model_validate({"type": "json", "unpack": [step]})


def test_numbers_as_keys_are_reached_by_paths() -> None:
    for encode, form in ((cbor, "cbor"), (msgspec.msgpack.encode, "msgpack")):
        document = reader(form)(encode({1: {2: 20.5}, "x": {"3": 4}}))
        assert find(document, [1, 2]) == find(document, ["1", "2"]) == 20.5
        assert find(document, ["x", 3]) == find(document, ["x", "3"]) == 4


@pytest.mark.parametrize("encoding", ["cp949", "euc-kr", "utf-16", "utf-8"])
def test_json_in_another_encoding(encoding: str) -> None:
    payload = '{"온도": 20.5}'.encode(encoding) + b"\0" * (encoding != "utf-16")
    assert reader({"type": "json", "encoding": encoding})(payload) == {"온도": 20.5}
    with pytest.raises(DecodeError):
        reader({"type": "json", "encoding": encoding})(b"{\xff\xff")


# ---------------------------------------------------------------------------- lines and pairs


def test_lines_that_are_not_read() -> None:
    text = "press 7\n시각;온도\n;degC\n\n1;20.5\n"
    form = {"type": "csv", "header": True, "separator": ";", "skip_lines": [1, 3]}
    assert reader(form)(text.encode()) == [{"시각": "1", "온도": "20.5"}]
    with pytest.raises(DecodeError) as raised:
        reader(form)((text + "1;2;3").encode())
    assert raised.value.detail.startswith("line 6 has 3 values")


@pytest.mark.parametrize(
    ("text", "form", "wanted"),
    [
        ("T=20.5;P=5", {}, {"T": "20.5", "P": "5"}),
        (" T = 20.5 ;\r\nP=;\r\n", {}, {"T": "20.5", "P": None}),
        ("T:20.5,U:a=b", {"separator": ",", "assign": ":"}, {"T": "20.5", "U": "a=b"}),
        ("t=1&u=2", {"separator": "&"}, {"t": "1", "u": "2"}),
        ("", {}, {}),
    ],
)
def test_pairs(text: str, form: Any, wanted: Any) -> None:
    assert reader({"type": "pairs", **form})(text.encode()) == wanted


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("T=1;x", "'x' is no name and value with ="),
        ("=1", "'=1' is no name and value with ="),
        ("T=1;T=2", "the name T occurs twice"),
    ],
)
def test_texts_that_are_no_pairs(text: str, detail: str) -> None:
    with pytest.raises(DecodeError) as raised:
        reader("pairs")(text.encode())
    assert raised.value.detail == detail


def test_marks_must_differ() -> None:
    with pytest.raises(ValidationError, match="must differ"):
        PairsPayload.model_validate({"type": "pairs", "separator": "="})
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        CsvPayload.model_validate({"type": "csv", "header": True, "skip_lines": [0]})
