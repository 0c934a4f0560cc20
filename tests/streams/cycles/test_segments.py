"""Where cycles start and end: the state machine alone, on starts and ends that are given."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.cycles.segments import Segment, Segments
from edgeai.streams.cycles.settings import CycleSettings

S = 1_000_000_000
RULES = CycleSettings(
    length=8, channels=1, new_edges=None, has_end=True, min_ns=2 * S, max_ns=10 * S,
    max_samples=1000, fit="resample",
)  # fmt: skip


def found(line: str, rules: CycleSettings = RULES, cut: int = 0) -> list[str]:
    """The cycles of a line, `(` start, `)` end, `x` both, one sample a second, as first-end."""
    segments = Segments(rules)
    made = feed(segments, line[:cut], 0) + feed(segments, line[cut:], cut)
    return [f"{one.outcome} {one.first}-{one.end}" for one in made]


def feed(segments: Segments, line: str, first: int) -> list[Segment]:
    times = np.arange(first, first + len(line), dtype=np.int64) * S
    starts = np.array([sign in "(x" for sign in line], np.bool_)
    ends = np.array([sign in ")x" for sign in line], np.bool_)
    return segments.feed(first, times, starts, ends if segments.settings.has_end else None)


BOUNCE = dataclasses.replace(RULES, bounce_ns=2 * S)
NO_END = dataclasses.replace(RULES, has_end=False)
FEW = dataclasses.replace(RULES, max_samples=4)


@pytest.mark.parametrize(
    ("line", "rules", "expected"),
    [
        ("..(...)..", RULES, ["complete 2-6"]),
        ("..(...x...)", RULES, ["complete 2-6", "complete 6-10"]),
        ("..()....", RULES, ["too_short 2-3"]),
        ("..(.)..", RULES, ["complete 2-4"]),  # exactly the shortest
        ("(.........)", RULES, ["complete 0-10"]),  # exactly the longest
        ("(..........).", RULES, ["overlong 0-11"]),
        ("(...............).(..)", RULES, ["overlong 0-11", "complete 18-21"]),
        ("(..............(..)", RULES, ["overlong 0-11", "complete 15-18"]),
        ("..(..(...)", RULES, ["overlapping 2-5", "complete 5-9"]),
        ("..)..(..)", RULES, ["start_unseen 2-2", "complete 5-8"]),
        ("..)..)..(..).)", RULES, ["start_unseen 2-2", "complete 8-11"]),
        ("(.)(...)", RULES, ["complete 0-2", "complete 3-7"]),
        ("(.)(...)...", BOUNCE, ["complete 0-7"]),
        ("()(...)...", BOUNCE, ["complete 0-6"]),
        ("(...).(....", BOUNCE, ["complete 0-4"]),  # 2 s later it is another cycle
        ("(...)..", BOUNCE, ["complete 0-4"]),
        ("(...).", BOUNCE, []),  # it may still go on
        ("((.((...)...", BOUNCE, ["overlapping 0-3", "complete 3-8"]),
        ("..(...(...(", NO_END, ["start_unseen 2-2", "complete 2-6", "complete 6-10"]),
        ("..((..(", NO_END, ["start_unseen 2-2", "too_short 2-3", "complete 3-6"]),
        ("(.............(...(", NO_END, ["start_unseen 0-0", "overlong 0-11", "complete 14-18"]),
        ("..(.....)", FEW, ["overlong 2-7"]),
        ("..(...)", FEW, ["complete 2-6"]),
    ],
)  # fmt: skip
def test_cycles(line: str, rules: CycleSettings, expected: list[str]) -> None:
    assert found(line, rules) == expected
    for cut in range(1, len(line)):
        assert found(line, rules, cut) == expected, cut


def test_a_gap_breaks_the_open_cycle_only() -> None:
    segments = Segments(RULES)
    assert feed(segments, "..(..", 0) == []
    assert segments.interrupt() == []
    assert [one.outcome for one in feed(segments, "..)..(..)", 7)] == ["broken", "complete"]


def test_a_start_right_after_a_gap_may_have_been_before() -> None:
    segments = Segments(RULES)
    feed(segments, ".....", 0)
    segments.interrupt()
    assert [one.outcome for one in feed(segments, "(...).(...)", 20)] == ["broken", "complete"]


def test_an_end_that_was_seen_before_a_gap_counts() -> None:
    segments = Segments(BOUNCE)
    feed(segments, "(...).", 0)
    assert [one.outcome for one in segments.interrupt()] == ["complete"]


def test_the_input_ends_in_a_cycle() -> None:
    segments = Segments(RULES)
    feed(segments, "..(....", 0)
    (last,) = segments.give_up("unfinished", 7, 7 * S)
    assert (last.outcome, last.first, last.end) == ("unfinished", 2, 7)
    assert feed(segments, "..)", 7) == []  # told already


@settings(max_examples=30, deadline=None)
@given(
    st.text(alphabet=".()x", max_size=60),
    st.lists(st.integers(1, 9), max_size=30),
    st.sampled_from([RULES, BOUNCE, NO_END, FEW]),
)
def test_any_division_into_calls_gives_the_same_cycles(
    line: str, sizes: list[int], rules: CycleSettings
) -> None:
    whole = Segments(rules)
    expected = feed(whole, line, 0)
    parts, made, at = Segments(rules), [], 0
    for size in [*sizes, len(line)]:
        made += feed(parts, line[at : at + size], at)
        at += len(line[at : at + size])
    assert made == expected
    assert parts == whole
    for before, after in itertools.pairwise(made):
        assert before.end <= after.first  # no sample belongs to two cycles
    starts = sum(sign in "(x" for sign in line)
    assert whole.count <= starts
