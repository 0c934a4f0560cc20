"""What is counted is told: pipelines that make no sample, assets that stop, changes of quality."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import Plan, check
from edgeai.engine.asset_events import Live
from edgeai.engine.limited_log import LimitedLog
from edgeai.engine.sample_watch import FIRST_SAMPLE_SECONDS, MIN_MESSAGES
from edgeai.messages import RETAINED
from edgeai.node.page_state import pipeline_state
from tests.support.engine import NS, SOURCE, Node
from tests.support.packages import write_config, write_package

TOPIC = "factory/m/sensors"
EVENTS = "edgeai/test/events"
VALUES = "values of the pipeline since the last change"
TAGS = {"topic": "factory/{asset}/{signal}", "layout": "tag", "time": {"path": "t", "unit": "s"}}
FRAMES = {
    "topic": TOPIC.replace("/m/", "/{asset}/"),
    "layout": "frame",
    "frame": {"type": "json", "encoding": "list", "rate_hz": 1.0},
}


class Line:
    """A node in memory whose clock and connection a test sets."""

    def __init__(
        self,
        folder: Path,
        source: dict[str, Any] | None = None,
        *,
        worker: int = 0,
        **pipeline: Any,
    ) -> None:
        write_package(folder / "mean", **pipeline.pop("package", {}))
        pipelines = {"p": {"model": "mean", "source": source or SOURCE, **pipeline}}
        self.plan: Plan = check(write_config(folder / "line.yaml", 1883, pipelines))
        self.now = 1000.0
        self.connected = True
        self.node = Node(
            self.plan,
            live=Live("test", EVENTS, lambda: self.connected, worker),
            clock=lambda: self.now,
            clock_ns=lambda: int(self.now) * NS,
        )
        self.pipeline = self.node.engine.pipelines[0]
        self.events: list[dict[str, Any]] = []

    def send(self, *payloads: bytes | dict[str, Any], topic: str = TOPIC, flags: int = 0) -> Line:
        encoded = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in payloads]
        self.node.turns([(topic, one, NS, flags) for one in encoded])
        return self

    def rows(self, first: int, count: int, topic: str = TOPIC, a: float = 1) -> Line:
        rows = [{"t": t, "a": a, "b": 1} for t in range(first, first + count)]
        return self.send(*rows, topic=topic)

    def wait(self, seconds: float) -> Line:
        self.now += seconds
        for event in self.node.monitor.poll():
            assert (event.topic, event.qos, event.retain) == (EVENTS, 1, False)
            self.events.append(json.loads(event.payload))
        return self

    @property
    def faults(self) -> list[str]:
        return self.node.monitor.faults

    @property
    def page(self) -> dict[str, Any]:
        return pipeline_state(self.pipeline, self.node.monitor.fault_of(self.pipeline), "")

    def asset(self, key: str = "m") -> dict[str, Any]:
        (found,) = [one for one in self.page["assets"] if one["asset"] == key]
        return found


def messages(caplog: pytest.LogCaptureFixture, *names: str) -> list[str]:
    wanted = {f"edgeai.{name}" for name in names}
    return [one.getMessage() for one in caplog.records if one.name in wanted]


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edgeai")


# ------------------------------------------------------------------------------- makes no sample


@pytest.mark.parametrize("poison_first", [True, False])
@pytest.mark.parametrize(
    ("source", "topic", "poison", "good"),
    [
        (SOURCE, TOPIC, b"1;2", {"t": 1, "a": 1, "b": 1}),
        (SOURCE, TOPIC, b"[1]", {"t": 1, "a": 1, "b": 1}),
        (TAGS, "factory/m/a", b"1;2", {"t": 1, "value": 1}),
    ],
)  # fmt: skip
def test_what_the_broker_had_kept_is_no_evidence(
    tmp_path: Path, source: Any, topic: str, poison: bytes, good: Any, *, poison_first: bool
) -> None:
    """A retained message that cannot be used says nothing about what is sent now."""
    stream = {"stream": {"alignment": "hold"}} if source is TAGS else {}
    line = Line(tmp_path, source, **stream).wait(1)
    if source is TAGS:
        line.send(good, topic="factory/m/b")
    steps = [
        lambda: line.send(poison, topic=topic, flags=RETAINED),
        lambda: line.send(good, topic=topic),
    ]
    for step in steps if poison_first else steps[::-1]:
        step()
    assert line.wait(1).wait(10).faults == []
    assert sum(line.node.counts("dropped", "reason").values()) == 1, "told and counted all the same"


@pytest.mark.parametrize(
    ("source", "pipeline", "topic", "payloads", "why"),
    [
        (SOURCE, {}, TOPIC, [b"1;2", b"[1]", b"[2]"], "(not_an_object 2, invalid_json 1)"),
        (SOURCE, {}, TOPIC, [{"a": 1, "b": 1}] * 3, "(no_time 3)"),
        (FRAMES, {}, TOPIC, [b"[]"] * 3, "(not_an_object 3)"),
        (
            TAGS, {"stream": {"alignment": "hold"}}, "factory/m/other",
            [{"t": 1, "value": 1}] * 3, "(unknown_tag 3)",
        ),
    ],
)  # fmt: skip
def test_a_pipeline_that_refuses_everything_is_not_ready(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    source: dict[str, Any],
    pipeline: dict[str, Any],
    topic: str,
    payloads: list[Any],
    why: str,
) -> None:
    line = Line(tmp_path, source, **pipeline).wait(2)
    assert line.faults == []
    line.send(*payloads, topic=topic).wait(2)
    assert line.faults == [], "the next ones may be good"
    line.wait(FIRST_SAMPLE_SECONDS)
    (fault,) = line.faults
    assert fault.startswith(f"pipeline p: 3 messages and no sample {why}; "), fault
    assert "compare it with pipelines.p.source" in fault
    assert line.page["fault"] == fault
    assert line.node.value("pipeline_ready", pipeline="p") == 0
    line.send(payloads[0], topic=topic).wait(2)
    assert line.faults[0].startswith("pipeline p: 4 messages"), "the number goes on"
    told = messages(caplog, "monitor")
    assert told == [f"not ready: {fault}"], "once"
    if source is SOURCE:
        line.rows(1, 1).wait(2)
        assert line.faults == []
        assert line.node.value("pipeline_ready", pipeline="p") == 1
        assert messages(caplog, "monitor")[1:] == ["ready again: pipeline p makes samples"]


def test_a_signal_that_never_comes_is_named(tmp_path: Path) -> None:
    line = Line(tmp_path).wait(2)
    line.send({"t": 1, "a": 1}, {"t": 2, "a": 1}, {"t": 2.5, "a": 1}).wait(2)
    line.wait(FIRST_SAMPLE_SECONDS)
    (fault,) = line.faults
    # These rows are also counted as dropped, because no value of b is there to hold.
    assert "invalid_value 3" in fault or "waits for a first value of b" in fault
    line.send({"t": 3, "a": 1, "b": 1}).wait(2)
    assert line.faults == []


def test_a_tag_that_never_comes_is_named(tmp_path: Path) -> None:
    line = Line(tmp_path, TAGS, stream={"alignment": "hold"}).wait(2)
    for t in range(1, 4):
        line.send({"t": t, "value": 1}, topic="factory/m/a").wait(1)
    assert line.faults == [], "the others may still come"
    line.wait(FIRST_SAMPLE_SECONDS)
    (fault,) = line.faults
    assert fault == (
        "pipeline p: 3 messages and no sample; asset m still waits for a first value of b: check "
        "their names in pipelines.p.source.signals"
    )
    line.send({"t": 4, "value": 1}, topic="factory/m/b").wait(2)
    assert line.faults == []


REPEATABLE: list[tuple[Any, list[bytes]]] = [
    (SOURCE, [b'{"t": %d, "a": 1, "b": %d}' % (t, t) for t in range(1, 21)]),
    (
        TAGS,
        [
            b'{"t": %d, "value": %d, "name": "%s"}' % (t, t, n)
            for t in range(9)
            for n in (b"a", b"b")
        ],
    ),
    (
        {
            **FRAMES,
            "frame": {
                **FRAMES["frame"],
                "shape": "per_sample",
                "channels": ["a", "b"],
                "time": {"path": "t", "unit": "s"},
            },
        },
        [
            json.dumps({"t": 4 * t, "data": [[t + 0.5, n + 0.5] for n in range(4)]}).encode()
            for t in range(9)
        ],
    ),
]


@pytest.mark.parametrize(("source", "payloads"), REPEATABLE, ids=["row", "tag", "frame"])
def test_samples_that_are_sent_again_leave_a_pipeline_ready(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, source: Any, payloads: list[bytes]
) -> None:
    """The line rests, and its sender repeats what it has kept: nothing is wrong."""
    is_tag = source is TAGS
    line = Line(tmp_path, source, **({"stream": {"alignment": "hold"}} if is_tag else {})).wait(2)

    def send() -> None:
        for payload in payloads:
            name = json.loads(payload).get("name")
            line.send(payload, topic=f"factory/m/{name}" if is_tag else TOPIC)

    send()
    line.wait(2)
    for _ in range(5):
        send()
        line.wait(10)
        assert line.faults == []
    assert sum(line.node.counts("dropped", "reason").values()) > 2 * MIN_MESSAGES, "it was refused"
    assert not [one for one in messages(caplog, "pipeline") if "as duplicate, although new" in one]


def test_a_sender_whose_time_stands_still_is_not_ready(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its samples count as duplicates, but they are new."""
    line = Line(tmp_path).wait(2)
    line.rows(1, 5).wait(2)
    for a in range(20):
        line.send({"t": 5, "a": a, "b": 1}).wait(1)
    assert line.faults[0].startswith("pipeline p: ")
    assert "duplicate" in line.faults[0]
    (told,) = [one for one in caplog.records if "as duplicate, although new" in one.getMessage()]
    assert told.levelno == logging.WARNING
    assert told.getMessage() == (
        "p: refused 1 sample as duplicate, although new: another one has the same time, and other "
        "values (asset m). Let the sender send finer time stamps, or declare the step of its "
        "clock: pipelines.p.source.time.resolution_seconds"
    )


