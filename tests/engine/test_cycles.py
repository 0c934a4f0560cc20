"""Cycles through a whole node in memory: predictions, counters, log, layouts, live and replay."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.engine.stale_watch import StaleWatch
from edgeai.engine.window_watch import WindowWatch
from edgeai.errors import ConfigError
from edgeai.messages import Publication
from edgeai.replay.run import replay_files
from edgeai.testing import MemoryNode, build_package, write_config

T0 = 1_763_719_200
NS = 10**9
SOURCE = {"topic": "factory/{asset}/plc", "time": {"path": "t", "unit": "s"}}
FLAG = {
    "start": {"signal": "closed", "rises_above": 0.5},
    "end": {"signal": "closed", "falls_below": 0.5},
    "max_seconds": 30,
}
SHOT = ("factory/m1/plc", '{"t": %d, "a": %g, "closed": %d, "shot": %d}')


def setup(
    folder: Path, cycle: Any, *, source: Any = None, length: int = 5, rate_hz: float | None = 1.0,
    manifest: Any = None, threshold: float = 1e6, **pipeline: Any,
) -> Path:  # fmt: skip
    changes = {"cycle": {"fit": "resample"}} if manifest is None else manifest
    build_package(
        folder / "mean", signals=["a"], length=length, threshold=threshold, rate_hz=rate_hz,
        manifest_changes=changes,
    )  # fmt: skip
    one = {"model": "mean", "source": source or SOURCE, "window": {"cycle": cycle}} | pipeline
    return write_config(folder / "line.yaml", {"p": one})


def rows(count: int, *, period: int = 15, work: range = range(3, 11), first: int = 0) -> list[Any]:
    """Messages of a machine that works for some seconds of each period; a is the second in it."""
    found = []
    for t in range(first, first + count):
        phase = t % period
        closed, shot = phase in work, 100 + t // period
        found.append((SHOT[0], SHOT[1] % (T0 + t, phase, closed, shot)))
    return found


def predictions(published: list[Publication]) -> list[Any]:
    return [json.loads(one.payload) for one in published if "/predictions/" in one.topic]


def test_one_prediction_for_each_cycle(tmp_path: Path) -> None:
    config = setup(tmp_path, FLAG | {"number": "shot"})
    with MemoryNode(config) as node:
        found = predictions([one for row in rows(45) for one in node.turn(row)])
        cycles = node.pipelines[0].metrics.cycles
        text = node.metrics.render().decode()
    assert [one["cycle"] for one in found] == [
        {
            "number": 100 + k, "start": (T0 + 15 * k + 3) * NS, "end": (T0 + 15 * k + 11) * NS,
            "duration_seconds": 8.0, "complete": True,
        }
        for k in range(3)
    ]  # fmt: skip
    assert [one["id"] for one in found] == [f"p/m1:{(T0 + 15 * k + 10) * NS}" for k in range(3)]
    assert {(one["score"], one["quality"]) for one in found} == {(6.5, "good")}
    assert {name: count for name, count in cycles.items() if count} == {"complete": 3}
    lines = [line for line in text.splitlines() if line.startswith("edgeai_cycle")]
    assert 'edgeai_cycles_total{outcome="complete",pipeline="p"} 3.0' in lines
    assert 'edgeai_cycle_duration_seconds_bucket{le="10.0",pipeline="p"} 3.0' in lines


def test_a_pipeline_of_sliding_windows_has_no_cycles(tmp_path: Path) -> None:
    build_package(tmp_path / "mean", signals=["a"], length=5)
    config = write_config(tmp_path / "line.yaml", {"p": {"model": "mean", "source": SOURCE}})
    with MemoryNode(config) as node:
        found = predictions([one for row in rows(10) for one in node.turn(row)])
        assert "edgeai_cycles_total{" not in node.metrics.render().decode()
    assert len(found) == 6
    assert not any("cycle" in one for one in found)


@pytest.mark.parametrize("incomplete", ["drop", "mark"])
def test_what_is_amiss_is_counted_told_and_dropped_or_marked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, incomplete: str
) -> None:
    config = setup(tmp_path, FLAG | {"min_seconds": 5, "incomplete": incomplete})
    lines = rows(40, work=range(3, 6))[:15]  # too short
    lines += rows(45, period=45, work=range(1, 45), first=45)  # overlong
    lines += [one for one in rows(20, first=90) if not 95 <= json.loads(one[1])["t"] - T0 < 101]
    with caplog.at_level(logging.INFO), MemoryNode(config) as node:
        found = predictions([one for row in lines for one in node.turn(row)])
        found += predictions(node.finish())
        cycles = node.pipelines[0].metrics.cycles
    counted = {name: count for name, count in cycles.items() if count}
    assert counted == {"too_short": 1, "overlong": 1, "broken": 1, "unfinished": 1}
    told = [one.message for one in caplog.records if "cycle_incomplete" in str(one.__dict__)]
    assert len(told) == 4
    assert told[3].startswith("p: cycle 4 of m1")
    assert "is unfinished: the input ended" in told[3]
    assert "too_short: it ended before window.cycle.min_seconds (5)" in told[0]
    if incomplete == "drop":
        assert found == []
        assert told[0].endswith("it is dropped")
        return
    outcomes = [one["cycle"]["outcome"] for one in found]
    assert outcomes == ["too_short", "overlong", "broken", "unfinished"]
    assert {one["cycle"]["complete"] for one in found} == {False}
    assert "good" not in {one["quality"] for one in found}


def test_a_machine_that_idles_is_ready_however_seldom_it_sends(tmp_path: Path) -> None:
    """An idle machine sends a row a minute: each is a gap, and that is no fault."""
    config = setup(tmp_path, FLAG)
    with MemoryNode(config) as node:
        watch = WindowWatch(node.pipelines[0])
        for minute in range(60):
            node.turn((SHOT[0], SHOT[1] % (T0 + 60 * minute, 1.0, 0, 1)))
            watch.scan(60.0 * minute, 0, made_sample=True)
        assert node.pipelines[0].metrics.resets["gap"] > 50
        assert watch.fault is None


def test_a_machine_that_idles_is_not_stale_while_it_sends(tmp_path: Path) -> None:
    with MemoryNode(setup(tmp_path, FLAG)) as node:
        stale = StaleWatch(node.pipelines[0])
        for second, line in enumerate([*rows(15), *rows(600, first=15, work=range(0))]):
            node.turn(line)
            (state,) = node.pipelines[0].streams.values()
            assert stale.look(state, second + 1.0, looks=True, pipeline_fault=False) is None
        for second in range(615, 640):
            changed = stale.look(state, second + 1.0, looks=True, pipeline_fault=False)
            if changed:
                break
        assert (changed, state.stale_cause) == ("stale", "no_samples")


def test_a_flag_that_no_message_carries_is_told(tmp_path: Path) -> None:
    cycle = {"start": {"signal": "mould_closed", "rises_above": 0.5}, "max_seconds": 30}
    with MemoryNode(setup(tmp_path, cycle)) as node:
        watch = WindowWatch(node.pipelines[0])
        for second, line in enumerate(rows(30)):
            node.turn(line)
            watch.scan(float(second), 0, made_sample=True)
        assert watch.fault is not None
        assert watch.has_cause
        assert "no message of m1 carries `mould_closed`, which window.cycle names" in watch.fault
        for second, (topic, text) in enumerate(rows(60, first=30), 30):
            node.turn((topic, text.replace("closed", "mould_closed")))
            watch.scan(float(second), 0, made_sample=True)
        assert watch.fault is None


def _tag(signal: str, second: float, value: float) -> Any:
    return f"factory/m1/{signal}", json.dumps({"t": T0 + second, "value": value})


def test_tags_on_change_and_an_aligned_grid(tmp_path: Path) -> None:
    """The flag comes as a tag, only when it changes; the model's signal each half second."""
    source = {
        "topic": "factory/{asset}/{signal}", "layout": "tag",
        "time": {"path": "t", "unit": "s"},
    }  # fmt: skip
    config = setup(tmp_path, FLAG, source=source, stream={"alignment": "hold"})
    lines: list[Any] = [_tag("closed", -1, 0)]
    for half in range(120):
        if half % 30 in {6, 22}:
            lines.append(_tag("closed", half / 2, int(half % 30 == 6)))
        lines.append(_tag("a", half / 2 + 0.1, half % 30))
    with MemoryNode(config) as node:
        found = predictions([one for line in lines for one in node.turn(line)])
    assert [one["cycle"]["duration_seconds"] for one in found] == [8.0] * 4
    assert [one["cycle"]["start"] for one in found] == [(T0 + 15 * k + 3) * NS for k in range(4)]


