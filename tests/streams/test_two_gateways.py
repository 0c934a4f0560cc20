"""Samples that come on two ways, as by two gateways: the windows are those of one way.

The reference is the same input without its copies: what each sample does when it comes first must
not depend on whether it comes again, however late.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeai.messages import SECOND_NS
from edgeai.streams.grid_values import AlignSettings
from tests.streams.test_time import Line

START_NS = 1_763_719_200 * SECOND_NS  # a whole minute


class Ways(NamedTuple):
    """A sender, and two ways from it."""

    step_s: float = 0.0
    """Step of its clock; 0: it is fine."""
    per_step: float = 1.0
    """Samples in a step; of a fine clock, in a second."""
    phase: float = 0.0
    """When its first sample is measured, in periods after a whole minute."""
    delay_s: float = 0.0
    """How much later samples come on the second way."""
    lost: float = 0.0
    """Share of the samples that each way loses."""
    burst: int = 1
    """So many samples come together on each way."""
    gap: int = 0
    """So many samples are not sent in the middle."""
    seed: int = 0
    length: int = 1
    is_declared: bool = False
    is_aligned: bool = False

    @property
    def period_ns(self) -> int:
        return round((self.step_s or 1.0) / self.per_step * SECOND_NS)


class Row(NamedTuple):
    arrived_ns: int
    way: int
    number: int
    stamp_ns: int


def rows_of(ways: Ways, samples: int = 80) -> list[Row]:
    """Return what comes on both ways, in this order."""
    draw, period_ns, step_ns = random.Random(ways.seed), ways.period_ns, ways.step_s * SECOND_NS
    came: list[Row] = []
    for number in range(samples):
        place = number + (ways.gap if number >= samples // 2 else 0)
        true_ns = START_NS + round((place + ways.phase) * period_ns)
        stamp_ns = true_ns // int(step_ns) * int(step_ns) if step_ns else true_ns
        for way in (0, 1):
            late_ns = way * ways.delay_s * SECOND_NS + (0.01 + draw.random() / 50) * period_ns
            if draw.random() >= ways.lost:
                came.append(Row(true_ns + round(late_ns), way, number, stamp_ns))
    if ways.burst > 1:
        parts = []
        for way in (0, 1):
            mine = [row for row in came if row.way == way]
            for begin in range(0, len(mine), ways.burst):
                part = mine[begin : begin + ways.burst]
                at_ns = part[-1].arrived_ns
                parts += [
                    row._replace(arrived_ns=at_ns + index * 1000) for index, row in enumerate(part)
                ]
        came = parts
    return sorted(came)


def play(ways: Ways, rows: list[Row], value: Callable[[int], float] = float) -> Line:
    period_ns = ways.period_ns
    changes: dict[str, Any] = {}
    if ways.is_declared and ways.step_s:
        changes["resolution_ns"] = round(ways.step_s * SECOND_NS)
    if ways.is_aligned:
        changes["align"] = AlignSettings("hold", period_ns, 20 * period_ns, 0)
    line = Line(length=ways.length, period_ns=period_ns, max_gap_ns=5 * period_ns, **changes)
    for row in rows:
        values = [value(row.number)]
        if line.stream.push_one(row.stamp_ns, values):
            line.stream.ring.arrived_ns = row.arrived_ns
        else:
            block = np.array([values], np.float32)
            line.stream.push_rows([row.stamp_ns], block, None, None, [row.arrived_ns])
    line.stream.flush()
    return line


def without_copies(rows: list[Row]) -> list[Row]:
    first: dict[int, Row] = {}
    for row in rows:
        first.setdefault(row.number, row)
    return sorted(first.values())


def assert_same_as_one_way(ways: Ways) -> None:
    rows = rows_of(ways)
    once = without_copies(rows)
    line, plain = play(ways, rows), play(ways, once)
    told, right = line.told(), plain.told()
    if "implausible_time" in right or "implausible_time" in told:
        return  # a sample that was taken for wrong comes again, late: it is new
    assert line.windows == plain.windows
    # A copy of a sample that was refused is refused too, as late or as a duplicate.
    refused, right_refused = (one.pop("late", 0) + one.pop("duplicate", 0) for one in (told, right))
    assert refused == right_refused + len(rows) - len(once)
    assert told == right


common: dict[str, Any] = {
    "phase": st.sampled_from([0.0, 0.3, 0.77]),
    "delay_s": st.sampled_from([0.0, 0.002, 0.03, 0.3, 0.9, 1.0]),
    "lost": st.sampled_from([0.0, 0.05]),
    "burst": st.sampled_from([1, 5]),
    "seed": st.integers(0, 10**6),
    "length": st.sampled_from([1, 2, 4]),
    "is_aligned": st.booleans(),
}


@settings(deadline=None, max_examples=40)
@given(
    ways=st.builds(
        Ways,
        step_s=st.just(0.0),
        per_step=st.sampled_from([1.0, 2.0, 10.0, 25.0]),
        gap=st.sampled_from([0, 3, 30]),
        is_declared=st.just(False),
        **common,
    )
)
# Every sample comes twice, and one is lost: a stamp that comes twice is no coarse clock.
@example(ways=Ways(per_step=1.0, delay_s=0.4, lost=0.05, seed=1, length=4))
@example(ways=Ways(per_step=10.0, delay_s=0.04, lost=0.05, seed=2, length=1))
def test_a_fine_clock(ways: Ways) -> None:
    assert_same_as_one_way(ways)


@settings(deadline=None, max_examples=40)
@given(
    ways=st.builds(
        Ways,
        step_s=st.sampled_from([0.5, 1.0, 10.0]),
        per_step=st.sampled_from([1.0, 1.5, 2.0, 2.5, 4.0, 10.0, 25.0]),
        gap=st.just(0),
        is_declared=st.booleans(),
        **common,
    )
)
# A copy in the first stamp, of its only sample, and after older samples that come late:
@example(ways=Ways(0.5, 1.5, phase=0.77, delay_s=0.002, lost=0.05, seed=815160, is_declared=True))
@example(ways=Ways(1.0, 2.0, delay_s=0.9, lost=0.05, seed=297962, length=2, is_declared=True))
@example(ways=Ways(10.0, 25.0, phase=0.77, delay_s=0.9, lost=0.2, seed=953947, length=4))
# The clock is recognized, and copies of what came before come later:
@example(ways=Ways(10.0, 1.5, phase=0.77, delay_s=1.0, lost=0.05, burst=5, seed=784873))
@example(ways=Ways(1.0, 1.5, phase=0.77, delay_s=0.9, seed=312051, is_aligned=True))
@example(ways=Ways(10.0, 25.0, lost=0.2, seed=760076))
# A sample before several late ones has no wrong stamp:
@example(ways=Ways(1.0, 25.0, delay_s=1.0, lost=0.05, burst=5, seed=961711, length=4))
@example(ways=Ways(0.5, 2.0, phase=0.3, delay_s=1.0, lost=0.2, burst=5, seed=122180))
def test_a_coarse_clock_where_values_tell(ways: Ways) -> None:
    assert_same_as_one_way(ways)


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("delay", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("rate_hz", [1, 10])
def test_the_first_sample_comes_twice(rate_hz: int, delay: float, length: int) -> None:
    ways = Ways(per_step=rate_hz, length=length)
    rows = [row for row in rows_of(ways, 10) if row.way == 0]
    late = rows[0]._replace(arrived_ns=rows[0].arrived_ns + round(delay * ways.period_ns))
    line, plain = play(ways, sorted([late, *rows])), play(ways, rows)
    assert line.windows == plain.windows
    assert line.told() == {"duplicate": 1}


# ------------------------------------------------------------------- values that do not always tell

SIGNALS: dict[str, Callable[[int], float]] = {
    "at rest, then moving": lambda n: 7.0 if n < 43 else float(n),
    "moving, then at rest": lambda n: float(min(n, 33)),
    "stepwise": lambda n: float(n // 3),
    "toggling": lambda n: float(n // 20 % 2),
    "returning": lambda n: float(n % 7),
}


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("delay_s", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("per_step", [2.0, 10.0])
@pytest.mark.parametrize("is_declared", [True, False])
def test_no_copy_is_silently_a_sample(
    is_declared: bool, per_step: float, delay_s: float, signal: str
) -> None:
    """Where values cannot tell, windows are uncertain, or counted as misplaced."""
    ways = Ways(1.0, per_step, delay_s=delay_s, length=4, is_declared=is_declared)
    value = SIGNALS[signal]
    line = play(ways, rows_of(ways), value)
    true = {tuple(value(first + place) for place in range(4)) for first in range(77)}
    good = [
        content
        for window, content in zip(line.windows, line.contents, strict=True)
        if not window.uncertain and not window.substituted
    ]
    wrong = [content for content in good if tuple(content) not in true]
    assert len(wrong) <= line.told().get("misplaced", 0)


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize(("rate_hz", "step_s"), [(2, 1.0), (4, 1.0), (10, 1.0), (25, 0.1)])
def test_a_machine_at_rest_keeps_its_samples(
    rate_hz: int, step_s: float, is_declared: bool
) -> None:
    ways = Ways(step_s, rate_hz * step_s, phase=0.3, length=4, is_declared=is_declared)
    rows = [row for row in rows_of(ways) if row.way == 0]
    line = play(ways, rows, lambda _: 7.0)
    assert line.told() == {}
    assert len(line.windows) == 77
    good = [not window.uncertain for window in line.windows]
    assert all(good) == (is_declared or rate_hz * step_s >= 4)


@pytest.mark.parametrize("delay", [0.2, 0.5, 0.9, 3.5])
@pytest.mark.parametrize("is_declared", [True, False])
def test_one_row_of_a_moving_machine_that_is_sent_again(is_declared: bool, delay: float) -> None:
    ways = Ways(1.0, 10.0, length=4, is_declared=is_declared)
    rows = [row for row in rows_of(ways) if row.way == 0]
    again = rows[25]._replace(arrived_ns=rows[25].arrived_ns + round(delay * ways.period_ns))
    line = play(ways, sorted([*rows, again]))
    assert line.told() == {"duplicate": 1}
    assert not any(window.uncertain for window in line.windows)
    assert all(b - a == 1 for content in line.contents for a, b in pairwise(content))


@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("apart", [-0.2, -0.01, 0.01, 0.2])
@pytest.mark.parametrize("delay_s", [0.0, 0.004, 0.35])
def test_each_gateway_stamps_the_samples_itself(delay_s: float, apart: float, length: int) -> None:
    """Their time stamps are a part of a period apart: the sample that came first counts."""
    ways = Ways(per_step=10.0, delay_s=delay_s, length=length, seed=3)
    apart_ns = round(apart * ways.period_ns)
    rows = [row._replace(stamp_ns=row.stamp_ns + row.way * apart_ns) for row in rows_of(ways)]
    line, plain = play(ways, rows), play(ways, without_copies(rows))
    assert line.windows == plain.windows
    assert line.told() == {"duplicate": 80}


def test_samples_of_a_machine_at_rest_may_be_near_each_other() -> None:
    """Equal values are no copies there, also of a clock that jitters."""
    ways = Ways(per_step=10.0, length=4)
    rows = []
    for row in rows_of(ways):
        late_ns = round(ways.period_ns * (-0.4, 0.4)[row.number % 2])
        if row.way == 0:
            rows.append(Row(row.arrived_ns + late_ns, 0, row.number, row.stamp_ns + late_ns))
    line = play(ways, rows, lambda _: 7.0)
    assert not line.drops
