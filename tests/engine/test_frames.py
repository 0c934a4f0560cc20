"""Frames in the engine: the same samples as rows and as frames give the same predictions."""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeai.assembly.plan import Plan, check
from edgeai.engine.intake.frames import FrameIntake
from edgeai.errors import ConfigError
from edgeai.messages import Message
from edgeai.testing import MemoryNode
from tests.support.engine import NS, Node, totals
from tests.support.packages import write_config, write_package

T0 = 1_700_000_000 * NS
RATE_HZ = 1000.0
FRAME = {
    "type": "binary",
    "header": [
        {"name": "t0_ns", "type": "i64"},
        {"name": "sequence", "type": "u32"},
        {"name": "count", "type": "u32"},
    ],
    "dtype": "float32",
    "rate_hz": RATE_HZ,
}


def plan_of(
    folder: Path,
    length: int,
    hop: int,
    *,
    limits: dict[str, Any] | None = None,
    stream: dict[str, Any] | None = None,
    **changes: Any,
) -> Plan:
    write_package(folder / "mean", length=length, hop=hop, rate_hz=RATE_HZ, **changes)
    rows = {
        "topic": "rows/{asset}", "time": {"path": "t", "unit": "ns"}, "values_path": "v",
    }  # fmt: skip
    frames = {"topic": "frames/{asset}", "layout": "frame", "frame": FRAME}
    pipelines = {
        "rows": {"model": "mean", "source": rows, "stream": stream or {}},
        "frames": {"model": "mean", "source": frames, "stream": stream or {}},
    }
    return check(write_config(folder / "config.yaml", 1, pipelines, limits=limits or {}))


@pytest.fixture(scope="module")
def plan_within(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Plan]:
    """Return plans whose signal `a` may be from `-most` to `most`; each is made once."""

    @functools.cache
    def make(length: int, hop: int, most: float, **limits: Any) -> Plan:
        folder = tmp_path_factory.mktemp("frames")
        return plan_of(folder, length, hop, ranges={"a": [-most, most]}, limits=limits)

    return make


def frame(start: int, values: np.ndarray, sequence: int = 0, topic: str = "frames/m") -> Message:
    t0 = T0 + start * 1_000_000
    head = struct.pack("<qII", t0, sequence, len(values))
    return (topic, head + values.astype("<f4").tobytes(), t0, False)


def row(index: int, values: np.ndarray) -> Message:
    body = {"t": T0 + index * 1_000_000, "v": dict(zip("ab", values.tolist(), strict=True))}
    return ("rows/m", json.dumps(body).encode(), T0, False)


def without_names(predictions: list[Any]) -> list[Any]:
    return [{k: v for k, v in one.items() if k != "id"} for one in predictions]


@pytest.mark.parametrize(("length", "hop"), [(8, 8), (8, 3), (8, 11), (1, 1)])
@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12), holes=st.booleans())
def test_frames_and_rows_agree(
    plan_within: Callable[..., Plan], length: int, hop: int, sizes: list[int], holes: bool
) -> None:
    """Of frames that are no part and no multiple of a hop: those end windows at their ends."""
    sizes = [size for size in sizes if hop == 1 or (size % hop and hop % size)]
    plan = plan_within(length, hop, 1.5)
    values = np.random.default_rng(1).normal(size=(sum(sizes), 2)).astype(np.float32)
    if holes:
        values[5::17, 1] = np.nan
    by_rows, by_frames = Node(plan), Node(plan)
    start = 0
    for number, size in enumerate(sizes):
        by_frames.turns([frame(start, values[start : start + size], number)])
        start += size
    cells = [[None if np.isnan(v) else float(v) for v in one] for one in values]
    by_rows.turns([row(i, np.array(one, object)) for i, one in enumerate(cells)])
    assert len(by_rows.predictions("rows")) >= (sum(sizes) - length) // hop
    expected = without_names(by_rows.predictions("rows"))
    assert without_names(by_frames.predictions("frames")) == expected
    for name, label in [("dropped", "reason"), ("invalid_values", "reason")]:
        assert by_frames.counts(name, label, "frames") == by_rows.counts(name, label, "rows")


def strange_frames(seed: int, length: int) -> list[Message]:
    """Return mostly whole windows in order.

    Some frames are late, follow a gap, have another size, or hold NaN or a value out of range.
    After a frame of another size the windows span two frames until the next gap.
    """
    rng = np.random.default_rng(seed)
    messages: list[Message] = []
    at = {"m": 0, "n": 0}
    for number in range(60):
        asset = str(rng.choice(["m", "n"]))
        others = ["short", "long", "gap", "late", "hole", "beyond"]
        kind = rng.choice(["usual"] * 8 + others) if messages else "usual"
        sizes = {
            "short": rng.integers(1, max(2, length)),
            "long": rng.integers(length + 1, 3 * length),
        }
        size = int(sizes.get(kind, length))
        at[asset] += 100 if kind == "gap" else 0
        start = max(0, at[asset] - 2 * length) if kind == "late" else at[asset]
        values = rng.normal(size=(size, 2)).astype(np.float32).clip(-2, 2)
        values[rng.integers(size)] = {"hole": np.nan, "beyond": 9.0}.get(kind, 0.5)
        messages.append(frame(start, values, number, f"frames/{asset}"))
        at[asset] += 0 if kind == "late" else size
    return messages


