"""Aligned streams with late, lost and wrongly stamped samples, compared with the input without.

Two channels at 1 Hz. A holds the number of its second, so a window tells which samples it has.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.factory import open_stream
from edgeai.streams.grid_values import AlignSettings
from edgeai.streams.settings import StreamSettings
from tests.support.windows import Window, Windows

NS = 10**9
BASE = 1_795_800_000
LENGTH = 4
METHODS = ("hold", "linear")
KINDS = ("rows", "tags")


class Sent(NamedTuple):
    """One message: a row, or a value of one channel. Times in seconds after `BASE`."""

    time: float
    arrived: float
    value: float
    channel: int | None = None
    """None: a row."""


class Line:
    """An aligned stream and all its output."""

    def __init__(self, method: str, *, period: float = 1.0, **changes: Any) -> None:
        max_age_ns = changes.pop("max_age_ns", 5 * NS)
        rule = AlignSettings(method, round(period * NS), max_age_ns, 0)  # type: ignore[arg-type]
        fields: dict[str, Any] = {
            "length": LENGTH, "hop": 1, "channels": 2, "period_ns": rule.period_ns,
            "max_gap_ns": 5 * NS, "lateness_ns": 0, "invalid": "hold", "align": rule,
        } | changes  # fmt: skip
        self.drops: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.windows = Windows()
        self.stream = open_stream(
            StreamSettings(**fields), self.drops, self.resets, self.counts, self.windows.emit
        )

    def send(self, messages: list[Sent]) -> Line:
        for message in messages:
            time_ns = round((BASE + message.time) * NS)
            at_ns = round((BASE + message.arrived) * NS)
            if message.channel is None:
                row = np.array([[message.value, 7]], np.float32)
                self.stream.push_rows([time_ns], row, None, None, [at_ns])
            else:
                self.stream.push_tag(time_ns, message.channel, message.value, False, at_ns)
        return self

    def told(self) -> dict[str, int]:
        self.stream.flush()
        return {**+self.drops, **+self.resets, **+self.counts}

    @property
    def flushed(self) -> Windows:
        self.stream.flush()
        return self.windows

    @property
    def good(self) -> list[Window]:
        return [one for one in self.windows if not one.substituted and not one.uncertain]


def steady(kind: str, count: int, phase: float = 0.1) -> list[Sent]:
    """Return samples at 1 Hz, of which nothing is wrong; B is measured later than A."""
    if kind == "rows":
        return [Sent(n, n, n) for n in range(count)]
    pairs = [(Sent(n, n, n, 0), Sent(n + phase, n + phase, 7, 1)) for n in range(count)]
    return [one for pair in pairs for one in pair]


def exchange(messages: list[Sent], first: int, second: int) -> None:
    """Let two messages arrive in each other's place."""
    one, other = messages[first], messages[second]
    messages[first] = other._replace(arrived=one.arrived)
    messages[second] = one._replace(arrived=other.arrived)


def assert_good_as(line: Line, reference: Line, *, least: int) -> None:
    """Check that no good window is wrong, and that windows are only marked, not lost."""
    right = {window.time_ns: window.values for window in reference.windows}
    wrong = [one.time_ns for one in line.good if right.get(one.time_ns) != one.values]
    assert wrong == []
    assert {one.time_ns for one in line.windows} == set(right)
    assert len(line.windows) == len(right)  # no time has two windows
    assert len(line.good) >= least


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_swapped_samples_are_put_in_their_places(kind: str, method: str) -> None:
    clean = Line(method).send(steady(kind, 200))
    step = 1 if kind == "rows" else 2
    messages = steady(kind, 200)
    for first in range(20, 180 * step, 18):
        exchange(messages, first, first + step)
    line = Line(method).send(messages)
    told = line.told()
    assert set(told) == {"reordered"}
    assert told["reordered"] >= 9
    clean.stream.flush()
    assert_good_as(line, clean, least=150)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_samples_far_out_of_order_are_put_in_their_places(kind: str, method: str) -> None:
    """Three in reverse; the window is longer than that, so nothing is late."""
    clean = Line(method, length=8).send(steady(kind, 100))
    step = 1 if kind == "rows" else 2
    messages = steady(kind, 100)
    for first in range(40, 90 * step, 20):
        exchange(messages, first, first + 2 * step)
    line = Line(method, length=8).send(messages)
    assert set(line.told()) == {"reordered"}
    clean.stream.flush()
    assert_good_as(line, clean, least=30)


def test_a_sample_of_no_window_to_come_is_late() -> None:
    messages = steady("rows", 50)
    messages.append(messages.pop(20)._replace(arrived=49.5))
    assert Line("hold").send(messages).told() == {"late": 1, "missing": 1}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("kind", KINDS)
