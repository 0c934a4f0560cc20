"""What doctor says of the messages that arrived: the value, the field and the likely remedy."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edgeai.assembly.pipelines import build_pipelines
from edgeai.assembly.plan import check
from edgeai.doctor.arrivals import check_arrivals
from edgeai.doctor.findings import Finding, Findings
from edgeai.messages import Message
from edgeai.metrics.definitions import Metrics
from tests.support.engine import SOURCE
from tests.support.packages import write_config, write_package

TOPIC = "factory/m1/sensors"
RANGES = [{"name": "a", "unit": "V", "range": [0.0, 50.0]}, {"name": "b", "unit": "V"}]


def _findings(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    clock: dict[str, Any] | None = None,
    *,
    source: dict[str, Any] | None = None,
    topics: list[str] | None = None,
) -> dict[str, tuple[str, str, str]]:
    """Return status, what was found and advice of each check, for rows that arrive now."""
    write_package(tmp_path / "mean", manifest_changes={"signals": RANGES, "sample_rate_hz": 10.0})
    source = source or {**SOURCE, "time": {"path": "t", "unit": "s", **(clock or {})}}
    pipelines = {"p": {"model": "mean", "source": source}}
    plan = check(write_config(tmp_path / "c.yaml", 1883, pipelines))
    now_ns = time.time_ns()
    messages: list[Message] = [
        (topic, json.dumps(row).encode(), now_ns, 0)
        for topic, row in zip(topics or [TOPIC] * len(rows), rows, strict=True)
    ]
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
    ("clock", "offset", "hours", "expected"),
    [
        ({}, None, 9, "UTC+9: set pipelines.p.source.time.zone to its zone (such as Asia/Seoul)"),
        ({"unit": "iso"}, "Z", -9, "its times carry an offset, Z, which is wrong"),
        (
            {"unit": "iso", "zone": "UTC"}, "", 9,
            "UTC+9, not UTC: set pipelines.p.source.time.zone to its zone (such as Asia/Seoul)",
        ),
        (
            {"unit": "iso", "zone": "Asia/Seoul"}, "", -9,
            "UTC+0, not Asia/Seoul: set pipelines.p.source.time.zone to its zone (such as UTC)",
        ),
        ({"unit": "iso", "zone": "UTC"}, "", 5.5, "(such as Asia/Kolkata)"),
        ({"unit": "iso", "zone": "UTC"}, "", -4, "(such as Etc/GMT+4, with the sign turned)"),
    ],
)  # fmt: skip
def test_advice_for_a_clock_that_is_wrong_by_a_time_zone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: dict[str, str],
    offset: str | None,
    hours: float,
    expected: str,
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    rows = _rows()
    for index, row in enumerate(rows):
        moment = datetime.now(UTC) + timedelta(hours=hours, milliseconds=100 * index)
        row["t"] = moment.timestamp()
        if offset is not None:
            zone = clock.get("zone", "UTC")
            moment = moment.astimezone(ZoneInfo(zone))
            row["t"] = moment.replace(tzinfo=None).isoformat() + offset
    _, found, advice = _findings(tmp_path, rows, clock)["sender clock"]
    assert ("behind" if hours < 0 else "ahead") in found
    assert f"{abs(hours):g} h look like a time zone" in advice
    assert expected in advice


UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@pytest.mark.parametrize("declared", UNITS)
@pytest.mark.parametrize("sent", UNITS)
def test_times_in_another_unit(tmp_path: Path, declared: str, sent: str) -> None:
    rows = _rows()
    for row in rows:
        row["t"] = round(row["t"] * UNITS[sent]) if sent != "s" else row["t"]
    found = _findings(tmp_path, rows, {"unit": declared})
    if declared == sent:
        assert {one[0] for one in found.values()} == {"ok"}
        return
    assert {found["samples"][0], found["sender clock"][0]} & {"warn", "fail"}
    told = " ".join(" ".join(one) for one in found.values())
    assert f"set pipelines.p.source.time.unit to {sent}" in told
    assert "NTP" not in told


@pytest.mark.parametrize(("sent", "factor"), [("s", 1), ("ms", 1000), ("us", 10**6)])
def test_times_of_frames_in_another_unit(tmp_path: Path, sent: str, factor: int) -> None:
    """The time is read before anybody can say what it was."""
    now = time.time()
    source = {
        "layout": "frame", "topic": SOURCE["topic"],
        "frame": {
            "type": "json", "encoding": "list", "rate_hz": 10.0,
            "time": {"path": "t", "unit": "ms"},
        },
    }  # fmt: skip
    rows = [
        {"t": round((now + 0.5 * index) * factor), "data": [1.0, 2.0] * 5} for index in range(4)
    ]
    found = _findings(tmp_path, rows, source=source)
    if sent == "ms":
        assert found["sender clock"][0] == "ok"
        return
    assert f"set pipelines.p.source.frame.time.unit to {sent}" in found["sender clock"][2]


def test_all_senders_against_this_clock(tmp_path: Path) -> None:
    """Then this machine's clock is more likely the wrong one."""
    rows, topics = [], []
    for asset in ("m1", "m2", "m3"):
        rows += _rows()
        topics += [f"factory/{asset}/sensors"] * 3
    for row in rows:
        row["t"] += 100.0
    found = _findings(tmp_path, rows, topics=topics)["sender clock"]
    assert "all 3 senders agree, so this machine's clock is probably the wrong one" in found[2]
    for row in rows[:3]:
        row["t"] -= 100.0
    found = _findings(tmp_path, rows, topics=topics)["sender clock"]
    assert "synchronise the clocks" in found[2]


