"""Cycles of random lines: jitter, holes, gaps, bounces, resets, any order, any start."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.cycles.settings import CycleSettings
from tests.support.cycles import SECOND, CycleStream, cycle_settings

COUNTER = {"signal": "flag", "changes": True}
WORK = st.integers(4, 30)
IDLE = st.integers(4, 20)


@dataclass
class Line:
    """Samples of a machine: time in seconds, value, flag; and its true cycles by sample number."""

    times: np.ndarray
    flags: np.ndarray
    cycles: list[tuple[int, int]]

    def rows(self) -> list[tuple[float, float, float]]:
        return [
            (float(t), 3.0 + 0.25 * float(t), float(flag))
            for t, flag in zip(self.times, self.flags, strict=True)
        ]


@st.composite
def flagged_lines(draw: st.DrawFn, *, jitter: float = 0.2) -> Line:
    """A machine whose flag is 1 while it works."""
    flags: list[int] = []
    cycles = []
    for work, idle in draw(st.lists(st.tuples(WORK, IDLE), min_size=1, max_size=8)):
        flags += [0] * idle
        cycles.append((len(flags), len(flags) + work))
        flags += [1] * work
    flags += [0] * draw(IDLE)
    seed = draw(st.integers(0, 2**16))
    moved = np.random.default_rng(seed).uniform(-jitter, jitter, len(flags))
    return Line(1000 + np.arange(len(flags)) + moved, np.array(flags), cycles)


@st.composite
def counted_lines(draw: st.DrawFn) -> Line:
    """A machine whose counter changes with each cycle, and may be reset or roll over."""
    flags: list[int] = []
    cycles = []
    value = draw(st.integers(0, 20))
    for work in draw(st.lists(WORK, min_size=2, max_size=10)):
        cycles.append((len(flags), len(flags) + work))
        flags += [value] * work
        value = draw(st.sampled_from([value + 1, value + 1, value + 7, 0 if value else 1]))
    return Line(1000.0 + np.arange(len(flags)), np.array(flags), cycles)


def run(
    rules: CycleSettings, rows: list[tuple[float, float, float]], **changes: Any
) -> CycleStream:
    stream = CycleStream(rules, **changes)
    for row in rows:
        stream.push(*row)
    return stream


@settings(max_examples=12, deadline=None)
@given(flagged_lines(), st.data())
def test_each_cycle_of_a_flag_is_one_window_whatever_is_lost_of_it(
    line: Line, data: st.DataObject
) -> None:
    """Single samples and pairs are lost, and the clock jitters; `linear` values stay exact."""
    last = len(line.flags) - 3
    lost: set[int] = set()
    for at in data.draw(st.lists(st.integers(1, last), max_size=6, unique=True)):
        if not any(abs(at - other) < 4 for other in lost):
            lost.update(range(at, at + data.draw(st.integers(1, 2))))
    rows = [row for number, row in enumerate(line.rows()) if number not in lost]
    stream = run(cycle_settings(length=5, max_seconds=60), rows)
    assert [one[0] for one in stream.outcomes] == ["complete"] * len(line.cycles)
    for (facts, window, time_ns, *_), (first, end) in zip(stream.windows, line.cycles, strict=True):
        assert -1e-6 <= facts.start_ns / SECOND - line.times[first] <= 2.5
        assert -1e-6 <= facts.end_ns / SECOND - line.times[end] <= 2.5
        at = np.linspace(facts.start_ns / SECOND, time_ns / SECOND, 5)
        assert np.allclose(window[:, 0], 3.0 + 0.25 * at, rtol=1e-6)
    for before, after in itertools.pairwise(stream.ended):
        assert before.end_ns <= after.start_ns


@settings(max_examples=12, deadline=None)
@given(flagged_lines(jitter=0), st.data())
def test_bounces_of_a_flag_are_no_cycles(line: Line, data: st.DataObject) -> None:
    """A second after each edge the flag may be anything, and the cycle stays one."""
    flags = line.flags.copy()
    for first, end in line.cycles:
        flags[first + 1] = data.draw(st.integers(0, 1))
        flags[end + 1] = data.draw(st.integers(0, 1))
    rules = cycle_settings(bounce_ns=round(1.5 * SECOND), min_seconds=3)
    rows = [(t, x, float(flag)) for (t, x, _), flag in zip(line.rows(), flags, strict=True)]
    stream = run(rules, [*rows, (rows[-1][0] + 1, 0.0, 0.0), (rows[-1][0] + 2, 0.0, 0.0)])
    assert [one[0] for one in stream.outcomes] == ["complete"] * len(line.cycles)
    for one, (first, end) in zip(stream.ended, line.cycles, strict=True):
        assert one.start_ns == line.times[first] * SECOND
        assert 0 <= one.end_ns / SECOND - line.times[end] <= 2


@settings(max_examples=12, deadline=None)
@given(counted_lines(), st.data())
def test_each_cycle_of_a_counter_has_one_outcome_whatever_gap_there_is(
    line: Line, data: st.DataObject
) -> None:
    lost: set[int] = set()
    for at in data.draw(st.lists(st.integers(1, len(line.flags) - 1), max_size=3)):
        lost.update(range(at, at + data.draw(st.integers(5, 25))))
    kept = [number for number in range(len(line.flags)) if number not in lost]
    rows = line.rows()
    stream = run(cycle_settings(COUNTER, None, max_seconds=60, number=1), [rows[n] for n in kept])
    stream.stream.flush()
    # A cycle of which nothing came cannot be told, nor a change between two that look the same.
    seen = [number for number, _ in itertools.groupby(line.flags[n] for n in kept)]
    outcomes = [one[0] for one in stream.outcomes]
    if len(seen) == 1:
        assert outcomes == []
        return
    assert outcomes[0] == "start_unseen"
    assert len(outcomes) == len(seen)
    for one in stream.ended[1:]:
        if one.outcome == "complete":  # nothing is lost in it, nor just before it
            first, end = (int(ns / SECOND - line.times[0]) for ns in (one.start_ns, one.end_ns))
            assert not lost.intersection(range(first - 1, end))
            assert {one.number} == set(line.flags[first:end])
        else:
            assert one.outcome in {"broken", "unfinished"}
    assert len(stream.windows) == outcomes.count("complete")


@settings(max_examples=6, deadline=None)
@given(flagged_lines(jitter=0), st.randoms(use_true_random=False))
def test_any_order_that_lateness_allows_gives_the_same(line: Line, random: Any) -> None:
    rows = line.rows()
    mixed = sorted(rows, key=lambda row: row[0] + random.uniform(0, 2.9))
    rules = cycle_settings()
    expected, found = run(rules, rows), run(rules, mixed, lateness_ns=3 * SECOND)
    found.stream.flush()
    assert found.ended == expected.ended
    for mine, other in zip(found.windows, expected.windows, strict=True):
        assert np.array_equal(mine[1], other[1])


@settings(max_examples=12, deadline=None)
@given(flagged_lines(), st.integers(0, 60), st.lists(st.integers(1, 40), max_size=20))
def test_the_cycles_are_the_same_whenever_edgeai_starts_and_however_rows_come(
    line: Line, skipped: int, sizes: list[int]
) -> None:
    rules = cycle_settings()
    whole = run(rules, line.rows())
    rows = np.array(line.rows())[skipped:]
    later, at = CycleStream(rules), 0
    for size in [*sizes, len(rows)]:
        part = rows[at : at + size]
        at += len(part)
        if not len(part):
            continue
        times = np.rint(part[:, 0] * SECOND).astype(np.int64).tolist()
        values = part[:, 1:].astype(np.float32)
        if not later.stream.push_few(times, values.reshape(-1).data, 0, len(times)):
            later.stream.push_rows(times, values, None, None)
    first_ns = round(line.times[min(skipped, len(line.times) - 1)] * SECOND)
    expected = [one for one in whole.windows if one[0].start_ns > first_ns]
    assert [one[2] for one in later.windows] == [one[2] for one in expected]
    for mine, other in zip(later.windows, expected, strict=True):
        assert np.array_equal(mine[1], other[1])
        assert mine[3:] == other[3:]