def test_lost_samples_are_counted_and_mark_their_windows(
    kind: str, share: float, seed: int, method: str
) -> None:
    """A rate is learnt where few samples are lost; where many are, it must be declared."""
    clean = Line(method).send(steady(kind, 300))
    chosen = random.Random(seed)
    messages = steady(kind, 300)
    # The first ones show the rate, the last ones that those before them are missing.
    kept = [one for one in messages if one.time < 5 or one.time > 290 or chosen.random() > share]
    declared = (NS, NS) if share == 0.1 else None
    line = Line(method, intervals_ns=declared).send(kept)
    lost = len(messages) - len(kept)
    told = line.told()
    assert set(told) == {"missing"}
    assert lost * 0.8 <= told["missing"] <= lost  # more while the rate is learnt
    clean.stream.flush()
    assert_good_as(line, clean, least=30)


def test_lost_values_of_a_declared_interval_are_counted_from_the_first_on() -> None:
    messages = [one for one in steady("tags", 30) if one.channel == 0 or one.time > 12]
    messages = [one for one in messages if one.time not in {2, 5, 8}]
    line = Line("hold", intervals_ns=(NS, None)).send(messages)
    assert line.told() == {"missing": 3}


@pytest.mark.parametrize("declared", [None, 0])
def test_a_channel_that_changes_now_and_then_lacks_nothing(declared: int | None) -> None:
    chosen = random.Random(4)
    messages = [
        one
        for one in steady("tags", 2000)
        if one.channel == 0 or one.time < 1 or chosen.random() < 0.4
    ]
    line = Line("hold", intervals_ns=(None, declared), max_age_ns=100 * NS, max_gap_ns=100 * NS)
    line.send(messages)
    assert line.told() == {}
    # Without the declaration, the first values may look regular.
    assert len(line.good) >= len(line.windows) - (20 if declared is None else 0) > 1900


def test_a_declared_change_only_channel_may_come_regularly_for_a_while() -> None:
    messages = [one for one in steady("tags", 300) if one.channel == 0 or one.time % 100 < 50]
    line = Line("hold", intervals_ns=(None, 0), max_age_ns=100 * NS, max_gap_ns=100 * NS)
    line.send(messages)
    assert line.told() == {}
    assert len(line.good) == len(line.windows) > 290


@pytest.mark.parametrize("period", [0.1, 5.0])
def test_a_channel_has_a_rate_of_its_own(period: float) -> None:
    """The model takes 1 Hz; B comes at another rate, and one of its values in 20 is lost."""
    values = [Sent(n * period, n * period, 7, 1) for n in range(round(400 / period))]
    kept = [one for n, one in enumerate(values) if n % 20 != 7]
    messages = sorted([*(Sent(n, n, n, 0) for n in range(400)), *kept])
    line = Line("hold", max_age_ns=8 * NS, max_gap_ns=8 * NS).send(messages)
    lost = len(values) - len(kept)
    assert lost - 1 <= line.told()["missing"] <= lost


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ahead", [0.6, 1, 2, 3, 3.7, 4, 10, 250])
def test_a_time_stamp_that_is_ahead_costs_its_sample_only(
    ahead: float, kind: str, method: str
) -> None:
    clean = Line(method).send(steady(kind, 200))
    messages = steady(kind, 200)
    index = 100 if kind == "rows" else 200
    messages[index] = messages[index]._replace(time=100 + ahead)
    line = Line(method).send(messages)
    told = line.told()
    told.pop("reordered", None)
    assert told == {"implausible_time": 1, "missing": 1}
    clean.stream.flush()
    assert_good_as(line, clean, least=190)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ahead", [1, 3, 3.7, 10, 250])
def test_a_first_time_stamp_that_is_ahead_costs_its_sample_only(
    ahead: float, kind: str, method: str
) -> None:
    messages = steady(kind, 100)
    clean = Line(method).send(messages[1:])
    messages[0] = messages[0]._replace(time=ahead)
    line = Line(method).send(messages)
    assert line.told() == {"implausible_time": 1}
    clean.stream.flush()
    assert line.windows == clean.windows


@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_that_is_always_ahead_is_right(kind: str) -> None:
    messages = [one._replace(time=one.time + 250) for one in steady(kind, 50)]
    line = Line("hold").send(messages)
    assert line.told() == {}
    assert len(line.windows) >= 46


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_time_stamp_may_be_the_wrong_one(kind: str) -> None:
    messages = steady(kind, 30)
    messages[-1] = messages[-1]._replace(time=3600)
    assert Line("hold").send(messages).told() == {"implausible_time": 1}


def test_a_clock_that_is_set_ahead_is_followed() -> None:
    messages = steady("rows", 30)
    messages += [one._replace(time=one.time + 3600) for one in steady("rows", 60)[30:]]
    line = Line("hold").send(messages)
    assert line.told() == {"gap": 1}
    assert line.windows[-1].time_ns == (BASE + 3659) * NS


