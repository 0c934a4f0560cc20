"""Samples that are sent again: none is lost or taken twice, and none sets the clock back."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from edgeai.streams.factory import open_stream
from edgeai.streams.grid_values import AlignSettings
from edgeai.streams.kept_samples import KeptSamples
from edgeai.streams.left_rows import MAX_THINNED, MIN_SEEN, LeftRows
from edgeai.streams.settings import StreamSettings
from edgeai.streams.stream import Stream
from tests.support.windows import Windows

NS = 10**9
T0 = 1_700_000_000 * NS
FIELDS: dict[str, Any] = {
    "length": 4, "hop": 4, "channels": 2, "max_gap_ns": None, "lateness_ns": 0, "invalid": "hold",
}  # fmt: skip
LEVELS = np.random.default_rng(3).integers(0, 1 << 30, 30_000).tolist()


class Line:
    """A stream at a rate; a sample's values follow from its number."""

    def __init__(self, rate: float = 1.0, **fields: Any) -> None:
        self.period_ns = round(NS / rate)
        self.settings = StreamSettings(**{**FIELDS, "period_ns": self.period_ns, **fields})
        self.drops = dict.fromkeys(("late", "duplicate", "invalid_value", "implausible_time"), 0)
        self.resets = {"gap": 0, "clock_back": 0}
        self.counts = {"missing": 0, "reordered": 0, "misplaced": 0}
        self.windows = Windows()
        self.arrives = 0
        self.stream: Stream = open_stream(
            self.settings, self.drops, self.resets, self.counts, self.windows.emit
        )

    def take(self, count: int) -> None:
        """Send the first samples together."""
        times = [T0 + number * self.period_ns for number in range(count)]
        rows = np.full((count, 2), 0.5, np.float32)
        rows[:, 0] = np.arange(count)
        for begin in range(0, count, 50):
            part = slice(begin, begin + 50)
            self.stream.push_rows(times[part], rows[part], None, None, times[part])
        self.arrives = count * self.period_ns

    def send(
        self, first: int, count: int, *, pace: float = 1.0, to: int | None = None, levels: int = 0
    ) -> None:
        """Send samples.

        Args:
            first: Number of the first.
            count: How many.
            pace: How much faster than they were measured.
            to: Number of the first by their times; None: the same, so equal samples are sent.
            levels: How many values there are; 0: each sample has its own.
        """
        for number in range(first, first + count):
            time_ns = T0 + (number if to is None else to + number - first) * self.period_ns
            self.arrives += round(self.period_ns / pace)
            value = LEVELS[number] % levels if levels else number
            if not self.stream.push_one(time_ns, (value, 0.5)):
                row = np.array([[value, 0.5]], np.float32)
                self.stream.push_rows([time_ns], row, None, None, [T0 + self.arrives])
            self.stream.ring.arrived_ns = T0 + self.arrives


@pytest.mark.parametrize(
    ("pace", "lateness_ns"), [(0.6, 0), (1.0, 0), (1.9, 0), (1000.0, 0), (1.0, 2 * NS)]
)
@pytest.mark.parametrize(
    ("taken", "first", "again"),
    [
        (1000, 0, 1000), (1000, 300, 700), (2000, 1400, 600), (6000, 0, 3000), (6000, 1000, 1500),
        (20_000, 0, 2000), (20_000, 9000, 1000), (20_000, 15_000, 5000),
    ],
)  # fmt: skip
def test_samples_that_are_sent_again_are_dropped_however_many_and_old_they_are(
    taken: int, first: int, again: int, lateness_ns: int, pace: float
) -> None:
    line, plain = Line(lateness_ns=lateness_ns), Line(lateness_ns=lateness_ns)
    for one in line, plain:
        one.take(taken)
    line.send(first, again, pace=pace)
    for one in line, plain:
        one.send(taken, 50)
    assert line.windows == plain.windows
    assert line.resets == {"gap": 0, "clock_back": 0}
    assert line.drops["late"] + line.drops["duplicate"] == again
    if first >= taken - MIN_SEEN:
        assert line.drops["late"] == 0


