"""Streams: order, gaps and unusable values, compared with a naive reference.

Timelines in seconds; `|` empties the window:

    arrives   1 2 3 . . 6 7 8        max gap 2 s: 6 comes 3 s after 3
    window    1 2 3 | 6 7 8
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.align import AlignSettings
from edgeai.streams.factory import open_stream
from edgeai.streams.ring import StreamSettings
from edgeai.streams.stream import RESYNC_SAMPLES
from tests.support.windows import Windows

NS = 10**9
NAN = float("nan")
Sample = tuple[int, tuple[float, ...], bool]
Policy = Literal["hold", "drop"]


class Case:
    """A stream and all its output."""

    def __init__(self, *, channels: int = 1, **changes: Any) -> None:
        fields: dict[str, Any] = {
            "length": 3, "hop": 1, "period_ns": None, "max_gap_ns": None, "lateness_ns": 0,
            "invalid": "hold",
        } | changes  # fmt: skip
        self.drops: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.windows = Windows()
        self.channels = channels
        self.stream = open_stream(
            StreamSettings(channels=channels, **fields),
            self.drops,
            self.resets,
            self.windows.emit,
        )

    def push(self, samples: list[Sample]) -> None:
        """Push one block as the engine does."""
        rows = np.array([values for _, values, _ in samples], np.float32)
        rows = rows.reshape(len(samples), self.channels)
        invalid = np.isnan(rows)
        uncertain = np.array([flag for _, _, flag in samples])
        self.stream.push_rows(
            [time_ns for time_ns, _, _ in samples],
            rows,
            invalid if invalid.any() else None,
            uncertain if uncertain.any() else None,
        )
        rows[:] = -7  # the caller may reuse the block: waiting samples must be copies

    def seconds(self, *times: float, value: float = 0.0) -> Case:
        """Push samples one by one, at seconds."""
        for moment in times:
            self.push([(round(moment * NS), (value,) * self.channels, False)])
        return self

    def flush(self) -> Case:
        self.stream.flush()
        return self

    @property
    def ends(self) -> list[float]:
        """The times of the windows' last samples, in seconds."""
        return [window.time_ns / NS for window in self.windows]

    @property
    def seen(self) -> Any:
        return list(self.windows), +self.drops, +self.resets, self.stream.waiting_for()


# --------------------------------------------------------------------------------------- timelines


def test_a_gap_empties_the_window() -> None:
    case = Case(max_gap_ns=2 * NS).seconds(1, 2, 3, 5, 7, 9.5, 10, 11)
    #             1 2 3 . 5 . 7 | 9.5 10 11
    assert case.ends == [3, 5, 7, 11]
    assert case.resets == {"gap": 1}
    assert not case.drops


def test_without_a_limit_there_are_no_gaps() -> None:
    assert Case().seconds(1, 2, 1000, 1_000_000).ends == [1000, 1_000_000]


def test_late_and_duplicate_samples_are_dropped_and_counted() -> None:
    case = Case().seconds(1, 2, 3, 3, 2, 1, 2.5, 4)
    assert case.ends == [3, 4]
    assert case.drops == {"duplicate": 1, "late": 3}
    assert not case.resets


def test_lateness_puts_samples_in_order() -> None:
    case = Case(lateness_ns=2 * NS).seconds(1, 3, 2, 2, 5, 4)
    assert case.ends == [3]  # 4 and 5 wait for late samples
    assert case.flush().ends == [3, 4, 5]
    assert case.drops == {"duplicate": 1}


def test_a_sample_later_than_allowed_is_late() -> None:
    case = Case(lateness_ns=2 * NS).seconds(1, 2, 3, 6, 3.5, 4.5, 3.2).flush()
    # 6 released all samples up to 4; 3.5 is in order, 3.2 is late
    assert case.ends == [3, 3.5, 4.5, 6]
    assert case.drops == {"late": 1}


def test_a_late_sample_does_not_enter_the_window_after_a_gap() -> None:
    case = Case(lateness_ns=2 * NS, max_gap_ns=5 * NS).seconds(1, 2, 3, 100, 4, 1, 101, 102).flush()
    #   1 2 3 4 | 100 101 102      4 is in order, 1 is late
    assert case.ends == [3, 4, 102]
    assert case.drops == {"late": 1}
    assert case.resets == {"gap": 1}


