"""Blocks whose times jitter or drift: a good window holds W consecutive samples of its sender."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from edgeai.streams.run import Run, block_times
from tests.streams.test_time import BASE, Line, P


def send(line: Line, number: int, start: float, count: int, *, timed: bool = True) -> None:
    """Send a block that begins at a slot; its values are the numbers of the sender's samples."""
    first = number * count
    rows = np.arange(first, first + count, dtype=np.float32)[:, np.newaxis]
    times = block_times(round((BASE + start) * P), P, count)
    line.stream.push_block(
        Run(times, rows, None, times[-1], P, is_block=True, is_clean=True, is_timed=timed)
    )


def broken(line: Line) -> list[list[float]]:
    """Return the good windows that are not consecutive samples."""
    return [
        content
        for window, content in zip(line.windows, line.contents, strict=True)
        if not window.substituted and not window.uncertain and set(np.diff(content)) != {1.0}
    ]


@settings(deadline=None, max_examples=200)
@given(
    count=st.sampled_from([1, 3, 8, 20, 100]),
    jitter=st.sampled_from([0.0, 0.4, 0.8, 2.0, 6.0, 30.0]),
    rate=st.sampled_from([0.9, 0.97, 1.0, 1.003, 1.03, 1.1]),
    trouble=st.sampled_from([0.0, 0.1]),
    timed=st.booleans(),
    length=st.sampled_from([5, 8, 50]),
    hop=st.sampled_from([1, 8]),
    seed=st.integers(0, 10**6),
)
@example(
    count=1, jitter=0.0, rate=1.0, trouble=0.1, timed=True, length=5, hop=1, seed=0
)  # stamps that all are multiples of half a block: a copy is no next block of a coarse clock
@example(
    count=1, jitter=0.0, rate=1.0, trouble=0.1, timed=True, length=5, hop=1, seed=127
)  # three times a block overtakes the one before it: that is no drift
def test_a_good_window_is_consecutive_whatever_the_clock_does(
    count: int, jitter: float, rate: float, trouble: float, timed: bool, length: int, hop: int,
    seed: int,
) -> None:  # fmt: skip
    # Times that contradict the order of arrival by whole frames: only a sequence number helps.
    assume(not timed or 2 * jitter <= count)
    rng = np.random.default_rng(seed)
    tolerance = None if timed else 2 * P
    line = Line(length=length, hop=hop, max_gap_ns=1000 * P, frame_jitter_ns=tolerance)
    order = []
    # Times tell a frame that is lost or swapped only if they are wrong by much less than a frame.
    may_lose = timed and 4 * jitter < count and abs(rate - 1) < 0.05
    for number in range(60):
        chance = rng.random()
        if may_lose and chance < trouble / 3:
            continue
        order.append(number)
        if timed and chance > 1 - trouble / 3:
            order.append(number)  # a copy
        elif may_lose and chance > 1 - trouble and len(order) > 1:
            order[-2:] = order[:-3:-1]  # swapped
    starts = [n * count / rate + rng.uniform(-jitter, jitter) for n in range(60)]
    if not timed:
        starts = list(np.maximum.accumulate(starts))  # arrivals do not go back
    for number in order:
        send(line, number, starts[number], count, timed=timed)
    assert broken(line) == []


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("rate", [0.97, 0.99, 0.997, 1.003, 1.01, 1.03])
@pytest.mark.parametrize("count", [1, 5, 20, 64, 1000])
def test_a_drifting_sender_loses_nothing(rate: float, count: int, timed: bool) -> None:
    line = Line(length=8, hop=1, max_gap_ns=2000 * P, frame_jitter_ns=None if timed else P)
    for number in range(60):
        send(line, number, number * count / rate, count, timed=timed)
    assert line.drops.total() == 0
    assert broken(line) == []
    held = {value for content in line.contents for value in content}
    assert held >= set(map(float, range(60 * count)))
    good = [not window.substituted and not window.uncertain for window in line.windows]
    assert all(good[2 * count + 8 :])  # once the drift is known
    assert abs(line.ends[-1] - 60 * count / rate) < max(2, 0.05 * count)  # followed


def test_a_block_of_which_the_start_is_missing_marks_its_windows() -> None:
    line = Line(length=8, hop=4, max_gap_ns=100 * P).frame(0, 20).frame(20, 20).frame(46, 20)
    assert line.told() == {"missing": 6}
    assert broken(line) == []
    assert sum(window.uncertain for window in line.windows) == 2


def test_copies_are_told_by_their_values() -> None:
    line = Line(length=8, hop=4)
    for start, number in [(0, 0), (20, 1), (24, 1), (38.5, 2), (60, 3)]:
        send(line, number, start, 20, timed=False)  # the third is a copy of the second
    assert line.told() == {"duplicate": 20}
    assert broken(line) == []
    assert line.contents[-1][-1] == 79
