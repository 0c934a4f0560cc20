"""Windows are slices of the whole history, for any division of the samples into blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.ring import Ring
from edgeai.streams.settings import StreamSettings
from tests.support.windows import Windows

NS = 10**9


def ring(
    windows: Windows, length: int, hop: int, channels: int = 1, period_ns: int | None = None
) -> Ring:
    return Ring(StreamSettings(length, hop, channels, period_ns, None, 0, "hold"), windows.emit)


def ends(length: int, hop: int, samples: int) -> list[int]:
    """The number of the last sample of each window, counted from 1."""
    windows = Windows()
    one = ring(windows, length, hop)
    one.push(range(1, samples + 1), np.zeros((samples, 1), np.float32), None, None)
    return [window.time_ns for window in windows]


@pytest.mark.parametrize(
    ("length", "hop", "last"),
    [
        # sample 1 2 3 4 5 6 7 8 9
        (3, 1, [3, 4, 5, 6, 7, 8, 9]),
        (3, 2, [3, 5, 7, 9]),
        (3, 3, [3, 6, 9]),
        (3, 5, [3, 8]),  # hop > length: samples between windows are skipped
        (1, 1, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (1, 4, [1, 5, 9]),
        (9, 1, [9]),
        (10, 1, []),
    ],
)
def test_when_windows_are_due(length: int, hop: int, last: list[int]) -> None:
    assert ends(length, hop, 9) == last


@settings(deadline=None, max_examples=150)
@given(
    length=st.integers(1, 90),
    hop=st.integers(1, 200),
    channels=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 150), min_size=1, max_size=12),
    clears=st.sets(st.integers(0, 11), max_size=2),
    seed=st.integers(0, 999),
    flag_share=st.sampled_from([0.0, 0.02, 0.5]),
)
def test_windows_are_slices_of_the_history(
    length: int,
    hop: int,
    channels: int,
    sizes: list[int],
    clears: set[int],
    seed: int,
    flag_share: float,
) -> None:
    rng = np.random.default_rng(seed)
    windows, expected = Windows(), Windows()
    one = ring(windows, length, hop, channels)
    history: list[tuple[int, Any, int, bool]] = []
    now = 0
    for number, size in enumerate(sizes):
        if number in clears:
            one.clear()
            history.clear()
        times = list(range(now, now + size))
        now += size
        rows = rng.normal(size=(size, channels)).astype(np.float32)
        substituted = rng.integers(1, 4, size) * (rng.random(size) < flag_share)
        uncertain = rng.random(size) < flag_share
        one.push(
            times,
            rows,
            substituted.tolist() if substituted.any() else None,
            uncertain.tolist() if uncertain.any() else None,
        )
        for sample in zip(times, rows, substituted.tolist(), uncertain.tolist(), strict=True):
            history.append(sample)
            if len(history) >= length and (len(history) - length) % hop == 0:
                part = history[-length:]
                expected.emit(
                    np.array([row for _, row, _, _ in part]),
                    part[-1][0],
                    sum(count for _, _, count, _ in part),
                    any(flag for _, _, _, flag in part),
                )
    assert windows == expected


@pytest.mark.parametrize("length", [1, 5, 64, 100])
def test_a_flag_marks_every_window_with_its_sample(length: int) -> None:
    windows = Windows()
    one = ring(windows, length, 1)
    clean = [False] * (length - 1)
    one.push(
        range(length), np.zeros((length, 1), np.float32), [0] * (length - 1) + [1],
        [*clean, True],
    )  # fmt: skip
    for now in range(length, 3 * length):
        one.push([now], np.zeros((1, 1), np.float32), None, None)
    flags = [1] * length + [0] * (length + 1)
    assert [window.substituted for window in windows] == flags
    assert [window.uncertain for window in windows] == [bool(flag) for flag in flags]


@pytest.mark.parametrize(
    ("times", "uncertain"),
    [
        # seconds, a window of 5 samples at 1 Hz: nominally 4 s from the first to the last
        ([0, 1, 2, 3, 4], False),
        ([0, 1.4, 2, 3.1, 4], False),  # jitter inside the window
        ([0, 1, 2, 3, 5.4], False),  # a tenth and a period more than nominal
        ([0, 1, 2, 3, 5.5], True),
        ([0, 0.7, 1.4, 2.1, 2.7], False),
        ([0, 0.6, 1.2, 1.8, 2.6], True),  # less than 4 s / 1.5
    ],
)
def test_a_window_at_another_rate_is_uncertain(times: list[float], uncertain: bool) -> None:
    windows = Windows()
    rows = np.zeros((5, 1), np.float32)
    moments = [round(moment * NS) for moment in times]
    ring(windows, 5, 1, period_ns=NS).push(moments, rows, None, None)
    assert [window.uncertain for window in windows] == [uncertain]


@pytest.mark.parametrize(("length", "most"), [(2, 1.5), (4, 1.43), (16, 1.16), (64, 1.11)])
def test_the_longer_a_window_the_closer_its_rate_must_be(length: int, most: float) -> None:
    """Half a period of jitter at each end is much of a short window, and little of a long one."""
    for share, uncertain in ((1 / 1.09, False), (1.09, False), (most, False), (most + 0.02, True)):
        windows = Windows()
        moments = [round(place * share * NS) for place in range(length)]
        one = ring(windows, length, 1, period_ns=NS)
        one.push(moments, np.zeros((length, 1), np.float32), None, None)
        assert [window.uncertain for window in windows] == [uncertain]


def test_events_have_no_rate() -> None:
    windows = Windows()
    one = ring(windows, 3, 1, period_ns=None)
    one.push([0, 1, 10**15], np.zeros((3, 1), np.float32), None, None)
    assert [window.uncertain for window in windows] == [False]


@settings(deadline=None, max_examples=300)
@given(
    length=st.integers(1, 9),
    hop=st.integers(1, 12),
    blocks=st.lists(st.tuples(st.integers(1, 7), st.booleans()), min_size=1, max_size=60),
)
def test_push_few_gives_the_same_windows(
    length: int, hop: int, blocks: list[tuple[int, bool]]
) -> None:
    """Compare `push_few`, where it takes the block, with `push`; some samples are flagged."""
    few, singly, together = Windows(), Windows(), Windows()
    a, b, c = (ring(one, length, hop, 2, period_ns=NS) for one in (few, singly, together))
    now = 0
    for size, uncertain in blocks:
        times = [NS * (now + 1 + i) for i in range(size)]
        rows = np.arange(2 * (now + 1), 2 * (now + 1 + size), dtype=np.float32).reshape(-1, 2)
        around = np.vstack([np.full((3, 2), np.nan, np.float32), rows])
        flat = memoryview(around.reshape(-1))
        flags = [uncertain] * size if uncertain else None
        if uncertain or not a.push_few(times, flat, 3, 3 + size):
            a.push(times, rows, None, flags)
        for i in range(size):
            if uncertain:
                b.push(times[i : i + 1], rows[i : i + 1], None, [True])
            else:
                b.push_one(times[i], rows[i].tolist())
        c.push(times, rows, None, flags)
        now += size
        assert a.due_in == b.due_in == c.due_in
    assert few == singly == together


def test_due_in_counts_the_samples_to_the_next_window() -> None:
    windows = Windows()
    one = ring(windows, 4, 3)
    seen = []
    for sample in range(1, 9):
        seen.append(one.due_in)
        one.push_one(sample, [0.0])
    assert seen == [4, 3, 2, 1, 3, 2, 1, 3]
    one.clear()
    assert one.due_in == 4


@pytest.mark.parametrize("length", [2, 3, 4])
@pytest.mark.parametrize("hop", [1, 2, 5])
@pytest.mark.parametrize("one_by_one", [True, False])
def test_a_window_spans_from_its_own_first_sample(length: int, hop: int, one_by_one: bool) -> None:
    """At the model's rate no window is uncertain, from the first one after `clear` on."""
    windows = Windows()
    one = ring(windows, length, hop, period_ns=NS)
    for _ in range(2):
        times = [NS * n for n in range(1, 4 * length + 2 * hop)]
        if one_by_one:
            for time_ns in times:
                one.push_one(time_ns, [0.0])
        else:
            one.push(times, np.zeros((len(times), 1), np.float32), None, None)
        assert windows
        assert not any(window.uncertain for window in windows)
        windows.clear()
        one.clear()


@pytest.mark.parametrize("way", ["push", "push_few", "push_one"])
def test_a_sample_exactly_on_a_boundary_ends_its_window(way: str) -> None:
    """Windows end with the first sample that reaches k * hop * period - period / 2."""
    windows = Windows()
    one = ring(windows, 3, 4, period_ns=NS)
    times = [number * NS + NS // 2 for number in range(12)]
    for time_ns in times:
        if way == "push":
            one.push([time_ns], np.zeros((1, 1), np.float32), None, None)
        elif way == "push_few":
            assert one.push_few([time_ns], memoryview(np.zeros(1, np.float32)), 0, 1)
        else:
            one.push_one(time_ns, [0.0])
    assert [window.time_ns for window in windows] == [times[3], times[7], times[11]]