@pytest.mark.parametrize(("length", "hop"), [(8, 8), (8, 3), (1, 1)])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), turn=st.sampled_from([1, 3, 60]))
@example(seed=15455, turn=1)  # a number says that frames are missing, and the time that none is
def test_whole_windows_without_a_copy_give_the_same_predictions(
    plan_within: Callable[..., Plan], length: int, hop: int, seed: int, turn: int
) -> None:
    plan = plan_within(length, hop, 3.0, batch_windows=5)
    messages = strange_frames(seed, length)
    turns = [messages[begin : begin + turn] for begin in range(0, len(messages), turn)]
    taken: list[bool] = []
    short_way = FrameIntake.push_whole_window

    def noted(*given: Any) -> bool:
        taken.append(short_way(*given))
        return taken[-1]

    with mock.patch.object(FrameIntake, "push_whole_window", noted):
        shorter = Node(plan).turns(*turns)
    with mock.patch.object(FrameIntake, "push_whole_window", return_value=False):
        longer = Node(plan).turns(*turns)
    assert shorter.sink.all == longer.sink.all
    assert totals(shorter) == totals(longer)
    assert length == hop or not any(taken)


@pytest.mark.parametrize("strange", [np.nan, np.inf, 1000.0])
def test_a_refused_frame_is_not_computed(tmp_path: Path, strange: float) -> None:
    """A batch is padded with the memory behind it, which must not hold refused values."""
    ranges = {"a": [-3, 3], "b": [-3, 3]}
    node = Node(plan_of(tmp_path, 4, 4, stream={"out_of_range": "hold"}, ranges=ranges))
    pipeline = next(one for one in node.engine.pipelines if one.name == "frames")
    good = np.ones((4, 2), np.float32)
    bad = good.copy()
    bad[0, 1] = strange
    node.turns([frame(0, good, topic="frames/m"), frame(0, bad, topic="frames/n")])
    assert len(node.predictions("frames")) == 1
    assert np.abs(pipeline.batch.values).max() <= 3


def test_missing_frames_are_counted(tmp_path: Path) -> None:
    node = Node(plan_of(tmp_path, 4, 4))
    block = np.ones((4, 2), np.float32)
    for sequence, start in [(7, 0), (8, 4), (11, 16), (11, 16), (2, 20), (3, 24)]:
        node.turns([frame(start, block, sequence)])
    assert node.value("frames_missed_total", pipeline="frames") == 2
    assert node.counts("window_resets", "reason", "frames") == {"gap": 1}
    assert node.counts("dropped", "reason", "frames") == {"duplicate": 1}


def test_an_invalid_frame_affects_no_other(tmp_path: Path) -> None:
    node = Node(plan_of(tmp_path, 4, 4))
    block = np.ones((4, 2), np.float32)
    good, later = frame(0, block, 1), frame(4, block, 2)
    broken = (good[0], good[1][:-3], *good[2:])
    node.turns([good, broken, ("frames/m", b"", T0, False), later])
    assert len(node.predictions("frames")) == 2
    assert node.counts("dropped", "reason", "frames") == {"wrong_size": 1, "bad_header": 1}


def test_late_and_duplicate_frames_are_refused(tmp_path: Path) -> None:
    node = Node(plan_of(tmp_path, 4, 4))
    block = np.ones((4, 2), np.float32)
    node.turns([frame(s, block) for s in (0, 4, 4, 0, 8)])
    assert len(node.predictions("frames")) == 3
    dropped = node.counts("dropped", "reason", "frames")
    assert dropped == {"duplicate": 2}  # each frame is one


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frame": None}, "the layout `frame` needs the key `frame`"),
        ({"time": {"path": "t", "unit": "s"}}, "time is declared in `frame`"),
        ({"signals": {"a": {"path": "x"}}}, "signals do not take `path`"),
        ({"frame": {**FRAME, "dtype": "float3"}}, "dtype"),
    ],
)
def test_a_frame_source_that_cannot_work_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    write_package(tmp_path / "mean")
    source = {"topic": "frames/{asset}", "layout": "frame", "frame": FRAME, **change}
    path = write_config(tmp_path / "c.yaml", 1, {"p": {"model": "mean", "source": source}})
    with pytest.raises(Exception, match=said):
        check(path)


