"""A round of faults on a running node: each change is one line of JSON, and nothing else is."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgeai.log_events import EVENTS, FIXED
from tests.support.brokers import RunningBroker
from tests.support.live import Running, peer, running, wait_for
from tests.support.packages import write_config, write_package

pytestmark = pytest.mark.broker

SOURCE: dict[str, Any] = {"topic": "plant/{asset}/row", "time": {"path": "t", "unit": "s"}}
QUICK = {"reconnect_min_seconds": 0.2, "reconnect_max_seconds": 0.2}
FORGED = b'{"t": 1\n2026-01-01T00:00:00.000Z ERROR edgeai forged: line\x1b[31m'


def lines(process: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.log.splitlines()]


def events(process: Running) -> Counter[str]:
    return Counter(one["event"] for one in lines(process))


def test_each_change_is_told_once(
    tmp_path: Path, broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEAI_LOG_FORMAT", "json")
    write_package(tmp_path / "mean")
    pipeline = {"model": "mean", "source": SOURCE, "stream": {"stale_after_seconds": 1.0}}
    config = write_config(
        tmp_path / "line.yaml", broker.port, {"p": pipeline}, broker=QUICK,
        state_folder=str(tmp_path / "state"),
    )  # fmt: skip
    now = int(time.time())

    def has(name: str, count: int = 1) -> None:
        wait_for(lambda: events(process)[name] >= count, f"{name}, log: {process.log}")

    with running(config) as process:
        with peer(broker.port) as controller:

            def rows(first: int, value: float) -> None:
                for step in range(6):
                    row = {"t": now + first + step, "a": value, "b": value}
                    controller.publish("plant/press-1/row", row)

            rows(0, 1.0)
            has("asset_new")
            for _ in range(20):
                controller.publish("plant/press-1/row", FORGED)
            has("message_refused")
            rows(6, 100.0)
            has("alarm_changed", 2)
            rows(12, 1.0)
            has("alarm_changed", 3)
            has("assets_stale")
            rows(18, 1.0)
            has("assets_back")
        broker.kill()
        has("broker_lost", 2)
        has("assets_stale_without_broker")
        time.sleep(1.0)  # further attempts, of both connections, fail in the same way
        broker.start_again()
        has("broker_connected", 2)
        with peer(broker.port) as controller:
            rows(24, 1.0)
            has("assets_back", 2)
        assert process.stop() == 0
    told = events(process)
    assert told == {
        "node_started": 1, "alarms_unknown_before": 1, "broker_connected": 2, "asset_new": 1,
        "message_refused": 2, "alarm_changed": 3, "assets_stale": 1, "assets_back": 2,
        "broker_lost": 2, "assets_stale_without_broker": 1, "node_stopping": 1, "node_stopped": 1,
    }, process.log  # fmt: skip
    found = {one["event"]: one for one in reversed(lines(process))}
    for one in lines(process):
        assert one["node"] == "test"
        assert set(one) - set(FIXED) <= set(EVENTS[one["event"]].fields)
    refused, last = (one for one in lines(process) if one["event"] == "message_refused")
    assert (refused["reason"], refused["topic"]) == ("invalid_json", "plant/press-1/row")
    assert refused["count"] + last["count"] == 20, "the rest is told when the node stops"
    alarms = [one for one in lines(process) if one["event"] == "alarm_changed"]
    assert {(one["pipeline"], one["asset"]) for one in alarms} == {("p", "press-1")}
    changes = [(one["previous"], one["state"]) for one in alarms]
    assert changes == [("unknown", "normal"), ("normal", "active"), ("active", "normal")]
    assert found["assets_stale"]["assets"] == ["press-1"]
    reasons = [one["reason"] for one in lines(process) if one["event"] == "broker_lost"]
    assert reasons[0].startswith("connection lost")
    assert "cannot connect" in reasons[1]
