"""What doctor says of the messages that arrived: the value, the field and the likely remedy."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.pipelines import build_pipelines
from edgeai.assembly.plan import check
from edgeai.doctor.arrivals import check_arrivals
from edgeai.doctor.findings import Findings
from edgeai.messages import Message
from edgeai.metrics.definitions import Metrics
from tests.support.engine import SOURCE
from tests.support.packages import write_config, write_package

TOPIC = "factory/m1/sensors"
RANGES = [{"name": "a", "unit": "V", "range": [0.0, 50.0]}, {"name": "b", "unit": "V"}]


def _findings(
    tmp_path: Path, rows: list[dict[str, Any]], clock: dict[str, Any] | None = None
) -> dict[str, tuple[str, str, str]]:
    """Return status, what was found and advice of each check, for rows that arrive now."""
    write_package(tmp_path / "mean", manifest_changes={"signals": RANGES})
    source = {**SOURCE, "time": {"path": "t", "unit": "s", **(clock or {})}}
    pipelines = {"p": {"model": "mean", "source": source}}
    plan = check(write_config(tmp_path / "c.yaml", 1883, pipelines))
    now_ns = time.time_ns()
    messages: list[Message] = [(TOPIC, json.dumps(row).encode(), now_ns, 0) for row in rows]
    findings = Findings()
    check_arrivals(plan.config, build_pipelines(plan, Metrics()), messages, findings)
    return {one.check: (one.status, one.found, one.advice) for one in findings.in_order()}


def _rows(**values: object) -> list[dict[str, Any]]:
    now = time.time()
    return [{"t": now + 0.1 * index, "a": 1.0, "b": 1.0, **values} for index in range(3)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": None}, "asset m1: signal a: the value is null"),
        ({"a": "19,24"}, "signal a: the value is '19,24', a text with a comma"),
        ({"a": "on"}, "signal a: the value is 'on', a text"),
        ({"a": float("nan")}, "signal a: the value is NaN"),
        ({"a": True}, "signal a: the value is true"),
        ({"t": 1_750_000_000_000}, "the time t is 1750000000000: it looks like ms"),
        ({"t": "2026-01-01T00:00:00"}, "it is a text (ISO 8601), but the unit is s"),
        ({"t": None}, "the time t is null: it is no time"),
    ],
)
def test_a_message_that_cannot_be_used(
    tmp_path: Path, values: dict[str, object], expected: str
) -> None:
    status, found, _ = _findings(tmp_path, _rows(**values))["samples"]
    assert status == "fail"
    assert expected in found


@pytest.mark.parametrize("count", [1, 3])
def test_values_outside_their_range(tmp_path: Path, count: int) -> None:
    rows = _rows()
    for row in rows[-count:]:
        row["a"] = 19_240.0
    status, found, _ = _findings(tmp_path, rows)["samples"]
    assert status == "warn"
    assert f"out_of_range {count}" in found
    assert "the value 19240.0 is outside the model's range 0 to 50" in found
    assert "1,000 times too large" in found


def test_good_messages(tmp_path: Path) -> None:
    found = _findings(tmp_path, _rows())
    assert {one[0] for one in found.values()} == {"ok"}


def test_a_clock_that_stands_still(tmp_path: Path) -> None:
    now = time.time()
    status, found, advice = _findings(tmp_path, _rows(t=now))["sender clock"]
    assert status == "warn"
    assert f"all 3 messages have the time {now}" in found
    assert "resolution_seconds" in advice


@pytest.mark.parametrize(
    ("clock", "offset", "expected"),
    [
        ({}, None, "or set pipelines.p.source.time.zone if it counts its local time"),
        ({"unit": "iso"}, "Z", "its times carry an offset, Z, which is wrong"),
        ({"unit": "iso", "zone": "UTC"}, "", "or set pipelines.p.source.time.zone"),
    ],
)
def test_advice_for_a_clock_that_is_wrong_by_a_time_zone(
    tmp_path: Path, clock: dict[str, str], offset: str | None, expected: str
) -> None:
    rows = _rows()
    for index, row in enumerate(rows):
        moment = datetime.now(UTC) + timedelta(hours=-9, milliseconds=100 * index)
        row["t"] = moment.timestamp()
        if offset is not None:
            row["t"] = moment.replace(tzinfo=None).isoformat() + offset
    _, found, advice = _findings(tmp_path, rows, clock)["sender clock"]
    assert "behind" in found
    assert "9 h look like a time zone" in advice
    assert expected in advice


@pytest.mark.parametrize(
    ("share", "status"), [(1.0, "ok"), (0.92, "ok"), (0.85, "warn"), (1.3, "warn")]
)
def test_the_rate_of_rows_is_compared_with_the_model_s(
    tmp_path: Path, share: float, status: str
) -> None:
    now = time.time()
    rows = [{"t": now + (index - 39) / share, "a": 1.0 + index, "b": 1.0} for index in range(40)]
    found, text, advice = _findings(tmp_path, rows)["sample rate"]
    assert found == status
    assert text == f"asset m1 sends at {share:.3g} Hz, the model needs 1 Hz"
    assert ("stream.alignment" in advice) == (status == "warn")