@pytest.mark.parametrize("source", [SOURCE, FRAMES])
def test_a_foreign_message_on_a_line_that_rests_is_no_fault(tmp_path: Path, source: Any) -> None:
    """After a restart nothing has come yet: one message of somebody else shows nothing."""
    line = Line(tmp_path, source).wait(2)
    line.send(b"hello", topic="factory/test/sensors")
    for _ in range(20):
        assert line.wait(5).faults == []
    line.send(*[b"hello"] * (MIN_MESSAGES - 1)).wait(1)
    assert line.wait(FIRST_SAMPLE_SECONDS).faults[0].startswith("pipeline p: 3 messages")


def test_some_refused_messages_leave_a_pipeline_ready(tmp_path: Path) -> None:
    line = Line(tmp_path).wait(2)
    for t in range(1, 60):
        line.send(b"no", {"t": t, "a": 1, "b": 1}, b"no").wait(1)
        assert line.faults == []


def test_a_pipeline_that_worked_is_not_ready_when_all_is_refused_for_long(tmp_path: Path) -> None:
    line = Line(tmp_path).wait(2)
    line.rows(1, 3).wait(2)
    line.send(*[b"no"] * (MIN_MESSAGES - 1)).wait(60)
    assert line.faults == [], "few bad messages on a quiet line"
    line.send(b"no").wait(2)
    assert line.faults[0].startswith("pipeline p: 3 messages and no sample (invalid_json 3); ")
    line.rows(70, 1).wait(2)
    assert line.faults == []