def test_each_frame_counts_as_one_message(tmp_path: Path) -> None:
    node = Node(plan_of(tmp_path, 4, 4))
    values = np.ones((4, 2), np.float32)
    node.turns([frame(4 * n, values) for n in range(3)])
    assert node.value("pipeline_messages_total", pipeline="frames") == 3


@pytest.mark.parametrize("size", [5, 20, 64, 200])
@pytest.mark.parametrize("trouble", ["swapped", "lost", "copied", "restarted"])
@pytest.mark.parametrize("gap", [0.005, 1.0])
def test_numbered_frames_without_a_time_in_any_order(
    tmp_path: Path, trouble: str, size: int, gap: float
) -> None:
    """A good window holds W consecutive samples; swapped frames are put in their places."""
    write_package(tmp_path / "mean", length=50, hop=1, rate_hz=RATE_HZ)
    header = [{"name": "sequence", "type": "u32"}, {"name": "count", "type": "u32"}]
    source = {
        "topic": "frames/{asset}", "layout": "frame", "frame": FRAME | {"header": header},
    }  # fmt: skip
    stream = {"missing": "hold", "max_gap_seconds": gap}
    pipeline = {"model": "mean", "source": source, "stream": stream}
    plan = check(write_config(tmp_path / "config.yaml", 1, {"p": pipeline}))
    order = {
        "swapped": [*range(8), 9, 8, *range(10, 20)],
        "lost": [*range(8), *range(9, 20)],
        "copied": [*range(8), 7, *range(8, 20)],
        "restarted": [*range(8), *range(9, 20)],
    }[trouble]
    rng = np.random.default_rng(1)
    sent = np.zeros((20 * size, 2), "<f4")
    sent[:, 0] = np.arange(20 * size) + rng.uniform(0, 0.9, 20 * size)
    node = Node(plan)
    for place, number in enumerate(order):
        sequence = number if trouble != "restarted" or place < 8 else place - 8
        values = sent[number * size : (number + 1) * size]
        payload = struct.pack("<II", sequence, size) + values.tobytes()
        at = (place if trouble == "swapped" else number) + rng.uniform(0, 0.2)
        node.turns([("frames/m", payload, T0 + round(at * size * NS / RATE_HZ), 0)])
    right = np.convolve(sent[:, 0], np.full(50, 1 / 50), "valid")
    good = [one for one in node.predictions("p") if one["quality"] == "good"]
    assert len(good) > 10 * size - 49
    wrong = [one for one in good if np.abs(right - one["score"]).min() > 1e-2]
    assert [(one["timestamp"] - T0) / 1e6 for one in wrong] == []
    if trouble == "swapped" and gap == 1.0 and size < 50:  # else its windows have been emitted
        assert node.value("samples_reordered_total", pipeline="p") == size
    if trouble == "copied":
        assert len(good) == 20 * size - 49
        assert node.counts("dropped", "reason", "p") == {"duplicate": 1}


def test_frames_that_share_a_coarse_time_are_in_the_order_of_arrival(tmp_path: Path) -> None:
    """64 ms frames by a clock that shows tenths of a second; one is sent again."""
    time = {"path": "t", "unit": "ms", "resolution_seconds": 0.1}
    layout = {"type": "json", "encoding": "list", "shape": "per_sample", "channels": ["a", "b"]}
    frames = layout | {"rate_hz": 1000.0, "time": time}
    source = {"topic": "f/{asset}", "layout": "frame", "frame": frames}
    write_package(tmp_path / "model", rate_hz=1000.0, length=128, hop=64, threshold=1e9)
    path = write_config(
        tmp_path / "edge.yaml", 1883, {"p": {"model": str(tmp_path / "model"), "source": source}}
    )
    start = 1_795_800_000_000
    scores = []
    with MemoryNode(path) as node:
        for number in range(50):
            values = [[number * 64 + index, 0] for index in range(64)]
            stamp = (start + number * 64) // 100 * 100
            body = json.dumps({"t": stamp, "data": values}).encode()
            for _ in range(2 if number == 20 else 1):
                found = node.turn(("f/x", body, (start + number * 64 + 70) * 10**6, 0))
                scores += [
                    json.loads(one.payload)["score"] for one in found if b"score" in one.payload
                ]
        text = node.metrics.render().decode()
    assert scores == [(number + 1) * 64 - 0.5 for number in range(49)]
    assert 'edgeai_dropped_total{pipeline="p",reason="duplicate"} 1.0' in text


def test_a_coarse_clock_of_single_tags_is_refused(tmp_path: Path) -> None:
    time = {"path": "t", "unit": "s", "resolution_seconds": 1}
    source = {"topic": "f/{asset}/{signal}", "layout": "tag", "time": time}
    write_package(tmp_path / "model")
    path = write_config(
        tmp_path / "edge.yaml", 1883, {"p": {"model": str(tmp_path / "model"), "source": source}}
    )
    with pytest.raises(ConfigError, match="belongs to the layouts `row` and `frame`"):
        check(path)