def test_a_gap_filled_within_the_lateness_is_no_gap() -> None:
    case = Case(lateness_ns=10 * NS, max_gap_ns=2 * NS).seconds(1, 5, 3, 7, 9).flush()
    assert case.ends == [5, 7, 9]
    assert not case.resets


def test_a_gap_hidden_in_late_samples_is_found() -> None:
    case = Case(lateness_ns=10 * NS, max_gap_ns=2 * NS).seconds(10, 1, 11, 12, 2, 3).flush()
    #   1 2 3 | 10 11 12
    assert case.ends == [3, 12]
    assert case.resets == {"gap": 1}


def test_a_clock_set_back_is_followed_after_some_samples() -> None:
    case = Case().seconds(*range(100, 104)).seconds(*range(1, 1 + RESYNC_SAMPLES))
    assert case.drops == {"late": RESYNC_SAMPLES - 1}  # the last of them is in the new window
    assert case.resets == {"clock_back": 1}
    case.seconds(RESYNC_SAMPLES + 1, RESYNC_SAMPLES + 2)
    assert case.ends == [102, 103, RESYNC_SAMPLES + 2]
    assert case.drops == {"late": RESYNC_SAMPLES - 1}


def test_a_few_late_samples_do_not_restart_the_stream() -> None:
    case = Case().seconds(100)
    for start in (101, 102, 103):
        case.seconds(*range(1, RESYNC_SAMPLES)).seconds(start)
    assert not case.resets
    assert case.ends == [102, 103]


def test_a_single_time_in_the_far_future_restarts_the_stream() -> None:
    case = Case(max_gap_ns=5 * NS).seconds(1, 2, 3, 10**9).seconds(*range(4, 40))
    assert case.resets == {"gap": 1, "clock_back": 1}
    assert case.drops == {"late": RESYNC_SAMPLES - 1}
    assert case.ends == [3, *range(3 + RESYNC_SAMPLES + 2, 40)]


def test_after_a_clock_set_back_no_old_value_is_held() -> None:
    case = Case().seconds(*range(100, 104), value=5).seconds(*range(RESYNC_SAMPLES), value=NAN)
    assert case.stream.waiting_for() == [0]
    assert case.drops["invalid_value"] == 1
    case.seconds(50, 51, 52, value=6)
    assert case.windows[-1].values == np.full(3, 6, np.float32).tobytes()


def test_hold_repeats_the_last_good_value_and_counts_it() -> None:
    case = Case(channels=2)
    case.push([(1, (1, 10), False), (2, (NAN, 20), False), (3, (NAN, NAN), False)])
    case.push([(4, (4, 40), False), (5, (5, 50), False), (6, (6, 60), False)])
    held = np.array([[1, 10], [1, 20], [1, 20]], np.float32)
    assert case.windows[0] == (held.tobytes(), 3, 3, False)
    assert [window.substituted for window in case.windows] == [3, 3, 2, 0]
    assert not case.drops


def test_drop_drops_the_sample() -> None:
    case = Case(channels=2, invalid="drop")
    case.push([(1, (1, 1), False), (2, (NAN, 2), False), (3, (3, 3), False), (4, (4, 4), False)])
    assert case.windows[0].values == np.array([1, 1, 3, 3, 4, 4], np.float32).tobytes()
    assert case.windows[0].substituted == 0
    assert case.drops == {"invalid_value": 1}


@pytest.mark.parametrize("policy", ["hold", "drop"])
def test_a_channel_that_never_had_a_value(policy: Policy) -> None:
    case = Case(channels=3, invalid=policy)
    case.push([(time, (1, NAN, 3), False) for time in range(1, 6)])
    assert case.stream.waiting_for() == [1]
    assert not case.windows
    assert case.drops == {"invalid_value": 5}
    case.push([(time, (1, 2, 3), False) for time in range(6, 9)])
    assert case.stream.waiting_for() == []
    assert len(case.windows) == 1


def test_waiting_for_before_the_first_sample() -> None:
    assert Case(channels=2).stream.waiting_for() == [0, 1]


# ------------------------------------------------------------------------------- naive reference


