"""Records: both ways to them agree, and every record is taken or counted, whatever a message is."""

from __future__ import annotations

import json
import math
import time
import unicodedata
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.config.limits import Limits
from edgeai.config.source import SourceConfig
from edgeai.decoding.records import RecordDecoder, Records
from edgeai.decoding.records.columns import NotPlain
from edgeai.errors import DROP_REASONS, DecodeError
from edgeai.metrics.table import ORDINARY_OUTCOMES
from tests.decoding.test_any_payload import ANYTHING, LARGE
from tests.support.live import patient

SIGNALS = ["x", "압력"]
MS = {"path": "t", "unit": "ms"}
SHAPES: dict[str, dict[str, Any]] = {
    "list of tags": {
        "layout": "tag", "items": "values.*", "name_path": "id", "value_path": "v",
        "time": {**MS, "default_path": "$.t"}, "quality": {"path": "q", "good": [True, "ok"]},
    },
    "list of tags, texts": {
        "layout": "tag", "items": "*", "name_path": "id", "value_path": "v.*",
        "numeric_text": True, "decimal_mark": ",", "time": MS,
        "value_map": {True: 1, "on": 2, 7: 3}, "asset_paths": ["a"],
    },
    "rows of assets": {"items": "{asset}.*", "values_path": "v", "time": MS},
    "rows in a list": {
        "items": "values.*", "time": {**MS, "nanos_path": "n"},
        "quality": {"path": "q", "codes": "opc_ua"}, "asset_paths": ["^.a", "id"],
    },
    "map of names": {
        "layout": "tag", "items": "values.*.v.{signal}", "value_path": "v",
        "time": {"path": "t", "unit": "iso", "default_path": "^.t"},
        "quality": {"path": "q", "codes": "opc_ua", "uncertain": ["ok"]},
    },
    "map of values": {"layout": "tag", "items": "{asset}.{signal}", "value_path": ""},
    "behind an element": {"items": "values.*.v", "time": {"path": "^.t", "unit": "ns"}},
    "one row": {"value_map": {True: 1}, "quality": {"path": "q", "codes": "opc_da"}},
    "own flags": {
        "items": "values.*",
        "signals": {"x": {"quality": {"path": "q", "good": [1], "absent": "uncertain"}}},
    },
}  # fmt: skip


def decoder_of(name: str, extras: int = 0, **keys: Any) -> RecordDecoder:
    source = SourceConfig.model_validate({"topic": "f/{line}", **SHAPES[name], **keys})
    return RecordDecoder(source, SIGNALS, extras)


DECODERS = {name: decoder_of(name) for name in SHAPES} | {
    f"{name}, an extra signal": decoder_of(name, 1) for name in SHAPES
}

NAMES = st.sampled_from(["x", "압력", unicodedata.normalize("NFD", "압력"), "other"])
TIMES = st.sampled_from(
    [1_763_719_200_000, 1_763_719_200, 1_763_719_200_000.5, "2025-11-21T10:00:00Z", "1763719200"]
)
LEAVES = st.sampled_from([True, False, 0, 1, 7, 192, 2.5, "ok", "on", "2,5", "2.5", None, 1 << 31])
ANY = LEAVES | TIMES | NAMES
RECORDS = st.dictionaries(
    st.sampled_from(["id", "v", "q", "t", "a", "x", "압력"]),
    ANY | st.dictionaries(NAMES | st.just("v"), ANY, max_size=3) | ANYTHING,
    max_size=7,
) | ANYTHING  # fmt: skip
LISTS = st.lists(RECORDS, max_size=4) | st.dictionaries(NAMES | st.just("a"), RECORDS, max_size=3)
ODD_DOCUMENTS = (
    st.fixed_dictionaries({"values": LISTS}, optional={"t": TIMES, "a": NAMES})
    | LISTS
    | st.dictionaries(NAMES, LISTS, max_size=3)
)
NUMBERS = st.sampled_from([1, 2.5, -3, 1e300])
FLAGS = st.sampled_from([True, 0, "ok", 1 << 30, 1 << 31, {"Code": 1 << 30}, False])
MOMENTS = st.sampled_from([1_763_719_200_000, 1_763_719_200_001])
TEXT_MOMENTS = st.sampled_from(["2025-11-21T10:00:00Z", "2025-11-21t10:00:00.5+00"])


def documents(moments: Any) -> Any:
    """Documents that fit one of the shapes, at least nearly."""
    wrapped = st.fixed_dictionaries({"v": NUMBERS}, optional={"q": FLAGS, "t": moments})
    record = st.fixed_dictionaries(
        {"id": NAMES, "t": moments},
        optional={
            "v": NUMBERS | st.dictionaries(NAMES, NUMBERS | wrapped, max_size=3),
            "x": NUMBERS, "압력": NUMBERS, "q": FLAGS, "a": NAMES | st.integers(0, 3),
            "n": st.integers(0, 10**9 + 1), "odd": ANYTHING,
        },
    )  # fmt: skip
    row = st.fixed_dictionaries({"x": NUMBERS, "압력": NUMBERS})
    named = st.dictionaries(NAMES, wrapped, max_size=3)
    whole = st.fixed_dictionaries(
        {"id": NAMES, "t": moments, "x": NUMBERS, "압력": NUMBERS, "v": row | named},
        optional={"q": FLAGS, "n": st.integers(0, 10**9)},
    )
    records = st.lists(record, max_size=5) | st.lists(whole, min_size=1, max_size=5)
    assets = st.dictionaries(NAMES, records, max_size=3)
    values = st.dictionaries(NAMES, st.dictionaries(NAMES, NUMBERS, max_size=3), max_size=3)
    around = st.fixed_dictionaries({"values": records, "a": NAMES}, optional={"t": moments})
    return around | records | assets | values


DOCUMENTS = documents(MOMENTS) | documents(TEXT_MOMENTS) | ODD_DOCUMENTS


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
    return ["line"] if shape.key_captures or shape.assets else None


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


@settings(deadline=None, max_examples=60)
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
}


@pytest.mark.parametrize("name", VALID)
def test_the_fast_way_takes_an_ordinary_message(name: str) -> None:
    decoder = DECODERS[name]
    assert decoder._columns is not None
    levels = levels_of(decoder)
    fast = decoder._columns.decode(json.dumps(VALID[name]).encode(), "x", levels)
    assert fast.values
    assert not fast.left_out
