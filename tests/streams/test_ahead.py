"""One time stamp that is wrong costs its sample, whatever it is: every good window is a true one.

Samples at 10 Hz as in `test_time`: the value of each is the number of its slot, and they arrive a
period apart, so that the arrivals show which stamp is wrong.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.streams.test_time import BASE, Line, P
from tests.support.windows import Window

COUNT = 90
WRONG = 30
AHEAD = [
    0.5, 0.7, 0.9, 1, 1.3, 1.5, 1.7, 2, 2.3, 2.67, 3, 3.4, 4, 4.4, 4.9, 5, 5.5, 6, 8, 11, 15, 19.3,
    25, 30,
]  # fmt: skip


def play(
    line: Line, wrong: dict[int, float], lost: frozenset[int] = frozenset(), delay: float = 0.0
) -> Line:
    """Send samples; some are stamped ahead by so many periods, some are lost."""
    for slot in range(COUNT):
        if slot not in lost:
            stamp = slot + wrong.get(slot, 0.0)
            line.send(stamp, values=[float(slot)], arrived=[slot + delay * (slot % 3)])
    line.stream.flush()
    return line


def good(line: Line) -> list[Window]:
    return [one for one in line.windows if not one.substituted and not one.uncertain]


def assert_true(line: Line, clean: Line) -> None:
    """Every good window is one of the clean input, and no time names two good windows."""
    right = {window.time_ns: window.values for window in clean.windows}
    assert [
        (one.time_ns / P - BASE) for one in good(line) if right.get(one.time_ns) != one.values
    ] == []
    assert max(Counter(one.time_ns for one in good(line)).values(), default=1) == 1


@pytest.mark.parametrize("missing", ["hold", "mark"])
@pytest.mark.parametrize("max_gap", [3, 5, 20])
@pytest.mark.parametrize(("length", "hop"), [(1, 1), (2, 1), (4, 1), (4, 4), (16, 1), (16, 5)])
@pytest.mark.parametrize("ahead", AHEAD)
def test_a_stamp_ahead_costs_its_sample(
    ahead: float, length: int, hop: int, max_gap: int, missing: Any
) -> None:
    changes = {"length": length, "hop": hop, "max_gap_ns": max_gap * P, "missing": missing}
    clean = play(Line(**changes), {})
    line = play(Line(**changes), {WRONG: ahead}, delay=0.05)
    told = line.told()
    if ahead < 1 and told == {}:  # it is the sample of its slot: its window has the time it says
        right = [one.values for one in clean.windows]
        assert [one.values for one in good(line) if one.values not in right] == []
        return
    assert told == {"implausible_time": 1, "missing": 1}
    assert_true(line, clean)
    lost = len(clean.windows) - len(good(line))
    assert lost <= -(-length // hop) + 1


@pytest.mark.parametrize("max_gap", [5, 20])
@pytest.mark.parametrize("length", [1, 4, 16])
@pytest.mark.parametrize("ahead", [one for one in AHEAD if one > 1])
def test_one_stamp_ahead_in_ten_loses_no_other(ahead: float, length: int, max_gap: int) -> None:
    """Not by one period: that is how a clock of whole periods jitters (`test_coarse`)."""
    changes: dict[str, Any] = {"length": length, "max_gap_ns": max_gap * P}
    clean = play(Line(**changes), {})
    line = play(Line(**changes), dict.fromkeys(range(25, COUNT, 10), ahead))
    assert line.told() == {"implausible_time": 7, "missing": 7}
    assert_true(line, clean)


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("ahead", [one for one in AHEAD if one >= 1])
def test_samples_that_are_lost_beside_it_do_not_hide_a_wrong_stamp(
    ahead: float, after: int, length: int
) -> None:
    line_changes: dict[str, Any] = {"length": length, "max_gap_ns": 8 * P}
    clean = play(Line(**line_changes), {})
    lost = frozenset(range(WRONG + 1, WRONG + 1 + after))
    line = play(Line(**line_changes), {WRONG: ahead}, lost)
    assert line.told() == {"implausible_time": 1, "missing": 1 + after}
    assert_true(line, clean)


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("ahead", [1.7, 2.67, 5, 12, 100])
def test_a_clock_that_is_set_ahead_waits_for_one_sample(ahead: float, length: int) -> None:
    line = Line(length=length)
    for slot in range(60):
        stamp = slot + (ahead if slot >= WRONG else 0)
        line.send(stamp, values=[float(slot)], arrived=[slot])
        if slot == WRONG:
            assert not any(one >= WRONG for one in line.ends), "it waits"
    told = line.told()
    assert told in ({"missing": round(ahead)}, {"missing": 2}, {"gap": 1})
    assert not line.drops.total()
    assert line.ends[-1] == pytest.approx(59 + ahead)


@pytest.mark.parametrize("step", [2, 3, 5])
def test_a_hole_that_the_arrivals_show_too_waits_for_nothing(step: int) -> None:
    line = Line().send(*range(10), arrived=[float(n) + 0.3 for n in range(10)])
    line.send(9 + step, arrived=[9.2 + step])
    assert line.ends[-1] == 9 + step


def test_samples_in_bursts_with_holes_are_all_taken() -> None:
    """A network that delivers five samples at once, and loses some of them."""
    line = Line()
    lost = {22, 23, 38, 41, 57}
    for slot in range(80):
        if slot not in lost:
            line.send(slot, arrived=[slot // 5 * 5 + 5.0 + slot % 5 / 100])
    assert line.told() == {"missing": 5}
    assert sorted(line.ends) == line.ends


@pytest.mark.parametrize("pause", [0.0, 0.5, 1.2, 2.3, 2.9, 3.6, 4.0, 30.0])
@pytest.mark.parametrize("hole", [2, 3, 4])
def test_a_pause_in_a_burst_of_what_was_stored_costs_no_sample(pause: float, hole: int) -> None:
    """The pause comes behind the sample that follows a hole, and may be as long as the step."""
    line = Line()
    arrived = 1000.0
    for slot in range(60):
        if not 30 <= slot < 29 + hole:
            line.send(slot, arrived=[arrived])
            arrived += pause if slot == 29 + hole else 0.001
    assert line.told() == {"missing": hole - 1}
    assert line.ends[-1] == 59


def test_a_sample_that_overtook_another_is_taken_after_it() -> None:
    line = Line().send(*range(10), arrived=[*range(9), 9.9])
    line.send(11, 10, 12, 13, arrived=[11.0, 11.1, 12.0, 13.0])
    assert line.told() == {}
    assert line.ends == list(range(3, 14))
    assert not any(window.substituted for window in line.windows)


def test_a_waiting_sample_that_is_sent_again_is_a_duplicate() -> None:
    line = Line().send(*range(10))
    line.send(14, 14, 10, 11, 12, arrived=[10.0, 10.1, 11.0, 12.0, 13.0])
    assert line.drops["duplicate"] == 1


@pytest.mark.parametrize("ahead", [40, 1000])
def test_a_frame_that_is_ahead_leaves_no_window(ahead: int) -> None:
    line = Line(length=8, hop=8)
    for number in range(12):
        start = number * 8
        times = start + (ahead if number == 6 else 0)
        line.frame(times, 8, arrived=start + 8)
    assert line.told() == {"implausible_time": 8, "gap": 1}
    assert line.ends == [start + 7 for start in range(0, 96, 8) if start != 48]


@pytest.mark.parametrize(("length", "first"), [(1, 1), (2, 1), (4, 1), (4, 2), (4, 3), (16, 9)])
@pytest.mark.parametrize("ahead", [7, 250, 3000])
def test_first_stamps_that_are_ahead_cost_their_samples(
    ahead: int, length: int, first: int
) -> None:
    clean = play(Line(length=length), {})
    line = play(Line(length=length), dict.fromkeys(range(first), float(ahead)))
    assert line.told() == {"implausible_time": first}
    assert_true(line, clean)
    assert len(good(line)) == COUNT - first - length + 1


def test_a_first_frame_that_is_ahead_leaves_no_window() -> None:
    line = Line(length=8, hop=8).frame(500, 8, arrived=8)
    assert line.ends == []
    for start in range(8, 48, 8):
        line.frame(start, 8, arrived=start + 8)
    assert line.told() == {"implausible_time": 8}
    assert line.ends == [start + 7 for start in range(8, 48, 8)]


def test_a_clock_that_is_always_ahead_loses_nothing() -> None:
    line = Line(length=1)
    line.send(*range(500, 520), arrived=list(range(20)))
    assert line.told() == {}
    assert line.ends == list(range(500, 520))


@pytest.mark.parametrize("lateness", [1, 4, 40])
@pytest.mark.parametrize("ahead", [1, 1.5, 2.67, 5, 12, 300])
def test_a_stamp_ahead_costs_its_sample_where_late_ones_are_waited_for(
    ahead: float, lateness: int
) -> None:
    for length, hop in [(1, 1), (4, 1), (16, 5)]:
        changes: dict[str, Any] = {"length": length, "hop": hop, "lateness_ns": lateness * P}
        clean = play(Line(**changes), {})
        line = play(Line(**changes), {WRONG: ahead}, delay=0.05)
        assert line.told() == {"implausible_time": 1, "missing": 1}
        assert_true(line, clean)
        assert len(clean.windows) - len(good(line)) <= -(-length // hop) + 1


@pytest.mark.parametrize("missing", ["hold", "mark"])
@pytest.mark.parametrize("max_gap", [5, 20])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("ahead", [one for one in AHEAD if one >= 2])
def test_windows_of_stamps_ahead_that_agree_are_uncertain(
    ahead: float, count: int, max_gap: int, missing: Any
) -> None:
    for length, hop in [(1, 1), (2, 1), (4, 1), (4, 4)]:
        changes: dict[str, Any] = {
            "length": length, "hop": hop, "max_gap_ns": max_gap * P, "missing": missing,
        }  # fmt: skip
        clean = play(Line(**changes), {})
        line = play(Line(**changes), dict.fromkeys(range(WRONG, WRONG + count), ahead))
        assert_true(line, clean)
        lost = len(clean.windows) - len(good(line))
        assert lost <= (ahead + count + 5 + length) // hop + 2


@pytest.mark.parametrize("count", [2, 3])
def test_windows_of_frames_ahead_that_agree_are_uncertain(count: int) -> None:
    line = Line(length=8, hop=8)
    for number in range(20):
        is_wrong = 6 <= number < 6 + count
        line.frame(number * 8 + 1000 * is_wrong, 8, arrived=number * 8 + 8)
    uncertain = [end for end, one in zip(line.ends, line.windows, strict=True) if one.uncertain]
    assert uncertain == [1055 + 8 * number for number in range(count)]
    assert line.told()["implausible_time"] == 8 * count


def test_a_clock_that_is_set_ahead_is_in_doubt_for_sixteen_samples() -> None:
    line = Line(length=1).send(*range(20))
    line.send(*(n + 1000 for n in range(20, 60)), arrived=list(range(20, 60)))
    uncertain = [end for end, one in zip(line.ends, line.windows, strict=True) if one.uncertain]
    assert uncertain == list(range(1020, 1037))


@pytest.mark.parametrize("missing", ["hold", "mark"])
@pytest.mark.parametrize("max_gap", [3, 5, 20])
@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize(
    ("first", "second"),
    [(4.3, 2.7), (7.8, 1.2), (7.0, 1.3), (3.5, 2.6), (6.7, 3.9), (2, 1), (1.3, 6), (5, 5.4)],
)
def test_no_window_of_two_wrong_stamps_in_a_row_is_good(
    first: float, second: float, length: int, max_gap: int, missing: Any
) -> None:
    """Neither shows that the other is right, whether they agree or not."""
    changes = {"length": length, "max_gap_ns": max_gap * P, "missing": missing}
    clean = play(Line(**changes), {})
    line = play(Line(**changes), {WRONG: first, WRONG + 1: second}, delay=0.02)
    assert_true(line, clean)
    assert len(clean.windows) - len(good(line)) <= 10 + length + max(first, second)