class Naive:
    """The rules in their simplest form: one sample at a time, with the whole history."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.rule = case
        self.windows = Windows()
        self.drops: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.history: list[tuple[int, list[float], int, bool]] = []
        self.good = [NAN] * case["channels"]
        self.waiting: list[tuple[int, tuple[float, ...], bool]] = []
        self.newest = self.last = -1
        self.late = 0

    def arrive(self, sample: Sample) -> None:
        time_ns = sample[0]
        if time_ns == self.last or time_ns in [other[0] for other in self.waiting]:
            self.drops["duplicate"] += 1
            self.late = 0
            return
        if time_ns < self.last:
            self.late += 1
            if self.late < RESYNC_SAMPLES:
                self.drops["late"] += 1
                return
            self.release(self.newest)
            self.resets["clock_back"] += 1
            self.history.clear()
            self.good = [NAN] * self.rule["channels"]
            self.newest = self.last = -1
        self.late = 0
        insort(self.waiting, sample, key=lambda waiting: waiting[0])
        self.newest = max(self.newest, time_ns)
        self.release(self.newest - self.rule["lateness_ns"])

    def release(self, until: int) -> None:
        while self.waiting and self.waiting[0][0] <= until:
            self.take(self.waiting.pop(0))

    def take(self, sample: Sample) -> None:
        time_ns, values, uncertain = sample
        gap = self.rule["max_gap_ns"]
        if gap is not None and self.last >= 0 and time_ns - self.last > gap:
            self.resets["gap"] += 1
            self.history.clear()
        self.last = time_ns
        bad = [value != value for value in values]
        self.good = [
            old if is_bad else value
            for old, value, is_bad in zip(self.good, values, bad, strict=True)
        ]
        never = any(value != value for value in self.good)
        if any(bad) and (self.rule["invalid"] == "drop" or never):
            self.drops["invalid_value"] += 1
            return
        self.history.append((time_ns, list(self.good), sum(bad), uncertain))
        length, hop = self.rule["length"], self.rule["hop"]
        if len(self.history) >= length and (len(self.history) - length) % hop == 0:
            part = self.history[-length:]
            rows = np.array([row for _, row, _, _ in part], np.float32)
            substituted = sum(count for _, _, count, _ in part)
            self.windows.emit(rows, time_ns, substituted, any(flag for *_, flag in part))

    @property
    def seen(self) -> Any:
        missing = [index for index, value in enumerate(self.good) if value != value]
        return list(self.windows), self.drops, self.resets, missing


def arrivals(seed: int, count: int, channels: int, trouble: float) -> list[Sample]:
    """Samples with jitter, gaps, duplicates, late ones, a clock set back, NaN, uncertain values."""
    rng = np.random.default_rng(seed)
    now = 10_000
    samples: list[Sample] = []
    for number in range(count):
        time_ns = now
        if rng.random() < trouble:
            kind = rng.integers(6)
            if kind == 0:
                time_ns = now - int(rng.integers(0, 60))  # late or duplicate
            elif kind == 1:
                time_ns = samples[-1][0] if samples else now
            elif kind == 2:
                now = time_ns = now + int(rng.integers(30, 80))  # a gap
            elif kind == 3:
                time_ns = now + int(rng.integers(0, 200))  # ahead
            elif kind == 4 and rng.random() < 0.2:
                now = time_ns = max(100, now - int(rng.integers(50, 5000)))  # the clock set back
            else:
                now += 7
        now += 10
        row = [float(number) if rng.random() > trouble / 2 else NAN for _ in range(channels)]
        samples.append((time_ns, tuple(row), bool(rng.random() < trouble / 4)))
    return samples


def cut(samples: list[Sample], seed: int, mean: int) -> list[list[Sample]]:
    """Divide into blocks of random sizes."""
    rng = np.random.default_rng(seed)
    blocks = []
    while samples:
        size = int(rng.geometric(1 / mean))
        blocks.append(samples[:size])
        samples = samples[size:]
    return blocks


CASES = st.fixed_dictionaries(
    {
        "length": st.integers(1, 12),
        "hop": st.integers(1, 20),
        "channels": st.integers(1, 3),
        "max_gap_ns": st.sampled_from([None, 10, 25, 60]),
        "lateness_ns": st.sampled_from([0, 0, 15, 45, 200]),
        "invalid": st.sampled_from(["hold", "drop"]),
    }
)


@settings(deadline=None, max_examples=250)
@given(
    case=CASES,
    seed=st.integers(0, 10**6),
    count=st.integers(1, 250),
    trouble=st.sampled_from([0.0, 0.02, 0.2, 0.7]),
    mean=st.sampled_from([1, 3, 30, 1000]),
)
def test_any_blocks_agree_with_the_naive_reference(
    case: dict[str, Any], seed: int, count: int, trouble: float, mean: int
) -> None:
    samples = arrivals(seed, count, case["channels"], trouble)
    naive, stream = Naive(case), Case(**case)
    for sample in samples:
        naive.arrive(sample)
    for block in cut(samples, seed, mean):
        stream.push(block)
    assert stream.seen == naive.seen
    naive.release(naive.newest)
    assert stream.flush().seen == naive.seen


@settings(deadline=None, max_examples=100)
@given(
    case=CASES,
    seed=st.integers(0, 10**6),
    lateness=st.integers(1, 300),
    mean=st.sampled_from([1, 20]),
)
def test_lateness_gives_the_same_as_sorted_input(
    case: dict[str, Any], seed: int, lateness: int, mean: int
) -> None:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(1, 30, 120) + 50 * (rng.random(120) < 0.05))
    samples: list[Sample] = [
        (int(time_ns), tuple(rng.normal(size=case["channels"]).tolist()), False)
        for time_ns in times
    ]
    arrival = times + rng.integers(0, lateness + 1, len(times))
    shuffled = [samples[index] for index in np.argsort(arrival, kind="stable")]
    in_order = Case(**case | {"lateness_ns": 0})
    out_of_order = Case(**case | {"lateness_ns": lateness})
    in_order.push(samples)
    for block in cut(shuffled, seed, mean):
        out_of_order.push(block)
    assert out_of_order.flush().seen == in_order.flush().seen
    assert not out_of_order.drops


@settings(deadline=None, max_examples=60)
@given(case=CASES, seed=st.integers(0, 10**6), trouble=st.sampled_from([0.05, 0.5]))
def test_every_sample_is_in_the_history_or_counted(
    case: dict[str, Any], seed: int, trouble: float
) -> None:
    """With windows of one sample, windows and drops add up to the samples sent."""
    samples = arrivals(seed, 150, case["channels"], trouble)
    stream = Case(**case | {"length": 1, "hop": 1})
    stream.push(samples)
    stream.flush()
    assert len(stream.windows) + stream.drops.total() == len(samples)


# ---------------------------------------------------------------------------------------- aligned


def aligned(
    method: str = "hold", *, max_age: float = 2, lateness: float = 0, **changes: Any
) -> Case:
    rule = AlignSettings(method, NS, round(max_age * NS), round(lateness * NS))  # type: ignore[arg-type]
    fields = {"period_ns": NS, "max_gap_ns": 5 * NS, "align": rule, "lateness_ns": rule.lateness_ns}
    return Case(**{"channels": 2, **fields, **changes})


def tag(case: Case, seconds: float, channel: int, value: float, *, uncertain: bool = False) -> None:
    case.stream.push_tag(round(seconds * NS), channel, value, uncertain)


def test_tags_become_windows_on_the_grid() -> None:
    case = aligned()
    for second in range(1, 7):
        tag(case, second, 0, second)
        tag(case, second + 0.4, 1, 10 * second)
    assert case.ends == [4, 5, 6]  # the first of 2, 3, 4: B was first seen at 1.4
    rows = np.array([[2, 10], [3, 20], [4, 30]], np.float32)
    assert case.windows[0] == (rows.tobytes(), 4 * NS, 0, False)
    assert case.flush().ends == [4, 5, 6]  # 6.4 is past the last grid point
    assert not case.drops


def test_a_silent_tag_is_counted_as_substituted() -> None:
    case = aligned(max_age=2)
    for second in range(1, 9):
        tag(case, second, 0, second)
        if second <= 3:
            tag(case, second, 1, second)
    #  second         1 2 3 4 5 6 7       B is older than 2 s from 6 on
    assert case.ends == [3, 4, 5, 6, 7]
    assert [window.substituted for window in case.windows] == [0, 0, 0, 1, 2]


def test_drop_drops_grid_points_with_values_that_are_too_old() -> None:
    case = aligned(max_age=2, invalid="drop", length=1)
    for second in range(1, 9):
        tag(case, second, 0, second)
        if second <= 3:
            tag(case, second, 1, second)
    assert case.ends == [1, 2, 3, 4, 5]
    assert case.drops == {"invalid_value": 2}


def test_a_gap_in_all_tags_empties_the_window() -> None:
    case = aligned(max_age=100)
    for second in [1, 2, 3, 20, 21, 22]:
        tag(case, second, 0, second)
        tag(case, second, 1, second)
    # the grid points before the gap were released
    assert case.flush().ends == [3, 22]
    assert case.resets == {"gap": 1}


def test_uncertain_tags_make_uncertain_windows() -> None:
    for method in ("hold", "linear"):
        case = aligned(method)
        for second in range(1, 10):
            tag(case, second, 0, 1, uncertain=second == 4)
            tag(case, second, 1, 1)
        assert case.ends == [3, 4, 5, 6, 7, 8]
        flags = [window.uncertain for window in case.windows]
        assert flags == [False, True, True, True, False, False]


def test_uncertain_aligned_rows() -> None:
    case = aligned()
    case.push([(second * NS, (1, 1), second == 4) for second in range(1, 10)])
    assert [window.uncertain for window in case.windows] == [False, True, True, True, False, False]


def test_aligned_rows_hold_missing_values() -> None:
    case = aligned(max_age=1)
    case.push([(second * NS, (second, NAN if second > 3 else 7), False) for second in range(1, 8)])
    assert case.ends == [3, 4, 5, 6]
    assert [window.substituted for window in case.windows] == [0, 1, 2, 3]


def test_aligned_late_and_duplicate_rows_are_counted_once_each() -> None:
    case = aligned()
    rows = [1, 2, 3, 3, 1, 4]
    case.push([(second * NS, (1, 1), False) for second in rows])
    assert case.drops == {"duplicate": 1, "late": 1}


def test_a_clock_set_back_under_alignment() -> None:
    rows = aligned()
    rows.push([(second * NS, (1, 1), False) for second in range(100, 105)])
    rows.push([(second * NS, (2, 2), False) for second in range(1, RESYNC_SAMPLES + 4)])
    assert rows.resets == {"clock_back": 1}
    assert rows.drops == {"late": RESYNC_SAMPLES - 1}
    assert rows.ends == [102, 103, 104, RESYNC_SAMPLES + 2]
    tags = aligned()
    for second in range(100, 105):
        tag(tags, second, 0, 1)
        tag(tags, second, 1, 1)
    for second in range(1, 22):
        tag(tags, second, 0, 2)
        tag(tags, second, 1, 2)
    assert tags.resets == {"clock_back": 1}
    assert tags.drops == {"late": 2 * 16 - 1}
    # B's value at 16 is the first that is accepted, so A is first seen at 17.
    assert tags.ends == [102, 103, 104, 19, 20]
    new = np.full((3, 2), 2, np.float32).tobytes()
    assert [window.values == new for window in tags.windows] == [False] * 3 + [True] * 2


@settings(deadline=None, max_examples=80)
@given(
    method=st.sampled_from(["hold", "linear"]),
    policy=st.sampled_from(["hold", "drop"]),
    lateness=st.sampled_from([0, 2]),
    seed=st.integers(0, 10**6),
    trouble=st.sampled_from([0.0, 0.1, 0.6]),
    mean=st.sampled_from([3, 40]),
)
def test_aligned_rows_give_the_same_in_any_blocks(
    method: str, policy: str, lateness: float, seed: int, trouble: float, mean: int
) -> None:
    samples = [
        (time_ns * NS // 10, values, flag)
        for time_ns, values, flag in arrivals(seed, 120, 2, trouble)
    ]
    whole = aligned(method, lateness=lateness, invalid=policy)
    parts = aligned(method, lateness=lateness, invalid=policy)
    whole.push(samples)
    for block in cut(samples, seed, mean):
        parts.push(block)
    assert parts.seen == whole.seen
    assert parts.flush().seen == whole.flush().seen
    assert trouble or len(whole.windows) > 100


def test_layout_tag_needs_an_alignment() -> None:
    with pytest.raises(ValueError, match="alignment"):
        tag(Case(), 1, 0, 1)


def test_late_values_between_good_ones_do_not_set_an_aligned_clock_back() -> None:
    case = aligned()
    for second in range(100, 100 + 3 * RESYNC_SAMPLES):
        tag(case, second, 0, 1)
        tag(case, second, 1, 1)
        tag(case, 50, 1, 1)
    assert case.drops == {"late": 3 * RESYNC_SAMPLES}
    assert not case.resets


def test_an_emptied_window_is_marked_for_the_engine() -> None:
    case = Case(max_gap_ns=5 * NS).seconds(1, 2, 3)
    assert not case.stream.broken
    case.seconds(1000)
    assert case.stream.broken
