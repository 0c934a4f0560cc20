"""Sources joined into windows, compared with a naive reference that looks at value by value.

Times in seconds, model at 1 Hz, window 3, hop 1; the leading source has `x`, the other one `y`:

    x arrives   0 1 2 3 4        y arrives  0:10  2.5:20
    window at 3                  x 1 2 3    y 10 10 20
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.factory import open_stream
from edgeai.streams.joined import JoinedStream
from edgeai.streams.run import Run, block_times
from edgeai.streams.settings import (
    ContextRule,
    JoinPlan,
    SourceSpec,
    StreamSettings,
    TrackRule,
)
from edgeai.streams.tag_streams import TagStreams

NS = 10**9
LENGTH = 3
Method = Literal["hold", "linear"]
FOREVER = ContextRule(2, None, -1e9, 1e9, None)


class Joined:
    """The sources of one asset and the windows that they make: `x` leads, `y` is beside it."""

    def __init__(
        self,
        *,
        method: Method = "hold",
        max_age: float = 1e6,
        lateness: float = 0.0,
        leads: bool = True,
        tags: bool = False,
        context: tuple[ContextRule, ...] = (),
        hop: int = 1,
    ) -> None:
        rule = TrackRule(method, round(max_age * NS), round(lateness * NS))
        extras = len(context)
        common: dict[str, Any] = {"hop": hop, "max_gap_ns": 100 * NS, "invalid": "hold"}
        window = StreamSettings(
            length=LENGTH, channels=2 + extras, extras=extras, period_ns=NS,
            lateness_ns=rule.lateness_ns, **common,
        )  # fmt: skip
        one = StreamSettings(length=LENGTH, channels=1, period_ns=NS, lateness_ns=0, **common)
        side = StreamSettings(
            length=64, hop=1 << 20, channels=1 if tags else 1 + extras,
            extras=0 if tags else extras, period_ns=None, max_gap_ns=None, lateness_ns=0,
            invalid="hold",
        )  # fmt: skip
        places = (1, *range(2, 2 + extras))
        x_rule = None if leads else rule
        x_settings = one if leads else side
        specs = (
            SourceSpec(x_settings, (0,), x_rule),
            SourceSpec(side, places, rule, is_tags=tags),
        )
        plan = JoinPlan(2, specs, context)
        self.drops: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.windows: list[tuple[float, list[float], list[float], int, bool]] = []
        self.marks: list[dict[int, str]] = []
        self.contexts: list[list[float]] = []
        stream = open_stream(
            StreamSettings(**{**window.__dict__, "joined": plan}),
            self.drops, self.resets, self.counts, self._emit,
        )  # fmt: skip
        assert isinstance(stream, JoinedStream)
        self.stream = stream

    def _emit(self, window: Any, time_ns: int, substituted: int, uncertain: bool) -> None:
        x, y = window[:, 0].tolist(), window[:, 1].tolist()
        self.windows.append((time_ns / NS, x, y, substituted, uncertain))
        self.marks.append(dict(self.stream.marks))
        self.contexts.append(self.stream.context.tolist())

    def x(self, *times: float, at: float | None = None) -> None:
        """Push samples of `x`: each value is its time."""
        for time in times:
            self._row(0, time, [time], at)

    def y(self, time: float, *values: float, at: float | None = None) -> None:
        """Push a sample of the other source."""
        self._row(1, time, list(values), at)

    def tag(self, channel: int, time: float, value: float) -> None:
        """Push a value of the other source, which has tags."""
        self.stream.sources[1].push_tag(round(time * NS), channel, value, False, round(time * NS))
        self.stream.release(1)

    def _row(self, source: int, time: float, values: list[float], at: float | None) -> None:
        row = np.array([values], np.float32)
        bad = np.isnan(row)
        time_ns = round(time * NS)
        self.stream.sources[source].push_rows(
            [time_ns], row, bad if bad.any() else None, None,
            [time_ns if at is None else round(at * NS)],
        )  # fmt: skip
        self.stream.release(source)


def value_at(known: list[tuple[float, float]], time: float, method: Method) -> float | None:
    """Return the naive value as of a time; None if there is none."""
    before = [one for one in sorted(known) if one[0] <= time]
    after = [one for one in sorted(known) if one[0] > time]
    if not before:
        return None
    if method == "hold" or not after or before[-1][0] == time:
        return before[-1][1]
    (t0, v0), (t1, v1) = before[-1], after[0]
    return v0 + (v1 - v0) * (time - t0) / (t1 - t0)


@settings(max_examples=30, deadline=None)
@given(
    order=st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=4, max_size=40),
    method=st.sampled_from(("hold", "linear")),
    leads=st.booleans(),
)
def test_windows_hold_what_a_look_at_every_value_finds(
    order: list[tuple[bool, int]], method: Method, leads: bool
) -> None:
    joined = Joined(method=method, leads=leads)
    known: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    moment = 0.0
    for is_x, quarter in order:
        before = len(joined.windows)
        if is_x:
            time = float(len(known[0]))
            joined.x(time)
            known[0].append((time, time))
        else:
            moment = max(moment + 0.25 * quarter + 0.125, float(len(known[0])) - 1)
            joined.y(moment, 10 * moment)
            known[1].append((moment, 10 * moment))
        for end, x, y, _, _ in joined.windows[before:]:
            times = [end - 2, end - 1, end]
            for channel, found in ((0, x), (1, y)):
                how = "hold" if channel == 0 and leads else method
                wanted = [value_at(known[channel], time, how) for time in times]
                assert found == pytest.approx(wanted, abs=1e-4)
    if leads:  # a window for each sample from the third on, once `y` has had a value
        ends = [one[0] for one in joined.windows]
        assert ends == sorted(set(ends))


def test_every_window_comes_once_the_other_source_has_a_value() -> None:
    joined = Joined()
    joined.x(0, 1, 2)
    assert joined.windows == []
    assert joined.stream.waiting_for() == [1]
    joined.y(2.5, 10)
    joined.x(3, 4)
    assert joined.windows == []  # at 2 there was none
    joined.x(5)
    assert joined.windows == [(5.0, [3, 4, 5], [10, 10, 10], 0, False)]
    assert joined.stream.waiting_for() == []


def test_a_window_waits_for_a_source_as_long_as_declared() -> None:
    joined = Joined(lateness=2)
    joined.y(0, 10)
    joined.x(0, 1, 2, 3)
    assert joined.windows == []
    joined.y(2, 20)
    assert [one[2] for one in joined.windows] == [[10, 10, 20]]
    joined.x(4)
    assert len(joined.windows) == 1
    joined.x(5)  # 2 s after the window that ends at 3
    assert [(one[0], one[2]) for one in joined.windows[1:]] == [(3.0, [10, 20, 20])]


def test_the_end_of_the_input_releases_the_windows_that_wait() -> None:
    joined = Joined(lateness=60)
    joined.y(0, 10)
    joined.x(0, 1, 2, 3)
    joined.stream.flush()
    assert [one[0] for one in joined.windows] == [2.0, 3.0]


def test_a_value_older_than_its_age_is_substituted_and_marked() -> None:
    joined = Joined(max_age=2.5)
    joined.y(0, 10)
    joined.x(0, 1, 2, 3, 4)
    assert [(one[3], marks) for one, marks in zip(joined.windows, joined.marks, strict=True)] == [
        (0, {}), (1, {1: "old"}), (2, {1: "old"}),
    ]  # fmt: skip


def test_a_value_that_is_due_and_has_not_come_is_late_then_missing() -> None:
    joined = Joined()
    for second in range(22):
        if second not in {17, 18}:
            joined.y(second, second)
        joined.x(second)
    pairs = zip(joined.windows, joined.marks, strict=True)
    by_end = {one[0]: (one[3], mark) for one, mark in pairs}
    assert by_end[16.0] == (0, {})
    assert by_end[18.0] == (1, {1: "late"})
    assert by_end[19.0] == (2, {1: "missing"})
    assert joined.counts["missing"] == 2


def test_an_unusable_value_is_held_and_marked_as_missing() -> None:
    joined = Joined()
    joined.y(0, 10)
    joined.x(0, 1)
    joined.y(1.5, float("nan"))
    joined.x(2, 3)
    assert joined.windows[-1][2:] == ([10, 10, 10], 2, False)
    assert joined.marks[-1] == {1: "missing"}


@pytest.mark.parametrize("leads", [True, False])
def test_one_time_stamp_ahead_costs_itself(leads: bool) -> None:
    joined = Joined(max_age=60, leads=leads)
    for second in range(12):
        joined.y(second + (500 if second == 5 else 0), second, at=second)
        joined.x(second)
    assert +joined.drops == {"implausible_time": 1}
    assert joined.windows[-1][:3] == (11.0, [9, 10, 11], [9, 10, 11])


def test_a_first_time_stamp_ahead_costs_itself() -> None:
    joined = Joined(max_age=60)
    joined.y(500, 1, at=0)
    joined.y(1, 2, at=1)
    joined.x(1, 2, 3)
    assert +joined.drops == {"implausible_time": 1}
    assert joined.windows[-1][2] == [2, 2, 2]


def test_samples_out_of_order_and_repeated_are_dropped_once_each() -> None:
    joined = Joined()
    for time, value in ((0, 1), (2, 3), (1, 2), (2, 3)):
        joined.y(time, value)
    assert +joined.drops == {"late": 1, "duplicate": 1}


def test_tags_hold_their_values_for_themselves() -> None:
    joined = Joined(tags=True)
    joined.tag(0, 5, 50)
    joined.tag(0, 3, 30)  # late for its tag
    joined.x(5, 6, 7)
    assert joined.windows[-1][2] == [50, 50, 50]
    assert +joined.drops == {"late": 1}


def test_a_retained_value_without_a_time_holds_until_the_next() -> None:
    joined = Joined(tags=True)
    side = joined.stream.sources[1]
    assert isinstance(side, TagStreams)
    assert side.hold(0, 40.0, None)
    assert not side.hold(0, 40.0, None)
    joined.x(0, 1, 2)
    assert joined.windows[-1][2:] == ([40, 40, 40], 0, True)
    joined.tag(0, 2.5, 50)
    assert not side.hold(0, 40.0, None)
    joined.x(3, 4, 5)
    assert joined.windows[-1][2:] == ([50, 50, 50], 0, False)


def test_on_the_grid_one_source_goes_on_when_the_other_is_silent() -> None:
    joined = Joined(leads=False, max_age=3)
    for second in range(10):
        joined.x(second)
        if second < 4:
            joined.y(second, second)
    ends = [one[0] for one in joined.windows]
    assert ends == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert joined.marks[-1] == {1: "old"}


def test_a_long_silence_of_all_sources_makes_no_windows() -> None:
    joined = Joined(leads=False, max_age=3)
    for second in (0, 1, 2, 3, 5000, 5001, 5002, 5003):
        joined.x(second)
        joined.y(second, second)
    assert [one[0] for one in joined.windows] == [2.0, 3.0, 5002.0, 5003.0]
    assert joined.resets == {"gap": 1}


def test_clocks_that_are_all_set_back_start_the_grid_again() -> None:
    joined = Joined(leads=False)
    arrived = 0.0
    for base in (1000, 400):
        for second in range(30):
            arrived += 1
            joined.x(base + second, at=arrived)
            joined.y(base + second, second, at=arrived)
    assert joined.resets["clock_back"] >= 1
    assert joined.windows[-1][0] == 429.0
    assert joined.stream.set_backs.count == 1


def test_a_source_that_is_set_back_again_and_again_keeps_its_rate() -> None:
    joined = Joined(max_age=5)
    arrived = 0.0
    for base in (5000, 4000, 3000, 2000, 1000):
        for second in range(0, 20, 4):
            arrived += 4
            joined.y(base + second, second, at=arrived)
    joined.x(1014, 1015, 1016)
    assert joined.windows[-1][2] == [12, 12, 16]
    assert joined.counts["missing"] == 0


def test_clocks_that_are_set_back_before_the_first_window_cost_no_window() -> None:
    joined = Joined(leads=False)
    joined.x(1000, at=0)
    joined.y(1000, 1, at=0)
    for second in range(1, 40):
        joined.x(400 + second, at=second)
        joined.y(400 + second, second, at=second)
    assert joined.windows[-1][0] == 439.0
    assert joined.stream.set_backs.count == 0


def test_a_waveform_is_joined_block_by_block() -> None:
    joined = Joined()
    joined.y(0, 10)
    joined.y(3.5, 20)
    for start in (0, 4):
        times = block_times(start * NS, NS, 4)
        rows = np.arange(start, start + 4, dtype=np.float32)[:, np.newaxis]
        joined.stream.sources[0].push_block(
            Run(times, rows, None, times[-1], NS, is_block=True, is_clean=True)
        )
        joined.stream.release(0)
    assert [one[1:3] for one in joined.windows] == [
        ([0, 1, 2], [10, 10, 10]), ([1, 2, 3], [10, 10, 10]), ([2, 3, 4], [10, 10, 20]),
        ([3, 4, 5], [10, 20, 20]), ([4, 5, 6], [20, 20, 20]), ([5, 6, 7], [20, 20, 20]),
    ]  # fmt: skip


def test_the_ring_shows_the_samples_of_the_last_window_with_their_numbers() -> None:
    joined = Joined(context=(FOREVER,), hop=1)
    joined.y(0, 1, 7)
    joined.x(0, 1, 2, 3)
    ring = joined.stream.ring
    assert ring.recent[:, 0].tolist() == [1, 2, 3]
    assert (ring.first_number, ring.next_number) == (1, 4)
    assert [ring.time_at(back) // NS for back in (2, 1, 0)] == [1, 2, 3]


def test_a_failure_empties_the_sources() -> None:
    joined = Joined()
    joined.y(0, 10)
    joined.x(0, 1, 2)
    joined.stream.recover(2 * NS, everything=True)
    joined.x(3, 4, 5)
    assert len(joined.windows) == 1
    joined.y(5, 30)
    joined.x(6, 7, 8)
    assert joined.windows[-1] == (8.0, [6, 7, 8], [30, 30, 30], 0, False)
    assert joined.stream.ring.broken


# ------------------------------------------------------------------------------------------ context


def test_the_context_is_that_of_the_windows_end() -> None:
    joined = Joined(context=(FOREVER,))
    joined.y(0, 1, 7)
    joined.x(0, 1, 2)
    joined.y(2.5, 1, 8)
    joined.x(3, 4, 5)
    assert joined.contexts == [[7], [8], [8], [8]]
    assert joined.marks == [{}, {2: "changed"}, {2: "changed"}, {}]
    assert [one[4] for one in joined.windows] == [False, True, True, False]


def test_a_context_without_a_value_holds_windows_back_or_has_its_default() -> None:
    joined = Joined(context=(FOREVER,))
    joined.y(0, 1, float("nan"))
    joined.x(0, 1, 2)
    assert joined.windows == []
    assert joined.stream.waiting_for() == [2]
    other = Joined(context=(ContextRule(2, None, -1e9, 1e9, 5.0),))
    other.y(0, 1, float("nan"))
    other.x(0, 1, 2)
    assert other.contexts == [[5]]
    assert other.marks == [{2: "missing"}]


def test_an_old_context_and_one_outside_its_range_are_uncertain() -> None:
    joined = Joined(context=(ContextRule(2, 3 * NS, 0.0, 10.0, None),))
    joined.y(0, 1, 7)
    joined.x(0, 1, 2, 3, 4)
    joined.y(4.5, 1, 70)
    joined.x(5, 6, 7)
    assert joined.marks[:3] == [{}, {}, {2: "old"}]
    assert joined.marks[-1] == {}
    assert joined.windows[-1][4]
