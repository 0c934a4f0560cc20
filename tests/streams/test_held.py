"""A signal that has no good value for a whole window, whatever the times of the samples do.

arrives    1   2   3   4.6 5   6      period 1: a sample after 3 seems to be missing
torque     7   -   -   -   -   -      held since 2, also when the filled sample is taken back
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.factory import open_stream
from edgeai.streams.run import Run, block_times
from edgeai.streams.settings import StreamSettings
from tests.streams.test_stream import NAN, Case, Sample
from tests.support.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Iterable

P = 10
COUNT = 120

USUAL = [P] * 8 + [1, 2, 4, 7, 13, 14, 16, 19, 20, 25, 31, 60, -4, -15, 0]


def walk(steps: Iterable[int], dead: set[int], **changes: Any) -> Case:
    """Push samples (number, torque); torque is the number too, and NaN for the dead ones.

    Samples come a few at a time, and arrive at their times.
    """
    case = Case(channels=2, **{"period_ns": P, "max_gap_ns": 5 * P} | changes)
    now = 1_000_000
    samples: list[Sample] = []
    for number, step in enumerate(steps):
        now += step
        samples.append((now, (float(number), NAN if number in dead else float(number)), False))
    blocks: list[list[Sample]] = [samples[at : at + 3] for at in range(0, COUNT, 3)]
    for block in blocks:
        case.push(block, fast=True)
    return case.flush()


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    length=st.integers(1, 9),
    hop=st.integers(1, 4),
    missing=st.sampled_from(["hold", "linear", "mark"]),
    begin=st.integers(1, 60),
    lasts=st.integers(1, 60),
    lateness=st.sampled_from([0, 0, 30]),
)
def test_a_signal_without_a_value_for_a_whole_window_makes_it_uncertain(
    seed: int, length: int, hop: int, missing: str, begin: int, lasts: int, lateness: int
) -> None:
    steps = np.random.default_rng(seed).choice(USUAL, COUNT).tolist()
    dead = set(range(begin, begin + lasts))
    changes = {"length": length, "hop": hop, "missing": missing, "lateness_ns": lateness}
    case, healthy = walk(steps, dead, **changes), walk(steps, set(), **changes)
    for window in case.windows:
        rows = np.frombuffer(window.values, np.float32).reshape(length, 2)
        if (rows[:, 1] < begin).all() and (rows[:, 0] >= begin).all():
            assert window.uncertain
    sound = {window.time_ns: window for window in healthy.windows}
    for window in case.windows:
        other = sound.get(window.time_ns)
        if other is not None and not window.substituted and window.values == other.values:
            assert window.uncertain == other.uncertain


def test_a_whole_window_of_good_values_ends_it() -> None:
    windows = Windows()
    counts: dict[str, int] = {}
    drops, resets = {"late": 0, "duplicate": 0, "invalid_value": 0}, {"gap": 0}
    stream = open_stream(
        StreamSettings(
            length=4, hop=4, channels=1, period_ns=P, max_gap_ns=5 * P, lateness_ns=0,
            invalid="hold",
        ),
        drops, resets, counts, windows.emit,
    )  # fmt: skip
    rows = np.arange(4, dtype=np.float32).reshape(4, 1)
    dead = np.array([[0], [NAN], [NAN], [NAN]], np.float32)
    for number, values in enumerate([rows, dead, dead * NAN]):
        times = block_times(1_000_000 + 4 * P * number, P, 4)
        stream.push_block(Run(times, values, None, times[-1], P, is_block=True))
    assert stream.held_channels() == [0]
    assert stream.push_window(1_000_000 + 12 * P, P, rows, memoryview(rows.tobytes()))
    assert stream.held_channels() == []
    assert [window.uncertain for window in windows] == [False, False, True, False]
