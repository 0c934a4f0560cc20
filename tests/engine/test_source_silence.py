"""The silence of one of several sources: told within its declared time, and when it is back."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.asset_events import Live
from edgeai.node.page_state import pipeline_state
from edgeai.testing import build_package, write_config
from tests.support.engine import NS, Node

EVENTS = "edgeai/test/events"
TIME = {"path": "t", "unit": "s"}
SOURCES: dict[str, Any] = {
    "drive": {"topic": "l/{asset}/drive", "time": TIME, "alignment": "none", "signals": ["a"]},
    "oil": {"topic": "l/{asset}/oil", "time": TIME, "signals": ["b"], "stale_after_seconds": 20},
}


class Line:
    """A node in memory with two sources, whose clock and connection a test sets."""

    def __init__(self, folder: Path) -> None:
        build_package(folder / "mean", threshold=1e6)
        config = write_config(folder / "l.yaml", {"p": {"model": "mean", "sources": SOURCES}})
        self.now, self.connected = 1000.0, True
        self.node = Node(
            check(config),
            live=Live("test", EVENTS, lambda: self.connected),
            clock=lambda: self.now,
            clock_ns=lambda: int(self.now) * NS,
        )
        self._polled: list[dict[str, Any]] = []

    def run(self, seconds: int, *sources: str) -> Line:
        """Let sources send once a second, and look each second."""
        for _ in range(seconds):
            self.now += 1
            at = int(self.now)
            for source in sources:
                row = json.dumps({"t": at, "a": 1, "b": 1}).encode()
                self.node.turns([(f"l/m/{source}", row, at * NS, 0)])
            for one in self.node.monitor.poll():
                self._polled.append(json.loads(one.payload))
        return self

    @property
    def events(self) -> list[dict[str, Any]]:
        sent = [json.loads(one.payload) for one in self.node.sink.all if one.topic == EVENTS]
        return sorted([*sent, *self._polled], key=lambda one: one["timestamp"])

    @property
    def told(self) -> list[tuple[str, str | None]]:
        return [(one["event"], one.get("source")) for one in self.events]

    @property
    def silent(self) -> list[str]:
        pipeline = self.node.engine.pipelines[0]
        (asset,) = pipeline_state(pipeline, None, "")["assets"]
        found: list[str] = asset["silent_sources"]
        return found


def test_a_silent_source_is_told_within_its_time_and_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgeai")
    line = Line(tmp_path).run(8, "drive", "oil").run(20, "drive")
    assert line.told == []
    line.run(3, "drive")
    assert line.told == [("source_stale", "oil")]
    assert line.silent == ["oil"]
    event = line.events[0]
    assert (event["assets"], event["stale_after_seconds"]) == (["m"], 20.0)
    assert line.node.predictions()[-1]["marks"] == {"b": "old"}
    line.run(30, "drive")
    assert line.told[1:] == [("stale", None)]  # half of the values stand for others: no decision
    assert line.events[1]["cause"] == "bad_values"
    assert line.silent == ["oil"]
    line.run(6, "drive", "oil")
    assert line.told[2:] == [("source_back", "oil"), ("back", None)]
    assert line.silent == []
    text = "no sample of the source oil for 20 s, while others come: m"
    assert text in caplog.text


def test_a_source_that_never_sends_is_told(tmp_path: Path) -> None:
    line = Line(tmp_path).run(25, "drive")
    assert line.told == [("source_stale", "oil")]


def test_a_silent_asset_is_told_once_and_not_by_source(tmp_path: Path) -> None:
    line = Line(tmp_path).run(8, "drive", "oil").run(60)
    assert line.told == [("source_stale", "drive"), ("stale", None)]
    assert "oil" not in line.silent


def test_without_the_broker_no_source_is_told(tmp_path: Path) -> None:
    line = Line(tmp_path).run(8, "drive", "oil")
    line.connected = False
    line.run(40)
    line.connected = True
    line.run(5, "drive", "oil")
    assert "source_stale" not in [name for name, _ in line.told]


def test_after_an_outage_a_source_has_its_time_again(tmp_path: Path) -> None:
    line = Line(tmp_path).run(8, "drive", "oil").run(3, "drive")
    line.connected = False
    line.run(40)
    line.connected = True
    line.run(19, "drive")
    assert "source_stale" not in [name for name, _ in line.told]
    line.run(4, "drive")
    assert ("source_stale", "oil") in line.told
