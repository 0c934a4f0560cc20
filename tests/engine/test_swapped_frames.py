"""Frames that are lost, or come out of order: the sequence number shows it, whatever the clock.

number    0  1  3  2  4        3 waits for 2; the predictions are those of 0 1 2 3 4
number    0  1  3  4           2 is missing: no good window holds samples of 1 and 3
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from edgeai.assembly.plan import Plan, check
from tests.support.engine import NS, Node
from tests.support.packages import write_config, write_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeai.messages import Message

T0 = 1_795_800_000
FRAMES = 40


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Plan]:
    def make(length: int, hop: int, step: float | None, timed: bool, **stream: Any) -> Plan:
        folder: Path = tmp_path_factory.mktemp("frames")
        write_package(folder / "mean", length=length, hop=hop, rate_hz=1000.0, threshold=1e9)
        layout: dict[str, Any] = {
            "type": "json", "encoding": "list", "shape": "per_sample", "channels": ["a", "b"],
            "rate_hz": 1000.0, "sequence": "s",
        }  # fmt: skip
        if timed:
            layout["time"] = {"path": "t", "unit": "s"}
            if step:
                layout["time"]["resolution_seconds"] = step
        source = {"topic": "f/{asset}", "layout": "frame", "frame": layout}
        pipelines = {"p": {"model": "mean", "source": source, "stream": stream}}
        return check(write_config(folder / "config.yaml", 1, pipelines))

    return make


def messages(count: int, step: float | None, order: list[int]) -> list[Message]:
    """Frames in this order, at the pace at which frames are measured: one each frame's time."""
    found: list[Message] = []
    for place, number in enumerate(order):
        first = number * count
        time = T0 + first / 1000
        if step:
            time = math.floor(time / step + 1e-6) * step
        values = [[float((7 * n) ** 2 % 1009), float(n)] for n in range(first, first + count)]
        arrival = max(place, number) if len(order) < FRAMES else place
        at = T0 + (arrival + 1) * count / 1000 + 0.01
        body = {"t": round(time, 6), "s": number, "data": values}
        found.append(("f/m", json.dumps(body).encode(), round(at * NS), 0))
    return found


def swapped() -> list[int]:
    order = [*range(FRAMES)]
    for place in (10, 20, 31):
        order[place], order[place + 1] = order[place + 1], order[place]
    return order


CLOCKS = [(None, True), (0.1, True), (1.0, True), (None, False)]
SIZES = [(50, 50, 10), (64, 32, 16)]


def results(plan: Plan, sent: list[Message]) -> tuple[list[Any], list[int], Node]:
    """Return score and quality of each prediction, their times, and the node."""
    node = Node(plan)
    for message in sent:
        node.turns([message])
    node.engine.finish()
    predictions = node.predictions("p")
    found = [(one["score"], one["quality"]) for one in predictions]
    return found, [one["timestamp"] for one in predictions], node


@pytest.mark.parametrize(("step", "timed"), CLOCKS)
@pytest.mark.parametrize(("count", "length", "hop"), SIZES)
@pytest.mark.parametrize("lateness", [0.0, 0.2])
def test_swapped_frames_give_what_frames_in_order_give(
    plans: Callable[..., Plan],
    step: float | None,
    timed: bool,
    count: int,
    length: int,
    hop: int,
    lateness: float,
) -> None:
    plan = plans(length, hop, step, timed, lateness_seconds=lateness)
    expected, _, _ = results(plan, messages(count, step, [*range(FRAMES)]))
    found, times, node = results(plan, messages(count, step, swapped()))
    assert found == expected
    assert all(quality == "good" for _, quality in found)
    assert times == sorted(times)
    assert node.value("frames_missed_total", pipeline="p") == 0


@pytest.mark.parametrize(("step", "timed"), CLOCKS)
@pytest.mark.parametrize(("count", "length", "hop"), SIZES)
def test_no_good_window_holds_samples_from_both_sides_of_a_lost_frame(
    plans: Callable[..., Plan],
    step: float | None,
    timed: bool,
    count: int,
    length: int,
    hop: int,
) -> None:
    plan = plans(length, hop, step, timed)
    expected, _, _ = results(plan, messages(count, step, [*range(FRAMES)]))
    left = [number for number in range(FRAMES) if number not in (11, 25, 26, 38)]
    found, _, node = results(plan, messages(count, step, left))
    assert len(set(expected)) == len(expected)
    assert set(found) <= set(expected)  # all are good
    assert node.counts("window_resets", "reason", "p") == {"gap": 3}
    assert node.value("frames_missed_total", pipeline="p") == 4