@pytest.mark.parametrize(
    ("stream", "bad"),
    [({"out_of_range": "drop"}, {"a": 99, "b": 1}), ({"invalid": "drop"}, {"a": 1, "b": None})],
)
def test_samples_that_the_policy_drops_are_no_samples(
    tmp_path: Path, stream: dict[str, str], bad: dict[str, float]
) -> None:
    """Their times may be seen, but no window gets them."""
    line = Line(tmp_path, stream=stream, package={"ranges": {"a": [0.0, 10.0]}}).wait(2)
    line.rows(1, 4).wait(2)
    for t in range(5, 30):
        line.send({"t": t, **bad}).wait(1)
    assert "(invalid_value 25)" in line.faults[0]


def test_retained_messages_do_not_show_that_anybody_sends(tmp_path: Path) -> None:
    """A line that stands still is no fault of the configuration, however often the link breaks."""
    line = Line(tmp_path, {**TAGS, "time": None}, stream={"alignment": "hold"})
    for _ in range(5):
        line.send(b'{"value": 1}', topic="factory/m/a", flags=RETAINED)
        line.wait(2 * FIRST_SAMPLE_SECONDS)
    assert line.faults == []
    rows = Line(tmp_path / "rows")
    rows.send(*[b'{"t": 1, "a": 1, "b": 1}'] * 5, flags=RETAINED).wait(2 * FIRST_SAMPLE_SECONDS)
    assert rows.faults == []
    for first in range(10, 30, 5):
        rows.send(*[b'{"t": 1, "a": 1, "b": 1}'] * 9, flags=RETAINED).rows(first, 5).wait(30)
        assert rows.faults == [], "nor do they hide that samples come"


