"""What the page says of a machine: since when, and why, also after a restart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.asset_events import Live
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.stream_state import StaleCause
from edgeai.node.page_state import pipeline_state
from tests.support.engine import NS, SOURCE, Node
from tests.support.live import patient
from tests.support.packages import write_config, write_package

LATCH = {"alarm": {"latch": True}}
RAISED_NS, LATCHED_NS = 1_700_000_000 * NS, 1_700_000_600 * NS
"""By the clock of this machine; the sender counts seconds from 1."""


class Line:
    """A node that is started again and again on one state folder."""

    def __init__(self, folder: Path, **pipeline: Any) -> None:
        self.folder, self.chosen = folder, {"model": "mean", "source": SOURCE, **pipeline}
        write_package(folder / "mean", length=1, threshold=5.0)
        self.start()

    def start(self) -> Line:
        plan = check(write_config(self.folder / "line.yaml", 1883, {"p": self.chosen}))
        self.node = Node(
            plan,
            kept=KeptAlarms(self.folder / "alarms"),
            live=Live("test", "edgeai/test/events", lambda: True),
        )
        self.pipeline = self.node.engine.pipelines[0]
        self.node.turns([])
        return self

    def row(self, t: int, a: float | None, b: float | None, now_ns: int = 0) -> Line:
        self.node.engine._judges[self.pipeline].alarms._clock_ns = lambda: now_ns
        payload = json.dumps({"t": t, "a": a, "b": b}).encode()
        self.node.turns([("factory/m/sensors", payload, NS, False)])
        return self

    def latch(self) -> Line:
        """Raise the alarm by signal `a`, and end its cause."""
        return self.row(1, 99, 0, RAISED_NS).row(2, 0.1, 0.2, LATCHED_NS)

    @property
    def asset(self) -> dict[str, Any]:
        (found,) = pipeline_state(self.pipeline, None, "")["assets"]
        assert isinstance(found, dict)
        return found

    @property
    def told(self) -> tuple[Any, ...]:
        asset = self.asset
        top = [name for name, _ in asset["top"]]
        return asset["alarm"], asset["since"], top, asset["cause_known"]

    @property
    def metric(self) -> float:
        return self.node.value("alarm_since_timestamp_seconds", pipeline="p", asset="m")


def test_a_latched_alarm_keeps_its_cause_and_its_time_over_restarts(tmp_path: Path) -> None:
    """Windows are healthy now: the signals that contribute to them say nothing about the alarm."""
    line = Line(tmp_path, **LATCH).latch()
    told = ("latched", LATCHED_NS / NS, ["a", "b"], True)
    assert line.told == told
    for _ in range(3):
        line.start()
        assert (line.told, line.metric) == (told, LATCHED_NS / NS)
        line.row(3, 0.1, 0.3).row(4, 0.1, 0.4)
        assert (line.told, line.metric) == (told, LATCHED_NS / NS)


def test_an_active_alarm_has_the_cause_of_now_and_before_a_window_that_of_its_start(
    tmp_path: Path,
) -> None:
    line = Line(tmp_path, **LATCH).row(1, 99, 0, RAISED_NS)
    line.start()
    assert line.told == ("active", RAISED_NS / NS, ["a", "b"], True)
    assert line.metric == RAISED_NS / NS
    line.row(2, 0, 99)
    assert line.told == ("active", RAISED_NS / NS, ["b", "a"], True), "by the same alarm"
    line.row(3, 0.1, 0.2, LATCHED_NS).start()
    assert line.told[2] == ["a", "b"], "what raised it"


def test_a_cause_that_was_not_kept_is_not_replaced_by_another(tmp_path: Path) -> None:
    """The state of an older edgeai has no cause of a latched alarm."""
    line = Line(tmp_path, **LATCH).latch()
    for path in (tmp_path / "alarms").iterdir():
        lines = [json.loads(one) for one in path.read_text().splitlines()]
        for one in lines:
            for alarm in one["alarms"].values() if "alarms" in one else [one["alarm"]]:
                alarm.pop("raised", None)
                alarm.pop("changed_ns", None)
        path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    line.start().row(3, 0.1, 0.2)
    state, since, top, is_known = line.told
    assert (state, top, is_known) == ("latched", [], False)
    assert abs(since - time.time()) < 60, "when it was kept"


def test_since_is_when_the_state_began_and_the_metric_says_the_same(tmp_path: Path) -> None:
    """`To acknowledge for 17 min` is since it waits, and not since the alarm began."""
    line = Line(tmp_path, **LATCH).latch()
    assert line.asset["since"] == line.metric == LATCHED_NS / NS
    line.row(3, 99, 0, LATCHED_NS + NS)
    assert line.asset["since"] == line.metric == LATCHED_NS / NS + 1


def test_what_is_normal_is_so_since_its_alarm_ended(tmp_path: Path) -> None:
    line = Line(tmp_path).row(1, 99, 0, RAISED_NS).row(2, 0, 0, LATCHED_NS)
    assert (line.asset["alarm"], line.asset["since"]) == ("normal", LATCHED_NS / NS)


def test_a_machine_without_data_says_since_when_whatever_the_cause(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.node.turns([("factory/m/sensors", b'{"t": "x", "a": 1, "b": 1}', RAISED_NS, 0)])
    assert line.asset["since"] == RAISED_NS / NS, "refused from the start, and not stale yet"
    (state,) = line.pipeline.streams.values()
    state.is_stale, now = True, time.monotonic()
    state.first_heard = now - 90
    causes: tuple[StaleCause, ...] = ("refused", "no_samples", "no_window", "bad_values")
    for cause in causes:
        state.stale_cause = cause
        assert line.asset["since"] == pytest.approx(time.time() - 90, abs=patient(5)), cause
    state.used, state.decided = now - 1, now - 40
    for cause, seconds in zip(causes, (1, 1, 40, 40), strict=True):
        state.stale_cause = cause
        assert line.asset["since"] == pytest.approx(time.time() - seconds, abs=patient(5)), cause


def test_the_signals_at_fault_are_named(tmp_path: Path) -> None:
    """Of which no good value has come, or none for a whole window."""
    line = Line(tmp_path, stream={"stale_after_seconds": 10.0})
    assert line.row(1, 1, None).asset["at_fault"] == [], "it only waits yet"
    (state,) = line.pipeline.streams.values()
    state.is_stale, state.stale_cause = True, "refused"
    assert (line.asset["refused"], line.asset["at_fault"]) == ("invalid_value", ["b"])
    state.is_stale = False
    line.row(3, 1, 1)
    for t in range(4, 9):
        line.row(t, None, 1)
    assert line.asset["at_fault"] == []
    state.is_stale, state.stale_cause = True, "bad_values"
    assert line.asset["at_fault"] == ["a"]
    state.stale_cause = "no_samples"
    assert line.asset["at_fault"] == []
