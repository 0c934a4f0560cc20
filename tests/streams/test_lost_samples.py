"""Samples that are missing between two frames whose times show it.

frames of 4    0 1 2 3 | 6 7 8 9      two samples were lost; the sequence number goes on
"""

from __future__ import annotations

import numpy as np
import pytest

from edgeai.streams.run import Run, block_times
from tests.streams.test_time import Line

START_NS = 1_795_800_000 * 10**9
FRAMES = 30
LOST_BEFORE = 20


def play(
    rate_hz: float, count: int, lost: int, line: Line, *, numbered: bool, every: int = FRAMES
) -> Line:
    """Send frames whose values are the numbers of their samples, with times in float64 seconds.

    Samples are lost before one frame, and then before each `every`-th.
    """
    first, period_ns = 0, 1e9 / rate_hz
    for number in range(FRAMES):
        if number >= LOST_BEFORE and (number - LOST_BEFORE) % every == 0:
            first += lost
        start_ns = round((START_NS / 1e9 + round(first / rate_hz, 6)) * 1e9)
        rows = np.arange(first, first + count, dtype=np.float32)[:, np.newaxis]
        times = block_times(start_ns, period_ns, count)
        line.stream.push_block(
            Run(
                times, rows, None, round(start_ns + count * period_ns), period_ns, is_block=True,
                is_clean=True, sequence=number if numbered else None, follows=numbered,
            )
        )  # fmt: skip
        first += count
    return line


def crosses(content: list[float]) -> bool:
    return bool((np.diff(content) != 1).any())


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("lost", [1, 2, 3, 4, 5, 8, 10, 20, 40])
@pytest.mark.parametrize(
    ("rate_hz", "count", "length", "hop"),
    [(1000, 50, 32, 8), (1000, 64, 50, 10), (100, 20, 32, 25), (12_800, 256, 100, 64)],
)
def test_no_good_window_holds_samples_from_both_sides(
    rate_hz: int, count: int, length: int, hop: int, lost: int, numbered: bool
) -> None:
    period_ns = round(1e9 / rate_hz)
    line = Line(
        length=length, hop=hop, period_ns=period_ns, max_gap_ns=15 * period_ns, missing="mark"
    )
    play(rate_hz, count, lost, line, numbered=numbered, every=9)
    holes = 1 + (FRAMES - 1 - LOST_BEFORE) // 9
    told = line.told()
    assert told == ({"missing": holes * lost} if lost < 15 else {"gap": holes})
    for window, content in zip(line.windows, line.contents, strict=True):
        assert window.uncertain or not crosses(content)
    doubtful = sum(window.uncertain for window in line.windows)
    assert (doubtful > 0) == (lost < 15)
    assert doubtful <= holes * (length // hop + 1)


@pytest.mark.parametrize("numbered", [True, False])
def test_times_that_jitter_mark_few_windows(numbered: bool) -> None:
    """A frame that came early may come late again: only later than ever before is a doubt."""
    line = Line(length=32, hop=8, period_ns=10**6, max_gap_ns=5 * 10**6, frame_jitter_ns=600_000)
    rng = np.random.default_rng(3)
    for number in range(200):
        rows = np.arange(50 * number, 50 * number + 50, dtype=np.float32)[:, np.newaxis]
        at_ns = START_NS + 50 * 10**6 * number + int(rng.uniform(-1.2e6, 1.2e6))
        line.stream.push_block(
            Run(
                block_times(at_ns, 1e6, 50), rows, None, at_ns + 60 * 10**6, 1e6, is_block=True,
                is_clean=True, sequence=number if numbered else None, follows=numbered,
            )
        )  # fmt: skip
    assert not any(crosses(content) for content in line.contents)
    if numbered:
        assert sum(window.uncertain for window in line.windows) < 0.02 * len(line.windows)