@pytest.mark.parametrize(("worker", "lines"), [(0, 1), (1, 1), (2, 0)])
def test_a_worker_tells_what_only_it_knows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, worker: int, lines: int
) -> None:
    """All workers read all messages: one tells what no pipeline takes."""
    line = Line(tmp_path, worker=worker)
    line.node.metrics.unrouted.labels("too_large").inc(7)
    line.wait(2).wait(2)
    assert len(messages(caplog, "refused")) == lines


# ------------------------------------------------------------------------------ unknown and stale


def test_an_asset_is_unknown_until_a_window_was_judged(tmp_path: Path) -> None:
    line = Line(tmp_path)
    for payload in (b"no", {"t": 1, "a": 1}, *({"t": t, "a": 1, "b": 1} for t in (2, 3, 4))):
        line.send(payload).wait(1)
        shown = line.asset()
        assert (shown["state"], shown["alarm"], shown["quality"]) == ("unknown",) * 3
        assert line.node.value("asset_state", pipeline="p", asset="m") == 0
    line.rows(5, 1).wait(1)
    shown = line.asset()
    assert (shown["state"], shown["alarm"], shown["quality"]) == ("current", "normal", "good")
    assert line.node.value("asset_state", pipeline="p", asset="m") == 1
    assert line.node.value("last_sample_timestamp_seconds", pipeline="p", asset="m") == 5
    assert line.node.value("threshold", pipeline="p", asset="m") == 10


def test_an_asset_that_stops_is_stale_and_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(tmp_path).wait(2)
    for t in range(1, 9):
        line.rows(t, 1).rows(t, 1, "factory/other/sensors").wait(1)
    for t in range(9, 19):
        line.rows(t, 1, "factory/other/sensors").wait(1)
    assert line.asset()["state"] == "current"
    line.rows(19, 1, "factory/other/sensors").wait(1)
    assert (line.asset()["state"], line.asset("other")["state"]) == ("stale", "current")
    assert line.node.value("stale_assets", pipeline="p") == 1
    assert line.node.value("asset_state", pipeline="p", asset="m") == 2
    (event,) = line.events
    assert (event["event"], event["assets"], event["count"]) == ("stale", ["m"], 1)
    assert (event["cause"], event["stale_after_seconds"]) == ("no_samples", 10)
    line.rows(60, 1).wait(1)
    assert line.asset()["state"] == "current"
    assert line.node.value("stale_assets", pipeline="p") == 0
    assert [one["event"] for one in line.events] == ["stale", "back"]
    silence = [one for one in messages(caplog, "pipeline") if "sample" in one]
    assert silence == ["p: no sample for 10 s, stale: m", "p: samples again from m"]


