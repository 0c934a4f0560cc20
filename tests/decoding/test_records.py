"""Records: both ways to them agree, and every record is taken or counted, whatever a message is."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from edgeai.config.limits import Limits
from edgeai.config.source import SourceConfig
from edgeai.decoding.records import RecordDecoder, Records
from edgeai.decoding.records.columns import NotPlain
from edgeai.errors import DROP_REASONS, DecodeError
from edgeai.messages import with_properties
from edgeai.metrics.table import ORDINARY_OUTCOMES
from tests.support.any_documents import LARGE
from tests.support.live import patient
from tests.support.record_shapes import DOCUMENTS, SHAPES, SIGNALS


def decoder_of(name: str, extras: int = 0, **keys: Any) -> RecordDecoder:
    source = SourceConfig.model_validate({"topic": "f/{line}", **SHAPES[name], **keys})
    return RecordDecoder(source, SIGNALS, extras)


DECODERS = {name: decoder_of(name) for name in SHAPES} | {
    f"{name}, an extra signal": decoder_of(name, 1) for name in SHAPES
}


def content(records: Records) -> tuple[Any, ...]:
    """What records hold, to compare; NaN is equal to NaN."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return "nan" if math.isnan(value) else float(value)

    flags = records.uncertain or [False] * len(records.values)
    columns = records.keys, records.times, records.channels, flags
    return *columns, plain(records.values), dict(+records.left_out), records.total


def levels_of(decoder: RecordDecoder) -> list[str] | None:
    shape = decoder.shape
    has_own = shape.name_template is not None
    return ["line"] if shape.key_captures or shape.assets or has_own else None


def check(decoder: RecordDecoder, payload: bytes) -> None:
    """Compare both ways, and the counts with what is there."""
    levels = levels_of(decoder)
    before = Counter(decoder.invalid)
    try:
        slow = decoder.decode_slowly(payload, "x", levels)
    except DecodeError as error:
        list(DROP_REASONS).index(error.code)
        if decoder._columns is not None:
            with pytest.raises(NotPlain):
                decoder._columns.decode(payload, "x", levels)
        return
    invalid = Counter(decoder.invalid) - before
    assert slow.total == len(slow.values) + slow.left_out.total()
    assert all(one in DROP_REASONS or one in ORDINARY_OUTCOMES for one in slow.left_out)
    for column in (slow.times, slow.channels or slow.values, slow.keys or slow.values):
        assert len(column) == len(slow.values)
    if decoder._columns is None:
        return
    between = Counter(decoder.invalid)
    try:
        fast = decoder._columns.decode(payload, "x", levels)
    except NotPlain:
        assert Counter(decoder.invalid) == between  # nothing is counted twice
        return
    assert content(fast) == content(slow)
    assert Counter(decoder.invalid) - between == invalid


@settings(deadline=None, max_examples=25)
@given(document=DOCUMENTS)
def test_both_ways_give_the_same_records(document: Any) -> None:
    payload = json.dumps(document).encode("utf-8", "surrogatepass")
    for decoder in DECODERS.values():
        check(decoder, payload)


@pytest.mark.parametrize("name", LARGE)
def test_a_large_payload_takes_a_bounded_time(name: str) -> None:
    for decoder in map(DECODERS.__getitem__, ("list of tags, texts", "rows of assets", "one row")):
        started = time.process_time()
        check(decoder, LARGE[name])
        assert time.process_time() - started < patient(2.0), decoder.shape


def test_a_message_with_too_many_records_is_refused() -> None:
    source = SourceConfig.model_validate({"topic": "f", **SHAPES["list of tags"]})
    limits = Limits.model_validate({"message_records": 3})
    decoder = RecordDecoder(source, SIGNALS, limits=limits)
    one = {"id": "x", "v": 1, "t": 1_763_719_200_000, "q": True}
    assert len(decoder.decode(json.dumps({"values": [one] * 3}).encode()).values) == 3
    with pytest.raises(DecodeError, match="too_many_records"):
        decoder.decode(json.dumps({"values": [one] * 4}).encode())


