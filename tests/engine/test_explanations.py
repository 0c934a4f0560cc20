"""The log says which value of which machine cannot be used, as it came, and what to do."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from edgeai.testing import MemoryNode, build_package, write_config

TOPIC = "factory/m1/sensors"
SOURCE: dict[str, Any] = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
TAGS: dict[str, Any] = {"topic": "factory/{asset}/{signal}", "layout": "tag", "value_path": ["v"]}

VALUES = {
    "null": ('{"t": 1, "a": null, "b": 1}', "signal a: the value is null"),
    "missing field": ('{"t": 1, "b": 1}', "signal a: no field a; other fields there: t"),
    "text": ('{"t": 1, "a": "on", "b": 1}', "signal a: the value is 'on', a text"),
    "comma": ('{"t": 1, "a": "19,24", "b": 1}', "the value is '19,24', a text with a comma"),
    "unit": (
        '{"t": 1, "a": "19.2 kg", "b": 1}',
        "set pipelines.p.source.numeric_text, and signals.<name>.suffix to 'kg'",
    ),
    "dots": (
        '{"t": 1, "X.A": 1, "b": 1}',
        "signal a: no field a; other fields there: t",
    ),
    "quotes": ('{"t": 1, "a": "19.24", "b": 1}', "set pipelines.p.source.numeric_text"),
    "NaN": ('{"t": 1, "a": NaN, "b": 1}', "signal a: the value is NaN"),
    "bool": ('{"t": 1, "a": true, "b": 1}', "signal a: the value is true"),
    "list": ('{"t": 1, "a": [1], "b": 1}', "signal a: the value is a list"),
    "too large": ('{"t": 1, "a": 1e400, "b": 1}', "signal a: the value is Infinity"),
    "other case": ('{"t": 1, "A": 1, "b": 1}', "if A is meant, declare its path in "),
    "Korean": ('{"t": 1, "전류": 1, "b": 1}', "other fields there: t, 전류"),
}


def _told(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    messages: list[tuple[str, bytes]],
    *,
    source: dict[str, Any] | None = None,
    stream: dict[str, Any] | None = None,
    manifest: dict[str, Any] | None = None,
    turns: int = 1,
) -> list[str]:
    """Return the lines of the log about refusals and values, after some turns."""
    caplog.set_level(logging.INFO, "edgeai.refused")
    build_package(tmp_path / "mean", manifest_changes=manifest or {})
    pipeline = {"model": "mean", "source": source or SOURCE, "stream": stream or {}}
    with MemoryNode(write_config(tmp_path / "c.yaml", {"p": pipeline})) as node:
        for _ in range(turns):
            node.turn(*messages)
    return [one.getMessage() for one in caplog.records if one.name == "edgeai.refused"]


@pytest.mark.parametrize("policy", ["drop", "hold"])
@pytest.mark.parametrize(("payload", "expected"), VALUES.values(), ids=VALUES)
def test_the_first_refusal_of_a_value_says_what_is_wrong(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    payload: str,
    expected: str,
    policy: str,
) -> None:
    found = _told(
        tmp_path, caplog, [(TOPIC, payload.encode())], stream={"invalid": policy}, turns=3
    )
    first = next(one for one in found if "invalid_value" in one)
    assert "asset m1: " in first
    assert expected in first
    assert f"stream.invalid is `{policy}`" in first
    assert f"topic {TOPIC}" in first
    assert payload[:20] in first
    others = [one for one in found if one is not first]
    assert all("refused 2 more" in one or ", late: " in one for one in others), others


def test_many_rows_of_one_turn_are_told_as_one_row_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        (f"factory/m{number}/sensors", json.dumps({"t": 1, "a": 1.0, "b": None}).encode())
        for number in range(20)
    ]
    first, *more = _told(tmp_path, caplog, rows)
    assert "asset m0: signal b: the value is null" in first
    assert len(more) <= 1


def test_a_held_value_is_told_once_for_each_signal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows: list[dict[str, Any]] = [
        {"a": 1.0, "b": 1.0},
        {"a": None, "b": 1.0},
        {"a": None, "b": 1.0},
        {"b": "2,5"},
    ]
    messages = [(TOPIC, json.dumps({"t": t, **row}).encode()) for t, row in enumerate(rows, 1)]
    first, second = _told(tmp_path, caplog, messages)
    assert "signal a: the value is null; stream.invalid is `hold`: the last good value" in first
    assert "signal b: the value is '2,5', a text with a comma" in second


@pytest.mark.parametrize("out_of_range", ["drop", "hold"])
def test_a_value_outside_its_range_is_told_with_the_likely_factor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, out_of_range: str
) -> None:
    signals = [{"name": "a", "unit": "V", "range": [0.0, 50.0]}, {"name": "b", "unit": "V"}]
    payload = b'{"t": 1, "a": 19240.0, "b": 1.0}'
    first, *_ = _told(
        tmp_path, caplog, [(TOPIC, payload)], stream={"out_of_range": out_of_range},
        manifest={"signals": signals},
    )  # fmt: skip
    assert "signal a: the value 19240.0 is outside the model's range 0 to 50" in first
    assert "1,000 times too large" in first
    policy = "stream.out_of_range is `drop`" if out_of_range == "drop" else "stream.invalid is"
    assert policy in first


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('{"t": 1, "A": 1, "B": 1}', "signal a: no field a; if A is meant"),
        ('{"t": 1, "values": {"a": 1}}', "signal a: no field a; other fields there: t, values"),
    ],
)
def test_a_message_without_any_signal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, payload: str, expected: str
) -> None:
    first, *_ = _told(tmp_path, caplog, [(TOPIC, payload.encode())])
    assert "no_signal" in first
    assert expected in first


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        ("factory/m1/a", '{"v": "19,24"}', "signal a: the value is '19,24', a text with a comma"),
        ("factory/m1/a", '{"v": null}', "signal a: the value is null"),
        ("factory/m1/A", '{"v": 1}', "no signal has the tag 'A'; did you mean a?"),
        ("factory/m1/a", '{"value": 1}', "no field v; "),
    ],
)
def test_tags(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, topic: str, payload: str, expected: str
) -> None:
    first, *_ = _told(
        tmp_path, caplog, [(topic, payload.encode())], source=TAGS, stream={"alignment": "hold"}
    )
    assert "asset m1: " in first
    assert expected in first


@pytest.mark.parametrize(
    ("time", "value", "expected"),
    [
        ({"unit": "s"}, 1_750_000_000_000, "it looks like ms, but the unit is s: set "),
        ({"unit": "ms"}, 1_750_000_000_000_000_000, "it looks like ns, but the unit is ms"),
        ({"unit": "s"}, "2026-01-01T00:00:00Z", "it is a text (ISO 8601), but the unit is s"),
        ({"unit": "s"}, "1750000000", "it is a number in quotes"),
        ({"unit": "iso"}, "2026-01-01T00:00:00", "it has no offset"),
        ({"unit": "iso"}, 1_750_000_000, "set pipelines.p.source.time.unit to s"),
        ({"unit": "iso"}, "01.02.2026 10:00", "neither an ISO 8601 time nor a number"),
        ({"unit": "s"}, None, "the time t is null: it is no time"),
    ],
)
def test_a_time_that_cannot_be_used(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    time: dict[str, Any],
    value: object,
    expected: str,
) -> None:
    source = {**SOURCE, "time": {"path": "t", **time}}
    payload = json.dumps({"t": value, "a": 1, "b": 2}).encode()
    first, *_ = _told(tmp_path, caplog, [(TOPIC, payload)], source=source)
    assert "asset m1: the time t is " in first
    assert expected in first