@pytest.mark.parametrize("refused", [b"no", b'{"t": 2, "a": 1, "b": 1}'])
def test_messages_that_give_no_sample_do_not_keep_an_asset_current(
    tmp_path: Path, refused: bytes
) -> None:
    """A sender that repeats its last row for ever, or sends rubbish, looks alive and is not."""
    line = Line(tmp_path).wait(2)
    line.rows(1, 5).wait(1)
    for _ in range(12):
        line.send(refused).wait(1)
    assert line.asset()["state"] == "stale"


@pytest.mark.parametrize(("step", "is_told"), [(30, False), (None, True)])
def test_samples_of_a_declared_coarse_clock_wait_for_its_first_step(
    tmp_path: Path, step: int | None, *, is_told: bool
) -> None:
    clock = {"path": "t", "unit": "s"} | ({"resolution_seconds": step} if step else {})
    line = Line(tmp_path, {**SOURCE, "time": clock}).wait(1)
    for second in range(30):
        line.send({"t": 30, "a": second, "b": 1}).wait(1)
    assert ("stale" in [one["event"] for one in line.events]) == is_told
    for second in range(30):
        line.send({"t": 60, "a": 30 + second, "b": 1}).wait(1)
    assert not line.pipeline.streams["m"].is_stale
    for _ in range(12):
        line.wait(1)
    assert line.pipeline.streams["m"].is_stale


def test_samples_that_wait_for_late_ones_are_no_silence(tmp_path: Path) -> None:
    line = Line(tmp_path, stream={"lateness_seconds": 20}).wait(1)
    for second in range(40):
        line.rows(second, 1).wait(1)
    assert line.events == []
    for _ in range(12):
        line.wait(1)
    assert [one["event"] for one in line.events] == ["stale"]


@pytest.mark.parametrize(("waits", "cause"), [(3, "no_samples"), (8, "refused")])
def test_one_refused_message_before_a_silence_is_no_sender_that_goes_on(
    tmp_path: Path, waits: int, cause: str
) -> None:
    line = Line(tmp_path).wait(1).rows(1, 6).wait(1)
    for second in range(12):
        if second == waits:
            line.send(b"no")
        line.wait(1)
    (event,) = [one for one in line.events if one["event"] == "stale"]
    assert event["cause"] == cause


@pytest.mark.parametrize("from_start", [True, False])
@pytest.mark.parametrize(
    ("bad", "stream", "reason"),
    [
        ({"a": None, "b": 1}, {"invalid": "drop"}, "invalid_value"),
        ({"a": 1, "b": None, "t": 4e9}, {}, "implausible_time"),
        ({"b": 1, "a": 1, "t": "x"}, {}, "invalid_time"),
    ],
)
def test_an_asset_whose_messages_are_all_refused_is_stale_and_told(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    bad: dict[str, Any],
    stream: dict[str, Any],
    reason: str,
    *,
    from_start: bool,
) -> None:
    source = {**SOURCE, "time": {"path": "t", "unit": "s", "max_ahead_seconds": 1e8}}
    line = Line(tmp_path, source, stream=stream).wait(2)
    if not from_start:
        line.rows(1, 5).wait(1)
    for t in range(6, 26):
        line.send({"t": t, **bad}).rows(t, 1, "factory/other/sensors").wait(1)
    shown = line.asset()
    assert (shown["state"], shown["refused"]) == ("stale", reason)
    assert shown["last_sample"] == (None if from_start else 5)
    assert line.asset("other")["state"] == "current"
    assert line.node.value("asset_state", pipeline="p", asset="m") == 2
    (event,) = line.events
    assert (event["assets"], event["cause"]) == (["m"], "refused")
    told = [one for one in messages(caplog, "pipeline") if "none was used" in one]
    assert told == [
        f"p: messages come, and none was used for 10 s (last refused as {reason}), stale: m"
    ]
    line.rows(30, 5).wait(1)
    assert line.asset()["state"] == "current"
    assert line.events[-1]["event"] == "back"


