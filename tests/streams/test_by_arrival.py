"""Rows without a time of their own: the network holds them back, and some are lost.

Samples at 10 Hz as in `test_time`; the value of each is its number, and its time is its arrival.
"""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from edgeai.streams.arrival_pace import KEPT_ARRIVALS, lateness
from tests.streams.test_time import Line, P

COUNT = 300
LOST = frozenset({50, 120, 121, 200, 277})


def play(arrivals: list[float], lost: frozenset[int] = frozenset(), **changes: Any) -> Line:
    line = Line(**changes)
    for number, slot in enumerate(arrivals):
        if number not in lost:
            line.send(slot, values=[float(number)])
    line.stream.flush()
    return line


def jittered(jitter: float, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [number + draw.uniform(-jitter, jitter) for number in range(COUNT)]


def held_back(count: int, latency: float = 0.03) -> list[float]:
    """The network holds back some samples in the middle, and lets them go together."""
    draw = random.Random(count)
    slots = [number + draw.uniform(0, latency) for number in range(COUNT)]
    for place in range(count):
        slots[100 + place] = 100 + count - 0.3 + place / 100
    return slots


def wrong(line: Line) -> list[list[float]]:
    """Return the good windows that do not hold consecutive samples."""
    return [
        content
        for content, one in zip(line.contents, line.windows, strict=True)
        if not one.uncertain
        and not one.substituted
        and any(after - before != 1 for before, after in pairwise(content))
    ]


@pytest.mark.parametrize("missing", ["hold", "linear", "mark"])
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("jitter", [0.1, 0.2, 0.25, 0.3])
def test_jitter_makes_no_sample_missing(jitter: float, seed: int, missing: Any) -> None:
    line = play(jittered(jitter, seed), missing=missing)
    assert line.told() == {}
    assert not any(one.uncertain or one.substituted for one in line.windows)


@pytest.mark.parametrize("missing", ["hold", "linear", "mark"])
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.2, 0.25])
def test_lost_samples_show_beside_jitter_of_a_quarter(
    jitter: float, seed: int, missing: Any
) -> None:
    line = play(jittered(jitter, seed), LOST, missing=missing)
    assert line.told() == {"missing": len(LOST)}
    assert wrong(line) == []


@pytest.mark.parametrize("missing", ["hold", "linear", "mark"])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_samples_that_were_held_back_are_not_missing(count: int, missing: Any) -> None:
    """Whether they are is not known until they come: windows until then are marked."""
    line = play(held_back(count), missing=missing, max_gap_ns=8 * P)
    assert line.told() == {}
    assert wrong(line) == []
    marked = sum(one.uncertain or one.substituted > 0 for one in line.windows)
    assert 0 < marked <= 2 * count
    assert line.contents[-100:] == [
        [float(end - 3 + place) for place in range(4)] for end in range(200, 300)
    ]


@pytest.mark.parametrize("missing", ["hold", "mark"])
def test_one_of_those_that_were_held_back_is_lost(missing: Any) -> None:
    line = play(held_back(4), frozenset({102}), missing=missing)
    assert line.told() == {"missing": 1}
    assert wrong(line) == []


def test_lateness_is_measured_from_the_pace_of_most() -> None:
    slots = [100, 200, 300, 400, 500, 600, 690, 860, 865]
    assert len(slots) == KEPT_ARRIVALS
    assert lateness(1000, _array(slots), 100.0) == 0
    assert lateness(1100, _array(slots), 100.0) == 100
    assert lateness(1000, _array(slots[:3]), 100.0) is None


def _array(slots: list[int]) -> Any:
    import numpy as np

    return np.array(slots, np.int64)
