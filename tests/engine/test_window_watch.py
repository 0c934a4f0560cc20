"""A pipeline that makes samples and never a window is not ready, with the reason."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.asset_events import Live
from edgeai.engine.sample_watch import SampleWatch
from edgeai.engine.window_watch import MIN_TROUBLES, WINDOWS
from edgeai.node.page_state import pipeline_state
from tests.support.engine import NS, Node
from tests.support.packages import write_config, write_package

CLOCK = {"path": "t", "unit": "s"}
ROW = {"topic": "factory/{asset}/row", "time": CLOCK}
TAG = {"topic": "factory/{asset}/{signal}", "layout": "tag", "time": CLOCK}
FRAME = {
    "topic": "factory/{asset}/frame",
    "layout": "frame",
    "frame": {
        "type": "json", "encoding": "list", "shape": "per_sample", "channels": ["a", "b"],
        "rate_hz": 100.0, "time": CLOCK,
    },
}  # fmt: skip
HOLD = {"alignment": "hold"}
START = 1_000_000.0

Sent = tuple[float, str, dict[str, Any]]
"""When, seconds since START; the topic's last level; the payload."""


def rows(step: float, count: int, begin: float = 0.0, ahead: float = 0.0) -> Iterator[Sent]:
    for index in range(count):
        at = begin + index * step
        yield at, "row", {"t": START + at + ahead, "a": index, "b": 1}


def tags(step: float, count: int, ahead: float) -> Iterator[Sent]:
    for index in range(count):
        at = index * step
        yield at, "a", {"t": START + at, "value": index}
        yield at, "b", {"t": START + at + ahead, "value": index}