FRAME = {
    "topic": "factory/{asset}/weld", "layout": "frame",
    "frame": {
        "type": "json", "encoding": "list", "shape": "flat", "data": "current",
        "time": {"path": "t", "unit": "s"}, "rate_hz": 10, "sequence": "weld",
    },
}  # fmt: skip


def weld(number: int, samples: int, *, second: float | None = None, bad: int = -1) -> Any:
    values: list[Any] = [float(n) for n in range(samples)]
    if bad >= 0:
        values[bad] = None
    at = T0 + (20 * number if second is None else second)
    body = {"t": at, "weld": number, "current": values}
    return "factory/m1/weld", json.dumps(body)


def test_a_message_is_a_cycle_of_any_length(tmp_path: Path) -> None:
    cycle = {"message": True, "min_seconds": 1, "max_seconds": 10}
    config = setup(tmp_path, cycle, source=FRAME, rate_hz=None)
    lines = [weld(7, 21), weld(8, 41), weld(9, 5), weld(10, 101), weld(11, 31, bad=0), weld(8, 41)]
    with MemoryNode(config) as node:
        found = predictions([one for line in lines for one in node.turn(line)])
        metrics = node.pipelines[0].metrics
        assert metrics.drops["duplicate"] == 1
        assert metrics.resets == {"gap": 0, "clock_back": 0, "failure": 0}
        assert {name: n for name, n in metrics.cycles.items() if n} == {
            "complete": 3, "too_short": 1, "overlong": 1,
        }  # fmt: skip
    assert [one["cycle"]["number"] for one in found] == [7, 8, 11]
    assert [one["cycle"]["duration_seconds"] for one in found] == pytest.approx([2.1, 4.1, 3.1])
    assert [one["score"] for one in found[:2]] == [10.0, 20.0]
    assert found[2]["score"] == pytest.approx((1 + 7.5 + 15 + 22.5 + 30) / 5)  # the first is null