def send_coarse(
    line: Line, first: int, count: int, *, back: int = 0, levels: int = 1 << 20
) -> None:
    """Send samples at 10 Hz by a clock of whole seconds; `back` is taken from their stamps."""
    for number in range(first, first + count):
        line.arrives += NS // 10
        row = np.array([[number % levels, 0.5]], np.float32)
        time_ns = T0 + (number - back) // 10 * NS
        line.stream.push_rows([time_ns], row, None, None, [T0 + line.arrives])


@pytest.mark.parametrize(("taken", "first", "again"), [(3000, 0, 3000), (9000, 4000, 600)])
@pytest.mark.parametrize("is_declared", [True, False])
def test_samples_of_a_coarse_clock_that_are_sent_again_are_dropped(
    taken: int, first: int, again: int, is_declared: bool
) -> None:
    resolution_ns = NS if is_declared else None
    line, plain = (Line(10.0, resolution_ns=resolution_ns) for _ in range(2))
    for one in line, plain:
        send_coarse(one, 0, taken)
    send_coarse(line, first, again)
    plain.arrives = line.arrives
    for one in line, plain:
        send_coarse(one, taken, 100)
    assert line.resets == {"gap": 0, "clock_back": 0}
    assert line.drops == {**plain.drops, "duplicate": again}
    assert [one[:2] for one in line.windows] == [one[:2] for one in plain.windows]
    uncertain = [sum(window.uncertain for window in one.windows) for one in (line, plain)]
    assert uncertain[0] <= uncertain[1]  # the plain one waited as long, which is in doubt too


@pytest.mark.parametrize("back", [500, 2000])
def test_a_coarse_clock_that_was_set_back_is_still_known(back: int) -> None:
    line = Line(10.0, resolution_ns=NS)
    send_coarse(line, 0, 3000, levels=7)
    send_coarse(line, 3000, 400, back=back, levels=7)
    assert line.resets["clock_back"] == 1
    assert line.drops["late"] + line.drops["duplicate"] < 250


@pytest.mark.parametrize("method", ["hold", "linear"])
@pytest.mark.parametrize(
    ("taken", "first", "again"), [(1000, 0, 1000), (6000, 1000, 1500), (12_000, 0, 3000)]
)
def test_aligned_samples_that_are_sent_again_are_dropped(
    taken: int, first: int, again: int, method: Any
) -> None:
    align = AlignSettings(method, NS, 5 * NS, 0)
    line, plain = Line(align=align, max_gap_ns=5 * NS), Line(align=align, max_gap_ns=5 * NS)
    for one in line, plain:
        one.take(taken)
    line.send(first, again)
    for one in line, plain:
        one.send(taken, 50)
    assert line.windows == plain.windows
    assert line.resets == {"gap": 0, "clock_back": 0}
    assert line.drops["late"] + line.drops["duplicate"] == again
    if first >= taken - MIN_SEEN:
        assert line.drops["late"] == 0


def test_aligned_values_that_are_sent_again_are_dropped() -> None:
    """Single values of two channels, the second slower."""

    def send(line: Line, first: int, count: int) -> None:
        for number in range(first, first + count):
            line.arrives += NS
            for channel in (0, 1) if number % 5 == 0 else (0,):
                line.stream.push_tag(
                    T0 + number * NS, channel, float(number), False, T0 + line.arrives
                )

    align = AlignSettings("hold", NS, 20 * NS, 0)
    line, plain = Line(align=align, max_gap_ns=20 * NS), Line(align=align, max_gap_ns=20 * NS)
    for one in line, plain:
        send(one, 0, 2000)
    send(line, 0, 2000)
    for one in line, plain:
        send(one, 2000, 50)
    assert line.windows == plain.windows
    assert line.resets == {"gap": 0, "clock_back": 0}
    assert line.drops == {**plain.drops, "duplicate": 2400}


def test_an_aligned_clock_that_was_set_back_is_still_known() -> None:
    line = Line(align=AlignSettings("hold", NS, 5 * NS, 0), max_gap_ns=5 * NS)
    line.take(6000)
    line.send(6000, 200, to=4000)
    assert line.resets["clock_back"] == 1
    assert line.drops["late"] + line.drops["duplicate"] < 20


@pytest.mark.parametrize("rate", [0.2, 10.0])
def test_every_sample_of_an_hour_is_known_at_each_rate(rate: float) -> None:
    line = Line(rate)
    count = max(MIN_SEEN, round(3600 * rate))
    line.take(count)
    line.send(0, 600)
    assert line.drops["duplicate"] == 600
    assert line.resets["clock_back"] == 0