# ----------------------------------------------------------------------------------- source.assets


def test_no_asset_that_arrives_is_wanted(tmp_path: Path) -> None:
    source = {**SOURCE, "assets": ["Press-*", "cutter-1"]}
    topics = ["factory/press-1/sensors", "factory/press-2/sensors", "factory/cutter_1/sensors"]
    found = _findings(tmp_path, _rows(), source=source, topics=topics)
    assert found["delivery"] == (
        "warn",
        (
            "messages of cutter_1, press-1, press-2 arrive, and pipelines.p.source.assets "
            "(Press-*, cutter-1) leaves all of them out"
        ),
        (
            "correct pipelines.p.source.assets: did you mean press-1 in place of Press-*? (a "
            "pattern is compared with the whole name; upper and lower case count)"
        ),
    )
    assert {found[one][0] for one in ("samples", "sample rate", "sender clock")} == {"skip"}


def test_one_of_several_assets_is_misspelt(tmp_path: Path) -> None:
    source = {
        **SOURCE,
        "assets": ["press-1", "pres-2", "oven-9"],
        "time": {"path": "t", "unit": "s"},
    }
    topics = ["factory/press-1/sensors", "factory/press-2/sensors", "factory/press-1/sensors"]
    found = _findings(tmp_path, _rows(), source=source, topics=topics)
    assert found["delivery"][0] == "warn"
    assert "no asset that arrives is pres-2, but press-2" in found["delivery"][1]
    assert found["samples"][0] == "ok"


def test_an_asset_that_is_left_out_on_purpose(tmp_path: Path) -> None:
    source = {**SOURCE, "assets": ["press-*"], "time": {"path": "t", "unit": "s"}}
    topics = ["factory/press-1/sensors"] * 2 + ["factory/oven-1/sensors"]
    found = _findings(tmp_path, _rows(), source=source, topics=topics)
    assert "delivery" not in found
    assert found["samples"][0] == "ok"


def test_assets_that_stand_in_the_messages(tmp_path: Path) -> None:
    rows = [{**row, "machine": "press-1"} for row in _rows()]
    source = {
        "topic": "factory/all", "asset_paths": ["machine"], "assets": ["Press-1"],
        "time": {"path": "t", "unit": "s"},
    }  # fmt: skip
    found = _findings(tmp_path, rows, source=source, topics=["factory/all"] * 3)
    assert "messages of press-1 arrive" in found["delivery"][1]
    assert "did you mean press-1 in place of Press-1" in found["delivery"][2]


# --------------------------------------------------------------------------------- another format


def test_a_payload_of_another_format_is_shown_with_a_hint(tmp_path: Path) -> None:
    write_package(tmp_path / "mean")
    plan = check(
        write_config(tmp_path / "c.yaml", 1883, {"p": {"model": "mean", "source": SOURCE}})
    )

    def told(payload: bytes) -> Finding:
        messages: list[Message] = [(TOPIC, payload, time.time_ns(), 0)] * 3
        findings = Findings()
        check_arrivals(plan.config, build_pipelines(plan, Metrics()), messages, findings)
        [one] = [one for one in findings.in_order() if one.check == "samples"]
        return one

    one = told(b"20.5;\x1b[2J;5.5" + b"x" * 500)
    assert "513 bytes: '20.5;\\x1b[2J;5.5xxx" in one.found
    assert len(one.found) < 400
    one = told(b"1;2;3")
    assert one.status == "fail"
    assert "3 of 3 messages refused, invalid_json" in one.found
    assert "it looks like CSV; example: topic factory/m1/sensors, 5 bytes: '1;2;3'" in one.found
    assert one.advice.startswith('set pipelines.p.source.format: {type: csv, separator: ";"')
    assert one.advice.endswith("(a hint: nothing is guessed)")


def test_a_few_messages_of_another_kind_do_not_fail_a_line(tmp_path: Path) -> None:
    rows = [*_rows(), *_rows(), {"hello": 1}]
    for index, row in enumerate(rows):
        if "a" in row:
            row["t"] = time.time() + 0.1 * index
    status, found, _ = _findings(tmp_path, rows)["samples"]
    assert status == "warn"
    assert "1 of 7 messages refused" in found


def test_machines_of_another_kind_on_the_same_topics(tmp_path: Path) -> None:
    """Their messages give no sample, and those of the others do."""
    now = time.time()
    rows: list[dict[str, Any]] = []
    topics = []
    for asset in ("press-1", "press-2", "oven-1"):
        for index in range(3):
            fields = {"a": 1.0, "b": 1.0} if asset != "oven-1" else {"heat": 700.0}
            rows.append({"t": now + 0.1 * index, **fields})
            topics.append(f"factory/{asset}/sensors")
    status, found, advice = _findings(tmp_path, rows, {}, topics=topics)["samples"]
    assert status == "warn"
    assert "these are all messages of oven-1, while other assets are used" in found
    assert 'set pipelines.p.source.assets to ["press-*"]' in advice