def test_cycle_message_is_short_and_any_start_is_right(tmp_path: Path) -> None:
    config = setup(tmp_path, "message", source=FRAME, rate_hz=None)
    with MemoryNode(config) as node:
        found = predictions(node.turn(weld(3, 12), weld(4, 50), weld(5, 7)))
    with MemoryNode(config) as node:
        later = predictions(node.turn(weld(4, 50)) + node.turn(weld(5, 7)))
    assert found[1:] == later


def test_a_clock_that_is_set_back_between_messages(tmp_path: Path) -> None:
    """The shot number follows, so an hour back is a clock that was set."""
    config = setup(tmp_path, "message", source=FRAME, rate_hz=None)
    with MemoryNode(config) as node:
        found = predictions(
            node.turn(weld(3, 12, second=3600), weld(4, 50, second=10), weld(5, 20, second=40))
        )
        assert node.pipelines[0].metrics.resets["clock_back"] == 1
    assert [one["cycle"]["number"] for one in found] == [3, 4, 5]
    assert found[1]["id"].endswith("~1")


def test_replay_gives_the_same_bytes(tmp_path: Path) -> None:
    config = setup(tmp_path, FLAG | {"number": "shot", "pre_seconds": 2})
    lines = rows(105)
    with MemoryNode(config) as node:
        live = b"".join(one.payload + b"\n" for row in lines for one in node.turn(row))
    recorded = [
        json.dumps({"topic": topic, "payload": json.loads(text), "received_ns": T0 * NS})
        for topic, text in lines
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(recorded) + "\n")
    summary = replay_files(check(config), [tmp_path / "in.jsonl"], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == live
    assert summary.dropped == []
    assert live.count(b"\n") == 7


def test_the_length_of_a_padded_cycle_is_a_channel(tmp_path: Path) -> None:
    """The model has a signal that no message carries: it says where the cycle ends."""
    build_package(
        tmp_path / "mean", signals=["a", "inside"], length=4, threshold=1e6,
        manifest_changes={"cycle": {"fit": "pad", "length_signal": "inside"}},
    )  # fmt: skip
    one = {"model": "mean", "source": SOURCE, "window": {"cycle": FLAG | {"max_seconds": 4}}}
    with MemoryNode(write_config(tmp_path / "line.yaml", {"p": one})) as node:
        lines = rows(15, work=range(3, 6))
        (found,) = predictions([one for row in lines for one in node.turn(row)])
    assert found["score"] == pytest.approx((3 + 4 + 5 + 5) / 4 + 3 / 4)
    assert dict(found["top"])["inside"] == pytest.approx(0.75)


STATES = {
    "production": {"when": {"signal": "mode", "equals": 1}},
    "set-up": {"when": {"signal": "mode", "equals": 2}, "judge": False},
}


def test_operating_states_of_cycles(tmp_path: Path) -> None:
    """The state of all samples of a cycle counts, however long the machine idled before it."""
    lines: list[Any] = []
    modes: list[tuple[int, int]] = [(1, 15), (2, 15), (2, 7), (1, 8), (1, 1500), (1, 15)]
    second = 0
    for mode, length in modes:
        for _ in range(length):
            phase = second % 15
            closed = 3 <= phase < 11 and not 60 <= second < 1545
            row = {"t": T0 + second, "a": phase, "closed": closed, "mode": mode}
            lines.append(("factory/m1/plc", json.dumps(row)))
            second += 1
    config = setup(tmp_path, FLAG | {"max_seconds": 10}, states=STATES)
    with MemoryNode(config) as node:
        found = predictions([one for line in lines for one in node.turn(line)])
    with MemoryNode(config) as node:
        at_once = predictions(node.turn(*lines))
    assert found == at_once
    assert [(one["state"], one.get("not_judged"), one["score"]) for one in found] == [
        ("production", None, 6.5), ("set-up", "state", None), ("transition", "transition", None),
        ("production", None, 6.5), ("production", None, 6.5),
    ]  # fmt: skip
    assert all(one["cycle"]["complete"] for one in found)


def test_the_state_after_a_cycle_is_not_its_own(tmp_path: Path) -> None:
    """The mode changes while it is not sure yet that the cycle has ended."""
    lines = [
        (SHOT[0], json.dumps({"t": T0 + t, "a": t, "closed": 3 <= t < 11, "mode": 1 + (t >= 12)}))
        for t in range(20)
    ]
    config = setup(tmp_path, FLAG | {"bounce_seconds": 4}, states=STATES)
    with MemoryNode(config) as node:
        (found,) = predictions([one for line in lines for one in node.turn(line)])
    assert (found["state"], found["score"]) == ("production", 6.5)


def test_an_alarm_of_cycles(tmp_path: Path) -> None:
    config = setup(tmp_path, FLAG, threshold=6.0)
    with MemoryNode(config) as node:
        found = [json.loads(one.payload) for row in rows(30) for one in node.turn(row)]
    assert [one.get("state", one.get("alarm")) for one in found] == ["active", "active", "active"]


def test_a_counter_that_float32_does_not_hold_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cycle = {"start": {"signal": "shot", "changes": True}, "max_seconds": 30, "number": "shot"}
    with MemoryNode(setup(tmp_path, cycle)) as node:
        lines = [(SHOT[0], SHOT[1] % (T0 + t, 1.0, 0, 2**24 - 2 + t // 4)) for t in range(40)]
        found = predictions([one for line in lines for one in node.turn(line)])
    assert [one["cycle"]["number"] for one in found[:2]] == [2**24 - 1, None]
    (told,) = [one.message for one in caplog.records if "float32" in one.message]
    assert "shot is 16777216: from 16,777,216 on float32 does not hold every whole" in told
    assert [one["quality"] for one in found[:2]] == ["good", "uncertain"]


def problems(config: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        check(config)
    return str(caught.value)


@pytest.mark.parametrize(
    ("cycle", "more", "expected"),
    [
        ({"start": FLAG["start"]}, {}, "window.cycle: needs `max_seconds`"),
        ({"max_seconds": 5}, {}, "window.cycle: needs `start`"),
        (FLAG | {"min_seconds": 60}, {}, "`min_seconds` must not be above `max_seconds` (30)"),
        ("message", {}, "window.cycle.message: needs `source.layout: frame`"),
        (FLAG | {"fit": "pad"}, {}, "window.cycle.fit: mean says `resample`: delete this key"),
        (FLAG, {"rate_hz": None}, "window.cycle.max_samples: is required, because mean has no"),
        (
            "message", {"source": FRAME, "rate_hz": None, "states": STATES},
            "window.cycle.message: must not be true with `states`",
        ),
        ({"message": True, "number": "shot"}, {}, "`number` does not belong to `message: true`"),
        (
            FLAG | {"fit": "pad"}, {"manifest": {}},
            "window.cycle.max_seconds: must be at most 5: the window of mean holds 5 samples at 1",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(tmp_path: Path, cycle: Any, more: Any, expected: str) -> None:
    assert expected in problems(setup(tmp_path, cycle, **more))


def test_a_model_of_cycles_needs_their_start(tmp_path: Path) -> None:
    config = setup(tmp_path, FLAG)
    text = config.read_text()
    config.write_text(text[: text.index("    window:")] if "    window:" in text else text)
    build_package(
        tmp_path / "mean", signals=["a"], length=5, manifest_changes={"cycle": {"fit": "resample"}}
    )
    config = write_config(tmp_path / "line.yaml", {"p": {"model": "mean", "source": SOURCE}})
    assert "window.cycle: is required: a window of mean is one cycle" in problems(config)


def test_a_model_that_says_nothing_is_taken_with_a_warning(tmp_path: Path) -> None:
    plan = check(setup(tmp_path, FLAG, manifest={}))
    (warning,) = [one for one in plan.warnings if "cycle" in one]
    assert "write `cycle: {fit: resample}` into its model.yaml" in warning


def test_a_hop_is_for_windows_that_slide(tmp_path: Path) -> None:
    config = setup(tmp_path, FLAG, window={"cycle": FLAG, "hop": 4})
    assert "`hop` is for windows that slide" in problems(config)


def test_the_bytes_of_a_stream_count_the_longest_cycle(tmp_path: Path) -> None:
    config = setup(tmp_path, FLAG | {"max_seconds": 100_000})
    plan = check(config)
    with MemoryNode(plan) as node:
        ring_bytes = node.pipelines[0].settings.length
    assert ring_bytes >= 150_000
    assert math.isclose(ring_bytes, 150_003, rel_tol=1e-3)