@pytest.mark.parametrize(
    ("flag", "verdict"),
    [(0, "good"), (0x408F0000, "uncertain"), (1 << 31, "bad"), (-(1 << 31), "bad"), ({}, "good"),
     ({"Code": 0x40000000}, "uncertain"), (None, "good"), (1 << 32, "bad"), ("Good", "bad"),
     (True, "bad"), (1.0, "bad")],
)  # fmt: skip
def test_the_severity_of_a_status_code(flag: Any, verdict: str) -> None:
    records = decoder_of("map of names").decode(
        json.dumps(
            {"values": [{"t": "2025-11-21T10:00:00Z", "v": {"x": {"v": 1.5, "q": flag}}}]}
        ).encode()
    )
    found = (
        "bad"
        if math.isnan(records.values[0])
        else "uncertain"
        if any(records.uncertain)
        else "good"
    )
    assert found == verdict


ISO, AT = "2025-11-21T10:00:00Z", 1_763_719_200_000
VALID: dict[str, Any] = {
    "list of tags": {"values": [{"id": "x", "v": 1, "t": AT, "q": True}]},
    "list of tags, texts": [{"id": "x", "v": {"n": 1}, "t": AT, "a": "m"}],
    "rows of assets": {"m": [{"v": {"x": 1, "압력": 2}, "t": AT}]},
    "rows in a list": {"values": [{"x": 1, "압력": 2, "t": AT, "n": 5, "q": 0, "id": 7}], "a": "m"},
    "map of names": {"values": [{"t": ISO, "v": {"x": {"v": 1}, "압력": {"v": 2, "q": 1 << 30}}}]},
    "map of values": {"m": {"x": 1, "압력": 2.5}},
    "names with the asset": {"values": [{"id": "m 1-x", "v": 1, "t": AT, "q": True, "a": "b"}]},
}


@pytest.mark.parametrize("name", VALID)
def test_the_fast_way_takes_an_ordinary_message(name: str) -> None:
    decoder = DECODERS[name]
    assert decoder._columns is not None
    levels = levels_of(decoder)
    fast = decoder._columns.decode(json.dumps(VALID[name]).encode(), "x", levels)
    assert fast.values
    assert not fast.left_out