def test_a_broker_that_is_away_is_one_line_for_all_assets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(tmp_path).wait(2)
    for asset in range(120):
        line.rows(1, 5, f"factory/m{asset}/sensors")
    line.wait(1)
    for asset in range(40):
        line.rows(6, 1, f"factory/m{asset}/sensors")
    line.wait(1)
    caplog.clear()
    line.connected = False
    for _ in range(15):
        line.wait(1)
    assert {one["state"] for one in line.page["assets"]} == {"stale"}
    (told,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert told == (
        "no samples because the broker is not connected: all assets become stale, 80 now"
    )
    assert [event["cause"] for event in line.events] == ["broker_connection"] * 2
    assert [event["count"] for event in line.events] == [80, 40]
    line.connected = True
    for asset in range(120):
        line.rows(7, 1, f"factory/m{asset}/sensors")
    line.wait(1)
    assert (line.events[-1]["event"], line.events[-1]["count"]) == ("back", 120)
    assert len(line.events[-1]["assets"]) == 100, "bounded"
    assert messages(caplog, "pipeline")[-1] == "p: samples again from m0, m1, m2 and 117 more"


def test_a_replay_has_no_silence(tmp_path: Path) -> None:
    write_package(tmp_path / "mean")
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    now = [1000.0]
    plan = check(write_config(tmp_path / "line.yaml", 1883, pipelines))
    node = Node(plan, clock=lambda: now[0])
    for t in range(1, 6):
        node.turns([(TOPIC, b'{"t": %d, "a": 1, "b": 1}' % t, NS, False)])
    for _ in range(3):
        now[0] += 1000
        assert node.monitor.poll() == []
    assert node.engine.pipelines[0].streams["m"].presence == "current"


ALIGNED = {"alignment": "hold", "max_age_seconds": 40.0}


@pytest.mark.parametrize(
    ("package", "source", "stream", "seconds"),
    [
        ({"rate_hz": 10.0}, SOURCE, {}, 10),
        ({"rate_hz": 0.5}, SOURCE, {}, 20),
        ({"rate_hz": 1 / 75}, SOURCE, {}, 750),
        ({"rate_hz": None}, SOURCE, {}, 0),
        ({"rate_hz": None}, SOURCE, {"stale_after_seconds": 3600.0}, 3600),
        ({"rate_hz": 10.0}, SOURCE, {"stale_after_seconds": 2.5}, 2.5),
        ({"rate_hz": 10.0}, SOURCE, {"stale_after_seconds": 0.0}, 0),
        ({"rate_hz": 1.0}, SOURCE, ALIGNED, 80),
        ({"rate_hz": 1.0, "length": 64, "hop": 64}, FRAMES, {}, 128),
        ({"rate_hz": 1.0, "length": 8, "hop": 64}, FRAMES, {}, 128),
    ],
)
def test_when_an_asset_is_stale(
    tmp_path: Path, package: dict[str, Any], source: Any, stream: dict[str, Any], seconds: float
) -> None:
    line = Line(tmp_path, source, package=package, stream=stream)
    assert line.pipeline.stale_after_seconds == pytest.approx(seconds)


# ------------------------------------------------------------------------------- told in the log


def test_the_log_tells_alarms_assets_and_quality(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package = {"ranges": {"a": [0.0, 1000.0]}}
    line = Line(tmp_path, package=package).wait(2)
    for t in range(1, 8):
        line.rows(t, 1).wait(1)
    for t in range(8, 12):
        line.rows(t, 1, a=100).wait(1)
    line.rows(12, 1, a=-1).wait(1)
    for t in range(13, 20):
        line.rows(t, 1).wait(1)
    told = messages(caplog, "pipeline")
    assert told == [
        "p: first message of asset m",
        "p: alarm of m is active, was normal: score 26.75, threshold 10, largest a, b",
        f"p: quality is uncertain now: m ({VALUES}: out_of_range 1)",
        "p: alarm of m is normal, was active: score 1.5, threshold 10, largest b, a",
        "p: quality is good now: m",
    ]


def test_many_events_are_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = LimitedLog("p", "alarm changes", lines=3, seconds=60, clock=lambda: now[0])
    for number in range(1000):
        log.write("alarm %d", number, extra={})
        log.poll()
    assert messages(caplog, "pipeline") == ["p: alarm 0", "p: alarm 1", "p: alarm 2"]
    now[0] = 60
    log.poll()
    log.poll()
    log.write("alarm again", extra={})
    assert messages(caplog, "pipeline")[3:] == ["p: 997 more alarm changes", "p: alarm again"]
    log.write("one", extra={})
    log.write("two", extra={})
    log.write("three", count=5, extra={})
    log.poll(everything=True)
    assert messages(caplog, "pipeline")[7:] == ["p: 5 more alarm changes"]


def test_the_next_period_begins_with_what_was_left_out(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    one = LimitedLog("p", "alarm changes", lines=2, seconds=60, clock=lambda: now)
    for number in range(5):
        one.write("alarm %d", number, extra={})
    now = 60.0
    for number in range(5, 8):
        one.write("alarm %d", number, extra={})
    one.poll(everything=True)
    assert messages(caplog, "pipeline") == [
        "p: alarm 0", "p: alarm 1", "p: 3 more alarm changes", "p: alarm 5", "p: alarm 6",
        "p: 1 more alarm changes",
    ]  # fmt: skip


def test_thousands_of_assets_are_few_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(tmp_path).wait(2)
    for asset in range(500):
        line.send(b"no", topic=f"factory/m{asset}/sensors")
    line.node.finish()
    assert len(caplog.records) < 30
    assert "p: 480 more new assets" in messages(caplog, "pipeline")


# ---------------------------------------------------------------------------- what changed last


def test_what_changed_last_is_told_once_each(tmp_path: Path) -> None:
    line = Line(tmp_path, stream={"stale_after_seconds": 10.0})

    def kinds() -> list[str]:
        return [event["kind"] for event in reversed(line.node.monitor.events.newest_first())]

    line.rows(1, 4).wait(1).wait(1)
    assert kinds() == ["connected"]
    line.rows(5, 1, a=99).wait(1)
    newest = line.node.monitor.events.newest_first()[0]
    assert (newest["kind"], newest["state"], newest["assets"]) == ("alarm", "active", ["m"])
    assert newest["top"][0] == "a"
    session = line.pipeline.session
    session.reason = "the NPU has crashed"
    line.wait(1).wait(1)
    line.connected = False
    line.wait(20).wait(1)
    line.connected = True
    line.rows(6, 1).wait(1)
    assert kinds()[2:] == ["provider", "disconnected", "stale", "connected", "back"]
    assert line.node.monitor.events.newest_first()[2]["cause"] == "broker_connection"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"no", "invalid_json"), (b'{"a": 1, "b": 1}', "no_time"), (b'{"t": "x"}', "invalid_time")],
)
def test_an_asset_whose_first_messages_are_refused_says_so_at_once(
    tmp_path: Path, payload: bytes, reason: str
) -> None:
    """It does not wait for values of its signals: it would never get them."""
    line = Line(tmp_path).wait(1)
    line.rows(1, 4, topic=TOPIC.replace("/m/", "/good/"))
    line.send(payload).wait(1)
    shown = line.asset()
    assert (shown["state"], shown["refused"]) == ("unknown", reason)
    assert line.page["counts"] == {"stale": 1, "normal": 1}
    line.rows(5, 1).wait(1)
    assert line.asset()["refused"] is None, "the next one is used"


