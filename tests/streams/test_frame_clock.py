"""Blocks whose clock is coarser than the sample period: milliseconds at 25.6 kHz."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeai.streams.run import Run, block_times
from tests.streams.test_time import Line

START_NS = 1_795_800_000 * 10**9


def play(
    rate_hz: float,
    count: int,
    step_ns: int,
    *,
    actual_hz: float | None = None,
    phase: float = 0.0,
    lost: tuple[int, ...] = (),
    declared: bool = False,
    rounds: bool = False,
) -> Line:
    """Send 120 blocks whose values are the numbers of their samples; return what came of it."""
    period_ns = 1e9 / rate_hz
    line = Line(
        length=2 * count,
        hop=count,
        period_ns=round(period_ns),
        max_gap_ns=round(5 * count * period_ns),
        frame_resolution_ns=step_ns if declared else None,
    )
    for number in range(120):
        if number in lost:
            continue
        at_ns = phase * step_ns + number * count * 1e9 / (actual_hz or rate_hz)
        stamp_ns = START_NS + math.floor(at_ns / step_ns + rounds / 2) * step_ns
        rows = np.arange(number * count, (number + 1) * count, dtype=np.float32)[:, np.newaxis]
        times = block_times(stamp_ns, period_ns, count)
        run = Run(times, rows, None, stamp_ns, period_ns, is_block=True, is_clean=True)
        line.stream.push_block(run)
    return line


def consecutive(line: Line) -> bool:
    return all(np.all(np.diff(content) == 1) for content in line.contents)


MS = 10**6
KINDS = [
    (25600, 1000, MS, 25600),
    (25600, 1000, MS, 25603),
    (25600, 1000, MS, 25590),
    (10000, 500, 10 * MS, 10000),
    (10000, 500, 10 * MS, 10004),
    (4000, 333, MS, 4000),
]


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.99])
@pytest.mark.parametrize(("rate_hz", "count", "step_ns", "actual_hz"), KINDS)
def test_blocks_continue_within_the_step_of_their_clock(
    rate_hz: int, count: int, step_ns: int, actual_hz: int, phase: float, rounds: bool
) -> None:
    line = play(rate_hz, count, step_ns, actual_hz=actual_hz, phase=phase, rounds=rounds)
    assert line.told() == {}
    assert consecutive(line)
    assert len(line.windows) >= 118
    error_ns = line.windows[-1].time_ns - START_NS - (120 * count - 1) * 1e9 / actual_hz
    assert abs(error_ns) <= 3 * step_ns


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.99])
@pytest.mark.parametrize(("count", "step_ms"), [(64, 100), (64, 1000), (100, 1000), (30, 20)])
def test_a_declared_step_may_be_longer_than_a_block(count: int, step_ms: int, phase: float) -> None:
    line = play(1000, count, step_ms * MS, phase=phase, declared=True)
    assert line.told() == {}
    assert consecutive(line)
    assert len(line.windows) >= 118


@pytest.mark.parametrize("lost", [(50,), (50, 51), (20, 50, 90)])
@pytest.mark.parametrize(("rate_hz", "count", "step_ns", "actual_hz"), KINDS[:1] + KINDS[3:4])
def test_lost_blocks_are_whole_holes(
    rate_hz: int, count: int, step_ns: int, actual_hz: int, lost: tuple[int, ...]
) -> None:
    line = play(rate_hz, count, step_ns, actual_hz=actual_hz, lost=lost)
    assert line.told() == {"missing": len(lost) * count}


def test_samples_that_a_regular_sender_lost_do_not_hide_in_a_step() -> None:
    """All stamps are multiples of 10 ms, but no stamp was rounded to it."""
    line = Line(length=100, period_ns=MS, max_gap_ns=500 * MS)
    for number in range(40):
        start_ns = START_NS + number * 50 * MS + (10 * MS if number >= 20 else 0)
        times = block_times(start_ns, float(MS), 50)
        rows = np.zeros((50, 1), np.float32)
        line.stream.push_block(
            Run(times, rows, None, start_ns, float(MS), is_block=True, is_clean=True)
        )
    assert line.told() == {"missing": 10}