def test_a_name_holds_levels_of_the_asset() -> None:
    decoder = decoder_of("names with the asset", name_template="Ch1.{line}.*_{machine}.{signal}")
    names = ["Ch1.L1.a_P01.x", "Ch1.L1.a_b_P02.압력", "Ch1.L1.P03.x", "x", "Ch1.L1.a_P01.other"]
    values = [{"id": name, "v": 1, "t": AT, "q": 1, "a": "z"} for name in names]
    payload = json.dumps({"values": [*values, {"id": ["x"], "v": 1}]}).encode()
    records = decoder.decode(payload, None, ["top"])
    assert records.keys == ["top/L1/P01/z", "top/L1/b_P02/z"]
    assert records.channels == [0, 1]
    assert records.left_out == {"other_name": 4}


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{asset}.x", "must hold {signal} once"),
        ("{signal}.{signal}", "must hold {signal} once"),
        ("{asset}{signal}", "must be a text that separates them"),
        ("*{signal}", "must be a text that separates them"),
        ("{Asset}.{signal}", "small letters"),
        ("{signal}}", "small letters"),
    ],
)
def test_templates_that_are_refused(template: str, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        decoder_of("list of tags", name_template=template)


def test_the_first_value_that_is_there_counts() -> None:
    keys = {"value_path": "d", "value_paths": ["f", "i", "b"], "value_map": {True: 1, False: 0}}
    decoder = decoder_of("list of tags", quality=None, time=None, **keys)
    values = [{"d": 1.5}, {"i": 2, "b": True}, {"d": None, "b": False}, {"f": 0, "d": None}, {}]
    payload = json.dumps({"values": [{"id": "x", **one} for one in values]}).encode()
    records = decoder.decode(payload)
    assert records.values == [1.5, 2, 0, 0]
    assert records.left_out == {"no_signal": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20.5 kg", 20.5), ("20.5kg ", 20.5), (" 20.5", 20.5), ("1,020.5 kg", 1020.5),
        ("1,020", 1020), ("-1,234,567.5", -1234567.5), ("12,34", None), ("1,02.5", None),
        (",5", None), ("20.5 KG", None), ("20.5 kgs", None), ("kg", None), ("1_000", None),
    ],
)  # fmt: skip
def test_numbers_with_a_unit_and_groups(text: str, value: float | None) -> None:
    keys = {"signals": {"x": {"suffix": "kg"}}, "thousands_mark": ",", "numeric_text": True}
    decoder = decoder_of("one row", quality=None, value_map={}, **keys)
    ((found, _),) = decoder.decode(json.dumps({"x": text}).encode()).values
    assert math.isnan(found) if value is None else found == value


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"thousands_mark": ","}, "needs `numeric_text: true`"),
        ({"thousands_mark": ",", "decimal_mark": ",", "numeric_text": True}, "must differ"),
        ({"signals": {"x": {"suffix": "kg"}}}, "needs `numeric_text: true`"),
        ({"value_paths": ["a"]}, "belong to the layout `tag`"),
        ({"name_template": "{signal}"}, "belong to the layout `tag`"),
        ({"items": "{time}"}, "would make a machine of each time"),
        ({"topic": "f/{timestamp}"}, "would make a machine of each time"),
    ],
)
def test_keys_that_do_not_fit_together(keys: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        decoder_of("behind an element", **keys)


def test_flags_in_texts_count_as_numbers_where_values_do() -> None:
    flags = ["192", "192 ", "64", "0", "true", "Good", 192, True]
    for numeric_text, wanted in (
        (True, [0, 2, 1, 2, 2, 2, 0, 2]),
        (False, [2, 2, 2, 2, 2, 2, 0, 2]),
    ):
        decoder = decoder_of("one row", value_map={}, numeric_text=numeric_text)
        verdicts = []
        for flag in flags:
            records = decoder.decode(json.dumps({"x": 1, "압력": 1, "q": flag}).encode())
            bad = math.isnan(records.values[0][0])
            verdicts.append(2 if bad else int(any(records.uncertain)))
        assert verdicts == wanted
    quality = {"path": "q", "good": [0, True, "ok"]}
    decoder = decoder_of("list of tags", quality=quality, numeric_text=True)
    values = [{"id": "x", "v": 1, "t": AT, "q": one} for one in ("0", "TRUE", "ok", "OK", "1", 0)]
    records = decoder.decode(json.dumps({"values": values}).encode())
    assert [math.isnan(one) for one in records.values] == [False] * 3 + [True] * 2 + [False]


AT_TEXT = "2025-11-21T10:00:00Z"


@pytest.mark.parametrize(
    ("keys", "document"),
    [
        ({}, {"x": 1, "압력": 2}),
        ({"values_path": "v"}, {"v": {"x": 1, "압력": 2}}),
        ({"items": "rows.*"}, {"rows": [{"x": 1, "압력": 2}]}),
        ({"items": "rows"}, {"rows": {"x": 1, "압력": 2}}),
        ({"items": "rows.*", "signals": {"x": "$.x"}}, {"x": 1, "rows": [{"압력": 2}]}),
        ({"items": "rows.*", "signals": {"x": "^.x"}}, {"x": 1, "rows": [{"압력": 2}]}),
        ({"signals": {"x": {"path": [0]}, "압력": {"path": [1]}}}, [1, 2]),
    ],
)
def test_user_properties_stand_beside_the_document(keys: dict[str, Any], document: Any) -> None:
    """What other paths mean does not change: the same message with the parts in it agrees."""
    payload = json.dumps(document).encode()
    time = {"path": "@.ts", "unit": "iso"}
    quality = {"path": "@.q", "good": ["ok"]}
    source = {"topic": "f", **keys, "asset_paths": ["@.machine"], "numeric_text": True}
    source |= {"time": time, "quality": quality}
    decoder = RecordDecoder(SourceConfig.model_validate(source), SIGNALS)
    plain = RecordDecoder(SourceConfig.model_validate({"topic": "f", **keys}), SIGNALS)
    properties = {"ts": AT_TEXT, "q": "ok", "machine": "m1", "other": "1"}
    found = decoder.decode(with_properties(payload, properties), None, [])
    wanted = plain.decode(payload)
    assert wanted.values
    assert content(found)[4] == content(wanted)[4]
    assert set(found.keys) == {"m1"}
    assert set(found.times) == {AT * 1_000_000}
    bad = decoder.decode(with_properties(payload, {**properties, "q": "no"}), None, [])
    assert all(math.isnan(one) for row in bad.values for one in row)
    without = decoder.decode(payload, None, [])
    assert (without.values, without.left_out) == ([], {"no_asset": wanted.total})
    late = decoder.decode(with_properties(payload, {"machine": "m1"}), None, [])
    assert late.left_out == {"no_time": wanted.total}


def test_a_tag_may_be_named_by_a_user_property() -> None:
    source = {
        "topic": "f",
        "layout": "tag",
        "name_path": "@.tag",
        "value_path": "",
        "format": "text",
    }
    decoder = RecordDecoder(SourceConfig.model_validate({**source, "value_path": "value"}), SIGNALS)
    records = decoder.decode(with_properties(b"20.5", {"tag": "압력"}))
    assert (records.values, records.channels) == ([20.5], [1])


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"time": {"path": "@", "unit": "s"}}, "is followed by the name of one user property"),
        ({"time": {"path": "@.a.b", "unit": "s"}}, "is followed by the name of one user property"),
        ({"values_path": "a.@"}, "has a meaning only at the start"),
        ({"items": "@.x"}, "takes no `@`"),
        ({"layout": "frame",
          "frame": {"type": "json", "encoding": "list", "time": {"path": "@.t", "unit": "s"}}},
         "are read in `row` and `tag`"),
    ],
)  # fmt: skip
def test_user_properties_that_are_refused(keys: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        SourceConfig.model_validate({"topic": "f", **keys})


def test_a_value_outside_the_record_is_never_another_one() -> None:
    """It was read from the record by its place among the fields: x was the pressure."""
    for keys in ({"signals": {"x": "$.x"}}, {"signals": {"x": "^.x"}}):
        source = SourceConfig.model_validate({"topic": "f", "items": "rows.*", **keys})
        payload = json.dumps({"x": 1, "rows": [{"압력": 2}, {"압력": 3, "x": 9}]}).encode()
        assert RecordDecoder(source, SIGNALS).decode(payload).values == [[1, 2], [1, 3]]


def test_the_names_of_the_last_message_count_for_it_alone() -> None:
    """The channels of a message's names are kept; another order or another name is looked up."""
    decoder = decoder_of("list of tags", quality=None, time=None)
    for names in (["x", "압력"], ["x", "압력"], ["압력", "x"], ["x", "other", "압력"], ["other"],
                  ["x", "other", "압력"], ["x", "x"], ["x"]):  # fmt: skip
        values = [{"id": name, "v": number} for number, name in enumerate(names)]
        assert decoder._columns is not None
        payload = json.dumps({"values": values}).encode()
        fast, slow = decoder._columns.decode(payload, None, None), decoder.decode_slowly(payload)
        assert content(fast) == content(slow)
        assert fast.channels == [SIGNALS.index(name) for name in names if name != "other"]


def test_identifiers_that_get_other_names_are_looked_up_again() -> None:
    names = {"topic": "n", "items": "*", "id_path": "i", "name_path": "n"}
    decoder = decoder_of("list of tags", quality=None, time=None, names=names)
    payload = json.dumps({"values": [{"id": "1", "v": 5}, {"id": "2", "v": 6}]}).encode()
    for order in (["x", "압력"], ["압력", "x"], ["x", "압력"]):
        listed = [{"i": number, "n": name} for number, name in enumerate(order, 1)]
        decoder.take_names("n", json.dumps(listed).encode())
        assert decoder.decode(payload).channels == [SIGNALS.index(name) for name in order]