def test_samples_that_wait_for_a_second_time_stamp_are_told(tmp_path: Path) -> None:
    """A frozen clock from the start looks like one of whole minutes for as long."""
    line = Line(tmp_path).wait(1)
    line.send(*[{"t": 60, "a": a, "b": 1} for a in range(5)]).wait(1)
    shown = line.asset()
    assert shown["one_stamp"] == {"count": 5, "time": 60.0}
    assert (shown["waiting_for"], shown["refused"]) == ([], None)
    line.wait(FIRST_SAMPLE_SECONDS + 1)
    line.send({"t": 60, "a": 9, "b": 1}).wait(1).wait(FIRST_SAMPLE_SECONDS + 1)
    (fault,) = line.faults
    assert "all 6 samples of asset m have the time 1970-01-01T00:01:00" in fault, fault
    line.rows(61, 3).wait(1)
    assert line.asset()["one_stamp"] is None


def steady(line: Line, seconds: int, first: int, step: int, **row: Any) -> int:
    """Send a row every `step` seconds, of sample time and of the clock; a healthy one beside it."""
    other = TOPIC.replace("/m/", "/good/")
    for t in range(first, first + seconds):
        line.rows(t, 1, topic=other)
        if t % step == 0:
            line.send({"t": t, "a": 1, "b": 1, **row})
        line.wait(1)
    return first + seconds


