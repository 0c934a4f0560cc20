"""Extra channels: they travel with a stream's samples and change nothing of the model's windows."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.conditioning import Conditioner
from edgeai.streams.factory import open_stream
from edgeai.streams.grid_values import AlignSettings
from edgeai.streams.run import Run
from edgeai.streams.settings import StreamSettings

NS = 10**9
BASE = 1_795_800_000
LENGTH = 4


class Stream:
    """A stream of two signals and, if wanted, an extra one; with all its output."""

    def __init__(self, extras: int, method: str = "", **changes: Any) -> None:
        rule = AlignSettings(method, NS, 5 * NS, 0) if method else None  # type: ignore[arg-type]
        fields: dict[str, Any] = {
            "length": LENGTH, "hop": 1, "channels": 2 + extras, "period_ns": NS,
            "max_gap_ns": 5 * NS, "lateness_ns": 0, "invalid": "hold", "missing": "linear",
            "align": rule, "extras": extras,
        } | changes  # fmt: skip
        self.extras = extras
        self.drops: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.windows: list[tuple[bytes, int, int, bool]] = []
        self.seen: list[list[float]] = []
        """The extra values of each window."""
        self.stream = open_stream(
            StreamSettings(**fields), self.drops, self.resets, self.counts, self.emit
        )
        self.conditioner = Conditioner(
            [1.0] * (2 + extras), [0.0] * (2 + extras), [(0, 90), None, *[None] * extras], "keep"
        )

    def emit(self, window: Any, time_ns: int, substituted: int, uncertain: bool) -> None:
        self.windows.append((window[:, :2].tobytes(), time_ns, substituted, uncertain))
        self.seen.append(window[:, 2:].reshape(-1).tolist())

    def row(self, second: float, values: list[float], arrived: float | None = None) -> None:
        raw = np.array([values[: 2 + self.extras]], np.float32)
        time_ns = round((BASE + second) * NS)
        one = self.conditioner.one(raw[0].tolist())
        if one is not None and self.stream.push_one(time_ns, one):
            self.stream.ring.arrived_ns = round((BASE + (arrived or second)) * NS)
            return
        done = self.conditioner.rows(raw)
        arrived_ns = [round((BASE + (second if arrived is None else arrived)) * NS)]
        self.stream.push_rows([time_ns], done.values, done.invalid, done.uncertain, arrived_ns)

    def outcome(self) -> Any:
        return self.windows, self.drops, self.resets, self.counts


def same(found: list[float], wanted: list[float]) -> bool:
    return np.array_equal(np.array(found), np.array(wanted), equal_nan=True)


def value_of(second: float) -> float:
    """Return the extra value of a sample: known for most of them."""
    return math.nan if int(second) % 5 == 3 else float(int(second) // 4)


SECONDS = st.lists(st.integers(0, 30), min_size=1, max_size=40)
WRONG = st.sets(st.integers(0, 30), max_size=6)


def rows_of(
    order: list[int], wrong: set[int], outside: set[int]
) -> list[tuple[float, list[float]]]:
    rows = []
    for second in order:
        first = math.nan if second in wrong else 95.0 if second in outside else second**2 % 83.0
        rows.append((float(second), [first, second**2 % 13.0, value_of(second)]))
    return rows


@pytest.mark.parametrize("method", ["", "hold", "linear"])
@settings(deadline=None)
@given(
    changes=st.sampled_from([{}, {"invalid": "drop"}, {"missing": "mark"}, {"hop": 4}]),
    order=SECONDS,
    wrong=WRONG,
    outside=WRONG,
    near=st.booleans(),
)
def test_the_models_windows_are_the_same_with_an_extra_signal(
    method: str,
    changes: dict[str, Any],
    order: list[int],
    wrong: set[int],
    outside: set[int],
    near: bool,
) -> None:
    """Holes, late ones, repeats, gaps, values that are missing or out of range: all are as without.

    With an alignment, the extra value is a part of what was sent, so a repeat is one as before.
    """
    order = sorted(order, key=lambda second: second // 3) if near else order
    with_extra, without = Stream(1, method, **changes), Stream(0, method, **changes)
    for index, (second, values) in enumerate(rows_of(order, wrong, outside)):
        for one in (with_extra, without):
            one.row(second, values, 100.0 + index)
    for one in (with_extra, without):
        one.stream.flush()
    assert with_extra.outcome() == without.outcome()


@given(present=st.sets(st.integers(0, 30), min_size=10))
def test_an_extra_value_is_the_one_of_its_sample_and_the_one_before_where_none_came(
    present: set[int],
) -> None:
    stream = Stream(1)
    for second in sorted(present):
        stream.row(second, [float(second), 50.0 + second, value_of(second)])
    stream.stream.flush()
    for (_, time_ns, *_), seen in zip(stream.windows, stream.seen, strict=True):
        last = time_ns // NS - BASE
        wanted = []
        for second in range(last - LENGTH + 1, last + 1):
            measured = max(one for one in present if one <= second)
            wanted.append(value_of(measured))
        assert same(seen, wanted)


def test_a_value_that_is_missing_stays_missing_and_marks_nothing() -> None:
    stream = Stream(1)
    for second in range(5):
        stream.row(second, [1.0, 2.0, math.nan if second == 2 else 7.0])
    assert [window[2:] for window in stream.windows] == [(0, False)] * 2
    assert same(stream.seen[0], [7, 7, math.nan, 7])
    assert stream.stream.waiting_for() == []


def test_a_late_sample_brings_its_extra_value() -> None:
    stream = Stream(1)
    for arrived, second in ((0, 0), (1, 1), (3, 3), (3.5, 2), (4, 4)):
        stream.row(second, [second**2, 0.0, math.nan if second == 2 else float(second)], arrived)
    assert stream.counts["reordered"] == 1
    assert same(stream.seen[-1], [1, math.nan, 3, 4])


def test_a_block_carries_extra_values_and_is_never_taken_as_a_whole_window() -> None:
    stream = Stream(1, hop=LENGTH)
    rows = np.array([[1, 2, math.nan], [1, 2, 4], [1, 2, 4], [1, 2, 5]], np.float32)
    for block in range(3):
        times = [(BASE + LENGTH * block + step) * NS for step in range(LENGTH)]
        assert not stream.stream.awaits_window_of(LENGTH)
        stream.stream.push_block(Run(times, rows, None, times[-1], float(NS), is_block=True))
    assert [window[2:] for window in stream.windows] == [(0, False)] * 3
    assert same(stream.seen[0], [math.nan, 4, 4, 5])


# ------------------------------------------------------------------------------------------- tags


class Tags(Stream):
    """Single values: two signals each second, and an extra one when it changes."""

    def __init__(self, method: str, **changes: Any) -> None:
        super().__init__(1, method, **changes)

    def tag(self, second: float, channel: int, value: float) -> None:
        at_ns = round((BASE + second) * NS)
        self.stream.push_tag(at_ns, channel, value, False, at_ns)

    def both(self, *seconds: float) -> None:
        for second in seconds:
            self.tag(second, 0, second)
            self.tag(second, 1, 2 * second)


@pytest.mark.parametrize("method", ["hold", "linear"])
def test_an_extra_tag_is_held_until_it_changes_and_no_window_waits_for_it(method: str) -> None:
    line = Tags(method)
    line.both(*range(6))
    assert line.windows
    assert all(math.isnan(value) for window in line.seen for value in window)
    line.tag(6, 2, 3.0)
    line.both(*range(6, 40))
    line.tag(40, 2, 8.0)
    line.both(*range(40, 46))
    line.stream.flush()
    assert same(line.seen[20], [3.0] * LENGTH)  # held long beyond `max_age_seconds`
    codes = {value for window in line.seen for value in window if not math.isnan(value)}
    assert codes == {3.0, 8.0}  # never a value between two codes
    assert same(line.seen[-1], [8.0] * LENGTH)
    assert [window[2:] for window in line.windows[1:]] == [(0, False)] * (len(line.windows) - 1)
    assert not line.counts.total()


def test_an_extra_tag_with_a_declared_interval_is_unknown_when_it_is_too_old() -> None:
    line = Tags("hold", intervals_ns=(None, None, NS))
    line.tag(0, 2, 3.0)
    line.both(*range(12))
    assert same(line.seen[-1], [math.nan] * LENGTH)
    assert same(line.seen[0], [3.0] * LENGTH)


def test_an_extra_tag_that_cannot_be_used_is_unknown_from_its_time_on() -> None:
    line = Tags("hold")
    line.tag(0, 2, 3.0)
    line.both(0, 1, 2)
    line.tag(3, 2, math.nan)
    line.both(3, 4, 5, 6)
    assert same(line.seen[0], [3, 3, 3, math.nan])


def test_an_extra_tag_that_is_late_holds_from_now_on() -> None:
    """Its sender's clock is behind: as the only value for hours it must not be dropped."""
    line = Tags("hold")
    line.both(*range(8))
    line.tag(2.5, 2, 4.0)
    line.both(*range(8, 14))
    assert same(line.seen[-1], [4.0] * LENGTH)
    assert line.drops == {}
    assert line.stream.hold(2, 6.0, (BASE + 3) * NS)  # retained, of an hour ago
    line.both(*range(14, 20))
    assert same(line.seen[-1], [6.0] * LENGTH)
    assert [window[2:] for window in line.windows] == [(0, False)] * len(line.windows)


def test_a_retained_tag_is_known_before_the_first_sample() -> None:
    line = Tags("hold")
    assert line.stream.hold(2, 6.0, None)
    line.both(*range(6))
    assert same(line.seen[0], [6.0] * LENGTH)