@pytest.mark.parametrize("levels", [0, 100, 3])
@pytest.mark.parametrize(
    ("taken", "to", "most"),
    [(1000, 500, 60), (6000, 4000, 60), (20_000, 18_000, 60), (20_000, 3000, 120), (900, -9e5, 60)],
)
def test_a_clock_that_was_set_back_is_still_known(
    taken: int, to: float, most: int, levels: int
) -> None:
    """New values at times that were used: known in seconds, and later the older the times are."""
    line = Line()
    line.send(0, taken, levels=levels)
    line.send(taken, 200, to=int(to), levels=levels)
    assert line.resets["clock_back"] == 1
    assert line.drops["late"] + line.drops["duplicate"] <= most
    assert 0 <= T0 + (int(to) + 199) * NS - line.windows[-1].time_ns < 4 * NS


def test_what_is_remembered_is_bounded_and_counted() -> None:
    line = Line(10.0)
    settings = line.settings
    rows = LeftRows(MIN_SEEN)
    row = np.zeros((100, 2), np.float32)
    for number in range(0, 400_000, 100):
        times = T0 + np.arange(number, number + 100) * NS
        rows.add(number, times, row)
    held = sum(sys.getsizeof(block.hashes) for block in rows._blocks)
    held += sum(part.nbytes for part in rows._thinned)
    assert len(rows._thinned[0]) <= MAX_THINNED + 1
    assert 4 * MIN_SEEN <= held <= KeptSamples.bytes_of(settings)


def test_what_is_remembered_does_not_depend_on_the_parts_in_which_it_came() -> None:
    many = 30_000
    times = T0 + np.arange(many) * NS
    values = np.random.default_rng(1).normal(size=(many, 2)).astype(np.float32)
    found = []
    for size in (1000, 192, 37, 5):
        rows = LeftRows(MIN_SEEN)
        for number in range(0, many, size):
            end = number + size
            rows.add(number, times[number:end], values[number:end])
            if number % 7 == 0:
                rows.have(times[number : number + 1], values[number : number + 1], number)
        strides = [rows.stride_at(int(time_ns), many) for time_ns in times[::100]]
        found.append((rows.have(times, values, many).tolist(), strides))
    assert all(one == found[0] for one in found)
    assert all(found[0][0][-MIN_SEEN:])
    assert 1000 < sum(found[0][0][:-MIN_SEEN]) < 3000


def test_samples_from_before_a_step_ahead_are_known_after_the_return() -> None:
    """The ring goes back to what it was; what it forgets by that is not counted twice."""
    line = Line(max_gap_ns=5 * NS)
    for begin in range(0, 1000, 100):
        line.send(begin, 100)
        line.send(begin + 5000, 1)
    line.send(1000, 5)
    line.send(0, 1000)
    assert line.drops["duplicate"] == 1000
    assert line.drops["implausible_time"] == 10
    assert line.resets["clock_back"] == 0


def test_what_came_after_a_return_takes_the_place_of_what_was_there() -> None:
    """A ring that goes back to the time before a step has other samples of these numbers then."""
    rows = LeftRows(MIN_SEEN)
    values = np.arange(3000, dtype=np.float32).reshape(-1, 1)
    times = T0 + np.arange(3000) * NS
    rows.add(0, times[:2500], values[:2500])
    rows.add(1000, times[1000:1500] + NS // 2, values[1000:1500])
    found = rows.have(times[:2500], values[:2500], 1500)
    assert found[:1000].all()
    assert not found[1000:].any()
    assert rows.have(times[1000:1500] + NS // 2, values[1000:1500], 1500).all()


@pytest.mark.parametrize(("pace", "is_back"), [(0.3, 0), (0.7, 1), (1.7, 1), (3.0, 0), (50.0, 0)])
def test_new_samples_of_used_times_set_the_clock_back_only_at_their_pace(
    pace: float, is_back: int
) -> None:
    """A backlog comes faster than it was measured, and what trickles in comes slower."""
    line = Line()
    line.send(0, 2000)
    line.send(2000, 300, to=500, pace=pace)
    assert line.resets["clock_back"] == is_back
