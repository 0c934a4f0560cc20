"""Alignment to the model's grid, compared with brute force over the whole history.

A grid point is returned once a newer time was seen:

    time    0    1    2    3    4 s
    A       a0        a2   a3
    B         b1           b3
    hold         a0b1 a2b1 a3b3
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.align import Aligner, align_row
from edgeai.streams.grid_values import METHODS, AlignSettings, GridRow

NS = 10**9
NAN = math.nan
Method = Literal["hold", "linear"]
Event = tuple[float, int, float]


def aligner(
    method: Method = "hold",
    channels: int = 2,
    *,
    period: float = 1,
    max_age: float = 5,
    lateness: float = 0,
) -> Aligner:
    nanoseconds = [round(seconds * NS) for seconds in (period, max_age, lateness)]
    return Aligner(AlignSettings(method, *nanoseconds), channels)


def feed(one: Aligner, events: list[Event]) -> tuple[list[GridRow], list[str | None]]:
    """Add values at seconds; return the grid rows and, for each value, why it was refused."""
    rows, outcomes = [], []
    for seconds, channel, value in events:
        outcomes.append(one.add(round(seconds * NS), channel, value))
        rows += one.take_rows()
    return rows, outcomes


def plain(rows: list[GridRow]) -> list[tuple[float, list[float], int]]:
    return [(row.time_ns / NS, row.values, len(row.held)) for row in rows]


def test_every_declared_method_exists() -> None:
    assert get_args(get_type_hints(AlignSettings)["method"]) == tuple(METHODS)


def test_hold_keeps_the_last_value() -> None:
    one = aligner()
    events: list[Event] = [(0, 0, 10), (0.5, 1, 1), (2, 0, 12), (3, 0, 13), (3, 1, 3), (3.1, 0, 99)]
    rows, outcomes = feed(one, events)
    assert plain(rows) == [(1, [10, 1], 0), (2, [12, 1], 0), (3, [13, 3], 0)]
    assert set(outcomes) == {None}


def test_a_value_at_a_grid_point_counts_for_it() -> None:
    """A grid point waits for a newer time, so it has all tags of its own time."""
    one = aligner(channels=3)
    rows, _ = feed(one, [(1, 0, 1), (1, 1, 2), (1, 2, 3), (2, 2, 30), (2, 0, 10), (2, 1, 20)])
    assert plain(rows) == [(1, [1, 2, 3], 0)]
    assert plain(one.take_rows(everything=True)) == [(2, [10, 20, 30], 0)]


def test_linear_interpolates_between_neighbours() -> None:
    one = aligner("linear", 1)
    rows, _ = feed(one, [(0.5, 0, 5), (2.5, 0, 25), (4, 0, 10), (4.5, 0, 0)])
    assert plain(rows) == [(1, [10], 0), (2, [20], 0), (3, [20], 0), (4, [10], 0)]


def test_linear_waits_for_the_next_value_up_to_the_maximum_age() -> None:
    one = aligner("linear", 2, max_age=3)
    assert plain(feed(one, [(0, 0, 0), (0, 1, 0), (1, 0, 1)])[0]) == [(0, [0, 0], 0)]
    assert plain(feed(one, [(2, 0, 2), (3, 0, 3)])[0]) == []  # B may still arrive
    # ... B's last value is now older than 3 s: it is held and counted; A is known up to 3.
    assert plain(feed(one, [(4, 0, 4)])[0]) == [(1, [1, 0], 1), (2, [2, 0], 1), (3, [3, 0], 1)]


def test_linear_does_not_interpolate_over_a_long_step() -> None:
    one = aligner("linear", 1, max_age=2)
    rows, _ = feed(one, [(0, 0, 0), (4, 0, 40), (5, 0, 50)])
    assert plain(rows) == [(0, [0], 0), (1, [0], 1), (2, [0], 1), (3, [0], 1), (4, [40], 0)]


def test_hold_counts_values_that_are_too_old() -> None:
    one = aligner(max_age=2)
    rows, _ = feed(one, [(0, 1, 7), (0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 0, 4)])
    assert [len(row.held) for row in rows] == [0, 0, 0, 1]
    assert [row.values[1] for row in rows] == [7, 7, 7, 7]


@pytest.mark.parametrize("start", [0.0, 0.3, 100.7])
def test_the_grid_does_not_depend_on_the_start(start: float) -> None:
    one = aligner(channels=1, period=0.25)
    rows, _ = feed(one, [(start, 0, 1), (start + 3, 0, 1)])
    assert rows[0].time_ns >= start * NS
    assert rows[0].time_ns - start * NS < 0.25 * NS
    assert all(row.time_ns % (NS // 4) == 0 for row in rows)


def test_no_rows_before_every_channel_had_a_value() -> None:
    one = aligner(channels=3)
    assert one.waiting_for() == [0, 1, 2]
    rows, _ = feed(one, [(0, 0, 1), (1, 2, 1), (2, 0, 2), (3, 2, 3), (3, 1, NAN)])
    assert rows == []
    assert one.waiting_for() == [1]
    assert one.take_rows(everything=True) == []
    rows, _ = feed(one, [(3.5, 1, 7), (5, 0, 5)])
    assert plain(rows) == [(4, [2, 7, 3], 0)]
    assert one.waiting_for() == []


def test_late_and_duplicate() -> None:
    one = aligner(channels=1)
    _, outcomes = feed(one, [(0, 0, 0), (2.5, 0, 2), (2, 0, 99), (1, 0, 99), (2.5, 0, 99)])
    assert outcomes == [None, None, "late", "late", "duplicate"]
    # Grid points up to 2 were returned at 2.5: 2 is late; 2.2 is only older than the held value.
    rows, outcomes = feed(one, [(2.2, 0, 99), (3.5, 0, 3)])
    assert outcomes == [None, None]
    assert plain(rows) == [(3, [2], 0)]


def test_lateness_holds_the_grid_back() -> None:
    one = aligner(channels=1, lateness=2)
    rows, outcomes = feed(one, [(0, 0, 0), (3, 0, 30), (1, 0, 10), (2, 0, 20), (4.5, 0, 45)])
    assert set(outcomes) == {None}
    assert plain(rows) == [(0, [0], 0), (1, [10], 0), (2, [20], 0)]
    assert plain(one.take_rows(everything=True)) == [(3, [30], 0), (4, [30], 0)]


@pytest.mark.parametrize("method", ["hold", "linear"])
def test_a_bad_value_is_substituted_by_the_last_good_one(method: Method) -> None:
    #   time   0     1     2     3     4     5
    #   value  1    bad   bad    4     5     6
    #   row    1    (1)   (1)    4     5
    one = aligner(method, 1)
    values = [1, NAN, NAN, 4, 5, 6]
    rows, _ = feed(one, [(time, 0, value) for time, value in enumerate(values)])
    assert plain(rows) == [(0, [1], 0), (1, [1], 1), (2, [1], 1), (3, [4], 0), (4, [5], 0)]


def test_linear_does_not_interpolate_towards_a_bad_value() -> None:
    one = aligner("linear", 1)
    rows, _ = feed(one, [(0, 0, 1), (1.5, 0, NAN), (3.5, 0, 9), (5.5, 0, 9)])
    assert plain(rows) == [
        (0, [1], 0),
        (1, [1], 1),
        (2, [1], 1),
        (3, [1], 1),
        (4, [9], 0),
        (5, [9], 0),
    ]


def test_a_channel_that_begins_bad_still_waits_for_its_first_value() -> None:
    one = aligner(channels=1)
    rows, _ = feed(one, [(0, 0, NAN), (1, 0, NAN)])
    assert rows == []
    assert one.waiting_for() == [0]


def test_uncertain_values_make_uncertain_rows() -> None:
    one = aligner("linear", 1)
    given_ = []
    for seconds, uncertain in [(0, False), (1, False), (2.5, True), (4, False), (5, False)]:
        assert one.add(round(seconds * NS), 0, 1.0, uncertain=uncertain) is None
        given_ += one.take_rows()
    #       0 and 1 are samples, 2 and 3 are interpolated to and from the uncertain one at 2.5
    assert [row.uncertain for row in given_] == [False, False, True, True, False]


def test_restart_keeps_the_last_values_and_clear_does_not() -> None:
    one = aligner()
    feed(one, [(0, 0, 1), (0, 1, 2), (1, 0, 3)])
    one.restart()
    rows, _ = feed(one, [(100, 0, 5), (101, 0, 6)])
    assert plain(rows) == [(100, [5, 2], 1)]
    one.clear()
    assert one.waiting_for() == [0, 1]
    rows, outcomes = feed(one, [(50, 0, 5), (50, 1, 5), (51, 0, 6)])  # earlier than all before
    assert set(outcomes) == {None}
    assert plain(rows) == [(50, [5, 5], 0)]


def test_a_whole_row_at_once() -> None:
    one = aligner()
    assert align_row(one, 0, [1, 2], uncertain=False) is None
    assert one.take_rows() == []
    assert align_row(one, 0, [1, 2], uncertain=False) == "duplicate"
    assert align_row(one, NS, [NAN, 3], uncertain=True) is None
    (row,) = one.take_rows()
    assert row == GridRow(0, [1, 2], (), False)
    assert one.take_rows(everything=True) == [GridRow(NS, [1, 3], (0,), True, 1)]
    assert align_row(one, 0, [1, 2], uncertain=False) == "late"


# ------------------------------------------------------------------------------------- brute force

PERIOD = 10
MAX_AGE = 25


def brute_force(
    method: Method, events: list[tuple[int, int, float]], first: int, last: int
) -> list[tuple[int, list[float], int]]:
    """Compute each grid point from all events."""
    channels = sorted({channel for _, channel, _ in events})
    rows = []
    for at in range(first, last + 1, PERIOD):
        values, substituted = [], 0
        for channel in channels:
            mine: dict[int, float] = {}
            for time_ns, other, value in events:
                if other == channel:
                    mine.setdefault(time_ns, value)  # of two values at one time the first counts
            since = max(moment for moment in mine if moment <= at)
            following = min((moment for moment in mine if moment > at), default=None)
            value = mine[since]
            if method == "hold" or since == at:
                substituted += at - since > MAX_AGE
            elif following is None or following - since > MAX_AGE:
                substituted += 1
            else:
                value += (mine[following] - value) * ((at - since) / (following - since))
            values.append(value)
        rows.append((at, values, substituted))
    return rows


@st.composite
def histories(draw: st.DrawFn, jitter: int) -> list[tuple[int, int, float]]:
    """Values of two channels; each arrives at most the jitter after its time."""
    steps = st.integers(0, 12) | st.sampled_from([0, 10, 10, 10, 20, 30, 40])
    now = 1000 + draw(st.integers(0, 20))
    sent: list[tuple[int, int, float]] = [(now, 0, 1.0), (now, 1, 2.0)]
    for number in range(draw(st.integers(1, 30))):
        now += draw(steps)
        sent.append((now, draw(st.integers(0, 1)), float(number)))
    delays = [0, 0] + [draw(st.integers(0, jitter)) for _ in sent[2:]]
    order = sorted(range(len(sent)), key=lambda index: (sent[index][0] + delays[index], index))
    return [sent[index] for index in order]


@pytest.mark.parametrize("method", ["hold", "linear"])
@pytest.mark.parametrize("jitter", [0, 15])
@settings(deadline=None, max_examples=120)
@given(data=st.data())
def test_as_brute_force(method: Method, jitter: int, data: Any) -> None:
    events = data.draw(histories(jitter))
    one = Aligner(AlignSettings(method, PERIOD, MAX_AGE, jitter), 2)
    given_: list[GridRow] = []
    newest = 0
    for time_ns, channel, value in events:
        newest = max(newest, time_ns)
        assert one.add(time_ns, channel, value) != "late"  # no value exceeds the allowed lateness
        rows = one.take_rows()
        assert all(row.time_ns < newest - jitter for row in rows)
        given_ += rows
    given_ += one.take_rows(everything=True)
    # The grid starts when every channel has a value, at the newest of their times.
    first = -(-events[0][0] // PERIOD) * PERIOD
    found = [(row.time_ns, row.values, len(row.held)) for row in given_]
    assert found == brute_force(method, events, first, newest // PERIOD * PERIOD)