@pytest.mark.parametrize("was_judged", [True, False])
def test_an_asset_that_became_too_slow_for_its_model_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, was_judged: bool
) -> None:
    """Its samples come, each after a gap: its last result says nothing about it any more."""
    line = Line(tmp_path).wait(1)
    t = steady(line, 8, 1, 1) if was_judged else 1
    t = steady(line, 28, t, 7)  # a gap is more than 5 s
    assert [one["cause"] for one in line.events if one["event"] == "stale"] == ["no_window"]
    shown = line.asset()
    assert (shown["state"], shown["stale_cause"]) == ("stale", "no_window")
    assert line.asset("good")["state"] == "current"
    (told,) = [one for one in messages(caplog, "pipeline") if "stale" in one]
    assert told == (
        "p: samples come, and none completed a window for longer than 10 s (compare their rate "
        "and their gaps with the model's), stale: m"
    )
    line.events.clear()
    steady(line, 8, t, 1)
    assert line.asset()["state"] == "current"
    assert [one["event"] for one in line.events] == ["back"]
    assert messages(caplog, "pipeline")[-1] == "p: windows that can be judged again from m"


def test_an_asset_whose_windows_are_all_bad_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(tmp_path).wait(1)
    t = steady(line, 8, 1, 1)
    t = steady(line, 30, t, 1, a=None)
    assert [one["cause"] for one in line.events] == ["bad_values"]
    shown = line.asset()
    assert (shown["state"], shown["stale_cause"], shown["quality"]) == (
        "stale", "bad_values", "bad",
    )  # fmt: skip
    told = [one for one in messages(caplog, "pipeline") if "stale" in one]
    text = "p: windows come, and each has too many values that cannot be used, for longer than 10 s"
    assert told == [f"{text}: no alarm is judged, stale: m"]
    steady(line, 8, t, 1)
    assert line.asset()["state"] == "current"


def test_a_line_that_rests_and_goes_on_is_not_without_windows(tmp_path: Path) -> None:
    """After a silence it needs a whole window again, and has the time for it."""
    line = Line(tmp_path, package={"length": 16}).wait(1)
    t = steady(line, 20, 1, 1)
    for pause in (9, 40, 9):
        for second in range(pause):
            line.rows(t + second, 1, topic=TOPIC.replace("/m/", "/good/")).wait(1)
        t = steady(line, 24, t + pause, 1)
    assert {one["cause"] for one in line.events} <= {"no_samples", ""}
    assert line.asset()["state"] == "current"