def frames(
    step: float, count: int, resolution: float, samples: int, value: float | None = None
) -> Iterator[Sent]:
    for index in range(count):
        at = index * step
        stamp = START + round(at // resolution * resolution, 6)
        data = [[index + 0.5, one + 0.25] for one in range(samples)]
        if value is not None:
            data = [[value, value]] * samples
        yield at + step, "frame", {"t": stamp, "data": data}


def pauses(run: int, pause: float, count: int, step: float = 1.0) -> Iterator[Sent]:
    for index in range(count):
        yield from rows(step, run, index * (run * step + pause))


class Line:
    """A node in memory that gets messages at their times, and is looked at each half second."""

    def __init__(
        self, folder: Path, source: Any, rate_hz: float | None, length: int = 4, hop: int = 0,
        stream: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        write_package(folder / "mean", rate_hz=rate_hz, length=length)
        pipeline: dict[str, Any] = {"model": "mean", "source": source}
        if hop:
            pipeline["window"] = {"hop": hop}
        if source is TAG or stream:
            pipeline["stream"] = stream or HOLD
        plan = check(write_config(folder / "line.yaml", 1883, {"p": pipeline}))
        self.now = START
        self.node = Node(
            plan,
            live=Live("test", "edgeai/test/events", lambda: True),
            clock=lambda: self.now,
            clock_ns=lambda: round(self.now * NS),
        )
        self.pipeline = self.node.engine.pipelines[0]
        self.faults: dict[float, str] = {}
        """By the second of the scan that first had it."""

    def run(self, sent: Iterator[Sent]) -> Line:
        scan = START
        for at, level, payload in sent:
            while scan <= START + at:
                self._scan(scan)
                scan += 0.5
            arrived_ns = round((START + at) * NS)
            message = (f"factory/m/{level}", json.dumps(payload).encode(), arrived_ns, 0)
            self.node.turns([message])
        self._scan(scan + 0.5)
        return self

    def _scan(self, now: float) -> None:
        self.now = now
        self.node.monitor.poll()
        for fault in self.node.monitor.faults:
            self.faults.setdefault(now - START, fault)

    @property
    def predictions(self) -> int:
        return sum(self.pipeline.metrics.predictions.values())


NEVER: dict[str, tuple[Any, float | None, int, Callable[[], Iterator[Sent]], str]] = {
    "rows come too seldom": (
        ROW, 10.0, 4, lambda: rows(1 / 1.2, 40),
        "samples come at about 1.2 Hz, the model needs 10 Hz: every step is a gap (",
    ),
    "tags come too seldom": (
        TAG, 10.0, 4, lambda: tags(30.0, 60, 0.0),
        "samples come at about 0.03",
    ),
    "one row in ten minutes": (
        ROW, 1.0, 4, lambda: rows(600.0, 25),
        "samples come at about 0.0017 Hz, the model needs 1 Hz: every step is a gap (",
    ),
    "a signal's clock is ahead": (
        TAG, 1.0, 4, lambda: tags(0.5, 80, 100.0),
        "the time stamps of b are 100 s ahead of those of a (asset m): synchronise the clocks",
    ),
    "frames with coarse stamps": (
        FRAME, 100.0, 512, lambda: frames(0.64, 200, 1.0, 64),
        "the time stamps have steps of 1 s. Let the sender send finer time stamps, or declare",
    ),
    "equal frames with coarse stamps": (  # the values do not show that they are new
        FRAME, 100.0, 512, lambda: frames(0.64, 200, 1.0, 64, value=1.0),
        "the time stamps have steps of 1 s. Let the sender",
    ),
    "short runs only": (
        ROW, 1.0, 60, lambda: pauses(20, 300.0, 40),
        "compare the time stamps with pipelines.p.source",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "rate_hz", "length", "sent", "why"), NEVER.values(), ids=NEVER)
def test_a_line_that_never_makes_a_window_is_not_ready(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    source: Any,
    rate_hz: float | None,
    length: int,
    sent: Callable[[], Iterator[Sent]],
    why: str,
) -> None:
    caplog.set_level(logging.INFO, "edgeai")
    line = Line(tmp_path, source, rate_hz, length).run(sent())
    assert line.predictions <= 1
    assert line.faults, "not ready"
    first = next(iter(line.faults.values()))
    assert first.startswith("pipeline p: ")
    assert " messages and no window (" in first
    assert why in first, first
    told = [one for one in caplog.records if one.getMessage().startswith("not ready: ")]
    assert [one.levelno for one in told] == [logging.WARNING], "once"
    assert "no window" in pipeline_state(line.pipeline, line.node.monitor.faults[0], "")["fault"]


def strays(seldom: int, runs: int) -> Iterator[Sent]:
    """Rows that come too seldom, and now and then as many as a window has at their rate."""
    for run in range(runs):
        begin = run * (seldom + 1.0)
        yield from rows(0.9, seldom, begin)
        yield from rows(0.1, 4, begin + 0.9 * seldom)


def test_a_window_now_and_then_does_not_make_it_ready(tmp_path: Path) -> None:
    line = Line(tmp_path, ROW, 10.0).run(strays(20, 8))
    assert line.predictions == 8
    assert next(iter(line.faults)) < 30
    (fault,) = line.node.monitor.faults
    assert " messages and only " in fault
    assert "every step is a gap (" in fault
    line.run(rows(0.1, 20, 200.0))
    assert line.node.monitor.faults == []


def test_one_asset_that_makes_windows_keeps_the_pipeline_ready(tmp_path: Path) -> None:
    """The other one sends too seldom: its windows say so, the pipeline works."""
    line = Line(tmp_path, ROW, 10.0, 64, hop=64)
    scan = START
    for tick in range(600):
        now = START + tick * 0.1
        for asset in ("m", "slow") if tick % 6 == 0 else ("m",):  # 11 gaps a window
            payload = json.dumps({"t": now, "a": tick, "b": 1}).encode()
            line.node.turns([(f"factory/{asset}/row", payload, round(now * NS), 0)])
        if now >= scan:
            line._scan(now)
            scan = now + 0.5
    assert line.faults == {}


READY: dict[str, tuple[Any, float | None, int, Callable[[], Iterator[Sent]]]] = {
    "at the model's rate": (ROW, 10.0, 4, lambda: rows(0.1, 300)),
    "a slow cycle": (ROW, 1 / 75, 4, lambda: rows(75.0, 30)),
    "a long window": (ROW, 1.0, 600, lambda: rows(1.0, 700)),
    "a slow cycle with a long window": (ROW, 1 / 75, 60, lambda: rows(75.0, 70)),
    "a slow start": (
        ROW, 1.0, 4,
        lambda: iter([*rows(8.0, MIN_TROUBLES - 1), *rows(1.0, 30, 8.0 * MIN_TROUBLES)]),
    ),
    "pauses before the first window": (ROW, 1.0, 30, lambda: pauses(20, 60.0, MIN_TROUBLES - 1)),
    "runs with pauses": (ROW, 1.0, 4, lambda: pauses(8, 60.0, 40)),
    "a line that rests after a window": (
        ROW, 1.0, 4, lambda: iter([*rows(1.0, 20), *rows(600.0, 5, 100.0)]),
    ),
    "single events": (ROW, None, 4, lambda: rows(40.0, 30)),
    "tags": (TAG, 1.0, 4, lambda: tags(0.5, 80, 0.0)),
    "tags that are a little apart": (TAG, 1.0, 4, lambda: tags(0.5, 80, 0.4)),
    "frames": (FRAME, 100.0, 512, lambda: frames(0.64, 100, 0.01, 64)),
    "all clocks ahead": (ROW, 1.0, 4, lambda: rows(1.0, 60, ahead=100.0)),
}  # fmt: skip


@pytest.mark.parametrize(("source", "rate_hz", "length", "sent"), READY.values(), ids=READY)
def test_a_line_that_is_only_slow_stays_ready(
    tmp_path: Path,
    source: Any,
    rate_hz: float | None,
    length: int,
    sent: Callable[[], Iterator[Sent]],
) -> None:
    assert Line(tmp_path, source, rate_hz, length).run(sent()).faults == {}


def test_the_time_that_a_window_may_take_is_declared(tmp_path: Path) -> None:
    """At the rate of the model a window of 64 needs 6.5 s."""
    line = Line(tmp_path, ROW, 10.0, 64).run(rows(1 / 1.2, 60))
    (first, *_) = line.faults
    assert first == pytest.approx(WINDOWS * 6.5, abs=1.5)


def test_a_window_makes_it_ready_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edgeai")
    line = Line(tmp_path, ROW, 10.0).run(iter([*rows(0.9, 40), *rows(0.1, 30, 36.0)]))
    assert line.faults
    assert line.node.monitor.faults == []
    told = [one.getMessage() for one in caplog.records if one.name == "edgeai.monitor"]
    assert told[-1] == "ready again: pipeline p makes windows"


def test_the_skew_of_a_signal_is_exported(tmp_path: Path) -> None:
    line = Line(tmp_path, TAG, 1.0).run(tags(0.5, 80, 100.0))
    assert line.node.value("clock_skew_seconds", pipeline="p", asset="m") == pytest.approx(100)
    line = Line(tmp_path / "same", TAG, 1.0).run(tags(0.5, 80, 0.0))
    assert line.node.value("clock_skew_seconds", pipeline="p", asset="m") == pytest.approx(0)


@pytest.mark.parametrize(
    ("source", "sent", "topic"),
    [
        (ROW, lambda: iter([*rows(1.0, 8), *rows(1.0, 1, 8.0, 100.0), *rows(1.0, 9, 9.0)]), "row"),
        (TAG, lambda: tags(0.5, 20, 100.0), "+"),
    ],
)
def test_a_time_that_is_refused_later_is_told_with_topic_and_time(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    source: Any,
    sent: Callable[[], Iterator[Sent]],
    topic: str,
) -> None:
    """The sample was taken, and the next one shows that its clock was ahead."""
    caplog.set_level(logging.INFO, "edgeai")
    Line(tmp_path, source, 1.0).run(sent())
    lines = [one.getMessage() for one in caplog.records]
    (told,) = [one for one in lines if "refused 1, implausible_time" in one]
    assert f"; topic factory/m/{topic}, time 1970-01-12T" in told, told


def test_assets_of_a_pipeline_that_makes_no_window_are_not_told_one_by_one(tmp_path: Path) -> None:
    line = Line(tmp_path, ROW, 10.0).run(rows(1 / 1.2, 60))
    assert line.faults, "that is told"
    assert not line.pipeline.streams["m"].is_stale


def test_a_cause_comes_before_what_has_none(tmp_path: Path) -> None:
    watch = SampleWatch(Line(tmp_path, ROW, 10.0).pipeline)
    windows = watch._windows
    assert watch.fault is None
    windows.fault = "no window"
    assert watch.fault == "no window"
    watch._fault = "no sample"
    assert watch.fault == "no sample"
    windows.has_cause = True
    assert watch.fault == "no window"