@pytest.mark.parametrize("kind", KINDS)
def test_samples_that_are_sent_again_are_duplicates(kind: str) -> None:
    messages = steady(kind, 100)
    again = [one._replace(arrived=99.5) for one in messages[-40:]]
    line = Line("hold").send(messages + again)
    assert line.told() == {"duplicate": 40}
    assert line.windows == Line("hold").send(messages).flushed


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_two_time_stamps_ahead_in_a_row_cost_their_samples_only(kind: str, method: str) -> None:
    clean = Line(method).send(steady(kind, 200))
    messages = steady(kind, 200)
    step = 1 if kind == "rows" else 2
    for index in (100 * step, 101 * step):
        messages[index] = messages[index]._replace(time=messages[index].time + 3)
    line = Line(method).send(messages)
    assert line.told()["implausible_time"] == 2
    assert "late" not in line.drops
    clean.stream.flush()
    assert_good_as(line, clean, least=185)


@pytest.mark.parametrize("kind", KINDS)
def test_where_all_pairs_are_swapped_the_rate_stays_known(kind: str) -> None:
    clean = Line("hold").send(steady(kind, 200))
    messages = steady(kind, 200)
    step = 1 if kind == "rows" else 2
    for first in range(20 * step, 198 * step, 2 * step):
        exchange(messages, first, first + step)
    line = Line("hold").send(messages)
    assert set(line.told()) == {"reordered"}
    clean.stream.flush()
    assert_good_as(line, clean, least=15)


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_set_back_of_the_clock_marks_the_windows_over_it(kind: str) -> None:
    """Three samples of times that were used are dropped; then the time goes on."""
    messages = steady(kind, 100)
    moved = [one._replace(time=one.time - 3 * (one.arrived >= 50)) for one in messages]
    line = Line("hold").send(moved)
    assert set(line.told()) <= {"late", "duplicate"}
    for window in line.good:
        values = np.frombuffer(window.values, np.float32).reshape(LENGTH, 2)[:, 0]
        assert set(np.diff(values)) == {1.0}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 6, 10])
def test_new_samples_that_overtake_a_backlog_make_no_window_twice(
    count: int, kind: str, method: str
) -> None:
    clean = Line(method).send(steady(kind, 150))
    step = 1 if kind == "rows" else 2
    messages = steady(kind, 150)
    first, last = 60 * step, 100 * step
    new = messages[last : last + count * step]
    old = [one._replace(arrived=100 + count + 0.5) for one in messages[first:last]]
    line = Line(method).send([*messages[:first], *new, *old, *messages[last + count * step :]])
    assert line.told() == {"gap": 1}
    clean.stream.flush()
    assert_good_as(line, clean, least=140)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("delay", [0.001, 0.3, 1.5])
@pytest.mark.parametrize("kind", KINDS)
def test_where_each_message_comes_twice_the_second_is_dropped(
    kind: str, delay: float, method: str
) -> None:
    messages = [one._replace(arrived=one.arrived + 0.02) for one in steady(kind, 100)]
    again = [one._replace(arrived=one.arrived + delay) for one in messages]
    line = Line(method).send(sorted([*messages, *again], key=lambda one: one.arrived))
    assert line.told() == {"duplicate": len(messages)}
    assert line.windows == Line(method).send(messages).flushed


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from(METHODS),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10**6),
    phase=st.floats(0, 0.9),
)
def test_no_good_window_is_wrong_and_no_sample_uncounted(
    method: Literal["hold", "linear"], kind: str, seed: int, phase: float
) -> None:
    """Some samples are lost, swapped, sent twice or stamped ahead, one after the other."""
    chosen = random.Random(seed)
    clean = Line(method).send(steady(kind, 200, phase))
    clean.stream.flush()
    messages = steady(kind, 200, phase)
    step = 1 if kind == "rows" else 2
    faults: Counter[str] = Counter()
    again: list[Sent] = []
    for index in range(25 * step, 190 * step, 8 * step):
        fault = chosen.choice(["lost", "swapped", "twice", "ahead", "none"])
        faults[fault] += 1
        if fault == "lost":
            messages[index] = messages[index]._replace(value=-1)
        elif fault == "swapped":
            exchange(messages, index, index + step)
        elif fault == "twice":
            again.append(messages[index]._replace(arrived=messages[index].arrived + 1.5))
        elif fault == "ahead":
            ahead = chosen.choice([1, 2, 3, 30])
            messages[index] = messages[index]._replace(time=messages[index].time + ahead)
    kept = [one for one in messages if one.value != -1] + again
    line = Line(method).send(sorted(kept, key=lambda one: one.arrived))
    told = line.told()
    assert told.get("duplicate", 0) == faults["twice"]
    assert told.get("implausible_time", 0) == faults["ahead"]
    assert told.get("missing", 0) == faults["ahead"] + faults["lost"]
    assert "late" not in told
    assert_good_as(line, clean, least=40)
