"""Streams: order, gaps and unusable values, compared with a naive reference.

Timelines in seconds; `|` empties the window:

    arrives   1 2 3 . . 6 7 8        max gap 2 s: 6 comes 3 s after 3
    window    1 2 3 | 6 7 8
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeai.streams.factory import open_stream
from edgeai.streams.grid_values import AlignSettings
from edgeai.streams.ordered import NO_STEP
from edgeai.streams.settings import StreamSettings
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
        self.counts: Counter[str] = Counter()
        self.windows = Windows()
        self.channels = channels
        self.stream = open_stream(
            StreamSettings(channels=channels, **fields),
            self.drops,
            self.resets,
            self.counts,
            self.windows.emit,
        )

    def push(self, samples: list[Sample], *, fast: bool = False) -> None:
        """Push one block as the engine does."""
        rows = np.array([values for _, values, _ in samples], np.float32)
        rows = rows.reshape(len(samples), self.channels)
        invalid = np.isnan(rows)
        uncertain = np.array([flag for _, _, flag in samples])
        if fast and not invalid.any() and not uncertain.any():
            times = [time_ns for time_ns, _, _ in samples]
            one = len(samples) == 1 and self.stream.push_one(times[0], rows[0].tolist())
            if one or self.stream.push_few(times, rows.reshape(-1).data, 0, len(samples)):
                self.stream.ring.arrived_ns = times[-1]
                return
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
        counts = +self.drops, +self.resets, +self.counts
        return list(self.windows), *counts, self.stream.waiting_for()


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
    assert +case.drops == {"duplicate": 3, "late": 1}
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
    assert +case.drops == {"late": 1}


def test_a_late_sample_does_not_enter_the_window_after_a_gap() -> None:
    case = Case(lateness_ns=2 * NS, max_gap_ns=5 * NS).seconds(1, 2, 3, 100, 4, 1, 101, 102).flush()
    #   1 2 3 4 | 100 101 102      4 is in order, 1 is a duplicate
    assert case.ends == [3, 4, 102]
    assert +case.drops == {"duplicate": 1}
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


# ------------------------------------------------------------------------------------ any blocks


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
        "period_ns": st.sampled_from([None, 10]),
        "missing": st.sampled_from(["hold", "linear", "mark"]),
        "clock_back_ns": st.sampled_from([100, 400]),
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
@example(  # a sample without a value was ahead, and is dropped: the next one has the number it had
    {
        "length": 1,
        "hop": 1,
        "channels": 1,
        "max_gap_ns": 10,
        "lateness_ns": 0,
        "invalid": "hold",
        "period_ns": None,
        "missing": "hold",
        "clock_back_ns": 100,
    },
    0,
    96,
    0.2,
    3,
)
def test_blocks_and_fast_roads_give_the_same_as_single_samples(
    case: dict[str, Any], seed: int, count: int, trouble: float, mean: int
) -> None:
    samples = arrivals(seed, count, case["channels"], trouble)
    single, blocks = Case(**case), Case(**case)
    single.stream._plain_step_ns = NO_STEP  # type: ignore[attr-defined]
    for sample in samples:
        single.push([sample])
        single.stream._plain_step_ns = NO_STEP  # type: ignore[attr-defined]
    for block in cut(samples, seed, mean):
        blocks.push(block, fast=True)
    assert blocks.seen == single.seen
    assert blocks.flush().seen == single.flush().seen


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
    # What turned out to have a wrong time had its window already.
    dropped = stream.drops.total() - stream.drops["implausible_time"]
    assert len(stream.windows) + dropped + stream.counts["reordered"] == len(samples)


# ---------------------------------------------------------------------------------------- aligned


def aligned(
    method: str = "hold", *, max_age: float = 2, lateness: float = 0, **changes: Any
) -> Case:
    rule = AlignSettings(method, NS, round(max_age * NS), round(lateness * NS))  # type: ignore[arg-type]
    fields = {"period_ns": NS, "max_gap_ns": 5 * NS, "align": rule, "lateness_ns": rule.lateness_ns}
    return Case(**{"channels": 2, **fields, **changes})


def tag(case: Case, seconds: float, channel: int, value: float, *, uncertain: bool = False) -> None:
    case.stream.push_tag(round(seconds * NS), channel, value, uncertain, round(seconds * NS))


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
    assert case.drops == {"duplicate": 2}


def test_a_clock_set_back_under_alignment() -> None:
    rows = aligned()
    rows.push([(second * NS, (1, 1), False) for second in range(100, 105)])
    rows.push([(second * NS, (2, 2), False) for second in range(1, 16)])
    assert rows.resets == {"clock_back": 1}
    assert rows.drops == {"late": 10}
    assert rows.ends == [102, 103, 104, 13, 14]
    tags = aligned()
    for second in range(100, 105):
        tag(tags, second, 0, 1)
        tag(tags, second, 1, 1)
    for second in range(1, 17):
        tag(tags, second, 0, 2)
        tag(tags, second, 1, 2)
    assert tags.resets == {"clock_back": 1}
    assert tags.drops == {"late": 20}
    assert tags.ends == [102, 103, 104, 13, 14, 15]
    new = np.full((3, 2), 2, np.float32).tobytes()
    assert [window.values == new for window in tags.windows] == [False] * 3 + [True] * 3


@settings(deadline=None, max_examples=80)
@example(method="hold", policy="hold", lateness=0, seed=262145, trouble=0.6, mean=3)
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
    with pytest.raises(ValueError, match="single values"):
        tag(Case(), 1, 0, 1)


def test_late_values_between_good_ones_do_not_set_an_aligned_clock_back() -> None:
    case = aligned()
    for second in range(100, 150):
        tag(case, second, 0, 1)
        tag(case, second, 1, 1)
        tag(case, 50, 1, 1)
    assert case.drops == {"late": 50}
    assert not case.resets


def test_an_emptied_window_is_marked_for_the_engine() -> None:
    case = Case(max_gap_ns=5 * NS).seconds(1, 2, 3)
    assert not case.stream.ring.broken
    case.seconds(1000)
    assert case.stream.ring.broken


@pytest.mark.parametrize("method", ["hold", "linear"])
@pytest.mark.parametrize("rate", [1.0, 1.02, 0.98, 0.4, 3.0])
def test_lost_aligned_rows_are_counted_at_the_rate_of_their_sender(
    method: str, rate: float
) -> None:
    case = aligned(method, max_age=5)
    rows = [second for second in range(200) if second % 10 != 5]
    case.push([(round((100 + second / rate) * NS), (second, 1), False) for second in rows])
    assert case.stream.counts["missing"] == 20


def test_a_tag_that_changes_rarely_is_no_loss() -> None:
    case = aligned()
    for second in range(100):
        tag(case, second, 0, second)
        if second % 20 == 0:
            tag(case, second, 1, second)
    assert case.stream.counts["missing"] == 0
