"""Times of messages in every unit, and times that stand in several fields."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeai.config.base import TimeField
from edgeai.config.source import SourceConfig
from edgeai.decoding.records import RecordDecoder
from edgeai.decoding.time_hints import time_hint
from edgeai.decoding.times import time_reader
from edgeai.errors import DecodeError

S = 10**9
EXCEL, EPOCH, DOTNET = map(datetime.fromisoformat, ("1899-12-30", "1970-01-01", "0001-01-01"))
SEOUL = ZoneInfo("Asia/Seoul")
TIMES = st.integers(946_684_800 * S, 4_000_000_000 * S)  # 2000 to 2096


def read(value: Any, unit: str, zone: str | None = None, **keys: Any) -> int:
    numeric_text = keys.pop("numeric_text", False)
    field = TimeField.model_validate({"path": "t", "unit": unit, "zone": zone, **keys})
    return time_reader(field, numeric_text=numeric_text)(value)


def local(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // S, SEOUL).replace(tzinfo=None)


@settings(max_examples=25, deadline=None)
@given(TIMES)
def test_every_unit_counts_the_same_time(time_ns: int) -> None:
    tick_ns = time_ns // 100 * 100
    assert read((tick_ns + 11_644_473_600 * S) // 100, "filetime") == tick_ns
    assert read((tick_ns + 62_135_596_800 * S) // 100, "ticks") == tick_ns
    moment = local(time_ns)
    whole_ns = time_ns // S * S
    days = (moment - EXCEL) / timedelta(days=1)
    assert read(days, "excel", "Asia/Seoul") == whole_ns
    assert read(repr(days), "excel", "Asia/Seoul", numeric_text=True) == whole_ns
    ticks = (moment - DOTNET) // timedelta(microseconds=1) * 10
    assert read(ticks, "ticks", "Asia/Seoul") == whole_ns
    seconds = (moment - EPOCH) // timedelta(seconds=1)
    assert read(seconds, "s", "Asia/Seoul") == whole_ns
    assert read(seconds * 1000 + 7, "ms", "Asia/Seoul") == whole_ns + 7_000_000
    assert read(seconds * S + 7, "ns", "Asia/Seoul") == whole_ns + 7
    assert read(f"{seconds}.5", "s", "Asia/Seoul", numeric_text=True) == whole_ns + S // 2
    text = moment.strftime("%Y%m%d%H%M%S")
    form = {"format": "%Y%m%d%H%M%S", "zone": "Asia/Seoul"}
    assert read(text, "iso", **form) == read(int(text), "iso", **form) == whole_ns


@pytest.mark.parametrize(
    ("value", "unit", "zone"),
    [
        (True, "excel", "UTC"), ("45982.5", "excel", "UTC"), (-1, "excel", "UTC"),
        (float("inf"), "excel", "UTC"), (None, "filetime", None), (0, "filetime", None),
        (2**70, "ticks", None), ({}, "ticks", "UTC"), (10**30, "s", "Asia/Seoul"),
    ],
)  # fmt: skip
def test_other_values_are_no_times(value: Any, unit: str, zone: str | None) -> None:
    with pytest.raises(DecodeError, match="invalid_time"):
        read(value, unit, zone)


def decode(document: Any, **time: Any) -> list[int | None]:
    keys = {"topic": "f", "numeric_text": True, "signals": {"x": {"path": "$.x"}}}
    source = SourceConfig.model_validate(
        {**keys, "time": time, **({"items": "r.*"} if "r" in document else {})}
    )
    records = RecordDecoder(source, ["x"]).decode(json.dumps(document).encode())
    assert not records.values or not records.left_out
    return [*records.times, *records.left_out]  # type: ignore[list-item]


PARTS = {"path": "d", "unit": "iso", "zone": "Asia/Seoul"}


@pytest.mark.parametrize(
    ("document", "time"),
    [
        ({"d": "2025-11-21", "c": "19:00:00"}, {"more_paths": ["c"]}),
        ({"d": 20251121, "c": 190000}, {"more_paths": ["c"], "format": "%Y%m%d %H%M%S"}),
        ({"d": 20251121.0, "c": "190000"}, {"more_paths": ["c"], "format": "%Y%m%d %H%M%S"}),
        ({"d": 2025, "m": 11, "t": 21, "h": 19},
         {"more_paths": ["m", "t", "h"], "format": "%Y %m %d %H"}),
        ({"d": "21/11/25", "c": " 7:00 PM"}, {"more_paths": ["c"], "format": "%d/%m/%y %I:%M %p"}),
    ],
)  # fmt: skip
def test_a_time_in_several_fields(document: Any, time: dict[str, Any]) -> None:
    assert decode({**document, "x": 1}, **PARTS, **time) == [1_763_719_200 * S]


def test_a_clock_gets_back_the_zeros_that_a_number_has_lost() -> None:
    """00:00:05 is the number 5, and 09:30:00 is 93000."""
    time = {**PARTS, "more_paths": ["c"], "format": "%Y%m%d %H%M%S"}
    midnight_ns = int(datetime(2025, 11, 21, tzinfo=SEOUL).timestamp()) * S
    for clock, seconds in ((5, 5), (93000, 34_200), (0, 0), (235959, 86_399)):
        found = decode({"d": 20251121, "c": clock, "x": 1}, **time)
        assert found == [midnight_ns + seconds * S]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"d": "2025-11-21"}, "no_time"),
        ({"d": "2025-11-21", "c": None}, "invalid_time"),
        ({"d": "2025-11-21", "c": [19]}, "invalid_time"),
        ({"d": "2025-11-21", "c": 1.5}, "invalid_time"),
        ({"d": "2025-11-21", "c": -1}, "invalid_time"),
    ],
)
def test_parts_that_make_no_time(document: Any, reason: str) -> None:
    assert decode({**document, "x": 1}, **PARTS, more_paths=["c"]) == [reason]


def test_a_number_is_added_to_the_time() -> None:
    base = {"path": "t", "unit": "s", "add": {"path": "ms", "unit": "ms"}}
    assert decode({"t": 1_763_719_200, "ms": 250, "x": 1}, **base) == [1_763_719_200_250_000_000]
    assert decode({"t": 1_763_719_200, "ms": "-0.5", "x": 1}, **base) == [1_763_719_199_999_500_000]
    assert decode({"t": 1_763_719_200, "x": 1}, **base) == ["no_time"]
    assert decode({"t": 1_763_719_200, "ms": "x", "x": 1}, **base) == ["invalid_time"]
    assert decode({"t": 1, "ms": -5000, "x": 1}, **base) == [-4 * S]  # refused by its arrival
    batch = {"t": 1_763_719_200, "x": 1, "r": [{"dt": 0}, {"dt": 0.5}, {"dt": 1}]}
    times = decode(batch, path="$.t", unit="s", add={"path": "dt", "unit": "s"})
    assert times == [1_763_719_200 * S, 1_763_719_200_500_000_000, 1_763_719_201 * S]


@pytest.mark.parametrize(
    ("value", "keys", "said"),
    [
        ("1763719200", {"unit": "s"}, "set w.numeric_text to true"),
        ("1763719200", {"unit": "iso"}, "set w.time.unit to s, or describe its digits"),
        ("2025/11/21 19:00", {"unit": "iso"}, "describe it by w.time.format"),
        (45982.5, {"unit": "s"}, "looks like excel"),
        (133_000_000_000_000_000, {"unit": "ms"}, "looks like filetime"),
        (639_000_000_000_000_000, {"unit": "ns"}, "looks like ticks"),
        (
            "x",
            {"unit": "iso", "format": "%Y/%m/%d %H:%M", "zone": "UTC"},
            "such as 2025/11/21 19:05",
        ),
    ],
)
def test_what_a_time_looks_like(value: Any, keys: dict[str, Any], said: str) -> None:
    assert said in time_hint(value, TimeField.model_validate({"path": "t", **keys}), "w.time")


def test_an_ambiguous_hour_of_numbers_is_read_as_its_first() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    seconds = (datetime.fromisoformat("2025-10-26T02:30:00") - EPOCH) // timedelta(seconds=1)
    wanted = datetime(2025, 10, 26, 2, 30, tzinfo=berlin)
    assert read(seconds, "s", "Europe/Berlin") == int(wanted.timestamp()) * S
    assert wanted.astimezone(UTC).hour == 0


@settings(max_examples=300, deadline=None)
@given(
    microseconds=st.integers(631_152_000 * 10**6, 4_102_444_800 * 10**6),  # 1990 to 2100
    unit=st.sampled_from(["s", "ms", "us"]),
)
@example(microseconds=1_763_719_200_100_000, unit="s")  # 95 ns early, as float64
def test_a_time_with_decimals_is_the_microsecond_that_its_sender_means(
    microseconds: int, unit: str
) -> None:
    digits = {"s": 6, "ms": 3, "us": 0}[unit]
    text = f"{Decimal(microseconds).scaleb(-digits)}"
    value = msgspec.json.decode(text if "." in text else text + ".0")
    assert type(value) is float
    assert read(value, unit) == microseconds * 1000
