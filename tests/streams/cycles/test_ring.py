"""Streams whose windows are cycles: values, order, gaps, late samples."""

from __future__ import annotations

import numpy as np
import pytest

from edgeai.streams.grid_values import AlignSettings
from tests.support.cycles import FLAG, SECOND, CycleStream, cycle_settings

COUNTER = {"signal": "flag", "changes": True}


def push_line(
    stream: CycleStream, flags: str, first: int = 0, *, skip: tuple[int, ...] = ()
) -> None:
    """Push a sample a second: x is its number, the flag a digit; `-` is no sample."""
    for place, sign in enumerate(flags, first):
        if sign != "-" and place not in skip:
            stream.push(place, place, float(sign))


def test_a_cycle_is_one_window() -> None:
    stream = CycleStream(cycle_settings(length=4))
    push_line(stream, "0001111110001100")
    assert stream.outcomes == [("complete", 3, 9), ("complete", 12, 14)]
    (first, window, time_ns, substituted, uncertain), _ = stream.windows
    assert window[:, 0].tolist() == pytest.approx([3, 3 + 5 / 3, 3 + 10 / 3, 8])
    assert (time_ns, substituted, uncertain) == (8 * SECOND, 0, False)
    assert (first.number, first.samples, first.duration_ns) == (1, 6, 6 * SECOND)
    assert stream.cycles.open_since_ns is None


def test_a_counter_starts_the_next_cycle() -> None:
    stream = CycleStream(cycle_settings(COUNTER, None, number=1))
    push_line(stream, "777888899900001111")
    assert stream.outcomes == [
        ("start_unseen", 3, 3), ("complete", 3, 7), ("complete", 7, 10), ("complete", 10, 14),
    ]  # fmt: skip
    assert [one.number for one in stream.ended] == [None, 8, 9, 0]
    assert stream.cycles.open_since_ns == 14 * SECOND


def test_the_samples_before_and_after() -> None:
    rules = cycle_settings(length=9, pre_ns=2 * SECOND, post_ns=3 * SECOND)
    stream = CycleStream(rules)
    push_line(stream, "00001111000")
    assert stream.windows == []  # the third sample after it has not come
    push_line(stream, "000", 11)
    ((facts, window, time_ns, _, _),) = stream.windows
    assert window[:, 0].tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert (facts.start_ns, facts.end_ns, time_ns) == (4 * SECOND, 8 * SECOND, 10 * SECOND)


def test_too_few_samples_before_the_start_break_a_cycle() -> None:
    stream = CycleStream(cycle_settings(pre_ns=5 * SECOND))
    push_line(stream, "00111100000011110")
    assert stream.outcomes == [("broken", 2, 6), ("complete", 12, 16)]


def test_padding_and_its_channel() -> None:
    stream = CycleStream(cycle_settings(length=6, fit="pad", has_length_channel=True))
    push_line(stream, "0011100")
    window = stream.windows[0][1]
    assert window.tolist() == [[2, 1], [3, 1], [4, 1], [4, 0], [4, 0], [4, 0]]


def test_a_missing_sample_is_filled_and_a_gap_breaks() -> None:
    stream = CycleStream(cycle_settings(length=6))
    push_line(stream, "00111111000111111000", skip=(5, 12, 13, 14, 15, 16))
    assert stream.outcomes == [("complete", 2, 8), ("broken", 11, 17)]
    assert stream.resets["gap"] == 1
    ((_, window, _, substituted, uncertain),) = stream.windows
    assert window[:, 0].tolist() == [2, 3, 4, 5, 6, 7]
    assert (substituted, uncertain) == (1, False)


def test_a_broken_cycle_may_be_a_marked_window() -> None:
    stream = CycleStream(cycle_settings(length=17, keeps_unusual=True))
    push_line(stream, "00" + "1" * 17 + "000", skip=(8, 9, 10, 11, 12, 13))
    ((facts, window, _, substituted, uncertain),) = stream.windows
    assert facts.outcome == "broken"
    assert window[:, 0].tolist() == list(range(2, 19))
    assert uncertain
    assert substituted == 8  # six in the gap, and those beside it


def test_a_machine_that_stops_in_a_cycle_ends_it_by_sample_time() -> None:
    stream = CycleStream(cycle_settings(max_seconds=10))
    push_line(stream, "00" + "1" * 30)
    assert stream.outcomes == [("overlong", 2, 13)]
    push_line(stream, "0001110", 32)
    assert stream.outcomes[1:] == [("complete", 35, 38)]


def test_a_late_sample_takes_its_place_in_values_and_edges() -> None:
    """The start was in the sample that came late, so the cycle starts there."""
    stream = CycleStream(cycle_settings(length=5))
    for second in (0, 1, 2, 4, 3, 5, 6, 7, 8, 9):
        stream.push(second, second, float(3 <= second < 8))
    assert stream.outcomes == [("complete", 3, 8)]
    assert stream.windows[0][1][:, 0].tolist() == [3, 4, 5, 6, 7]
    assert stream.windows[0][3] == 0
    assert stream.counts["reordered"] == 1


def test_a_filled_sample_that_is_taken_back_moves_no_cycle() -> None:
    """4 was stamped late: what stood for it is removed, and the cycles are as without it."""
    times = [0, 1, 2, 3, 4.6, 5, 6, 7, 8, 9]
    flags = [0, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    stream = CycleStream(cycle_settings(length=3))
    for number, (second, flag) in enumerate(zip(times, flags, strict=True)):
        stream.push(second, number, flag)
    assert stream.outcomes == [("complete", 4.6, 7)]
    assert stream.ended[0].samples == 3
    assert stream.windows[0][1][[0, 2], 0].tolist() == [4, 6]


def test_the_clock_is_set_back_in_a_cycle() -> None:
    stream = CycleStream(cycle_settings(), clock_back_ns=3 * SECOND)
    push_line(stream, "0001111", 100)
    for second, flag in zip(range(50, 66), "1100001110000000", strict=True):
        stream.stream.push_rows(
            [second * SECOND], np.array([[second, float(flag)]], np.float32), None, None,
            [(second + 60) * SECOND],
        )  # fmt: skip
    assert stream.resets["clock_back"] == 1
    assert [one[0] for one in stream.outcomes] == ["broken", "complete"]


def test_the_input_ends_in_a_cycle() -> None:
    stream = CycleStream(cycle_settings())
    push_line(stream, "001111")
    stream.stream.flush()
    assert stream.outcomes == [("unfinished", 2, 6)]
    assert stream.windows == []


def test_blocks_of_rows_give_the_same_as_single_rows() -> None:
    flags = ("0" * 7 + "1" * 23) * 40
    one, many = CycleStream(cycle_settings()), CycleStream(cycle_settings())
    push_line(one, flags)
    rows = np.array([[i, float(sign)] for i, sign in enumerate(flags)], np.float32)
    for begin in range(0, len(rows), 170):
        part = rows[begin : begin + 170]
        times = [(begin + i) * SECOND for i in range(len(part))]
        if not many.stream.push_few(times, part.reshape(-1).data, 0, len(part)):
            many.stream.push_rows(times, part, None, None)
    assert len(one.windows) == 39
    assert many.ended == one.ended
    for mine, other in zip(many.windows, one.windows, strict=True):
        assert np.array_equal(mine[1], other[1])


def test_an_idle_machine_keeps_what_it_needs() -> None:
    """Edges before the memory of the ring are not lost: it idles for much longer than that."""
    stream = CycleStream(cycle_settings(max_samples=50))
    push_line(stream, "0" * 2000 + "1111" + "0" * 2000 + "11110")
    assert [one[0] for one in stream.outcomes] == ["complete", "complete"]


def test_the_flag_alone_has_a_start() -> None:
    level = {"all": [{"signal": "flag", "equals": 1}, {"signal": "x", "above": 4}]}
    stream = CycleStream(cycle_settings(level, {"not": level}))
    push_line(stream, "0011111000")
    assert stream.outcomes == [("complete", 5, 7)]


def test_start_is_unseen_where_edgeai_starts_in_a_cycle() -> None:
    stream = CycleStream(cycle_settings(FLAG))
    push_line(stream, "1110011110")
    assert [one[0] for one in stream.outcomes] == ["start_unseen", "complete"]


def test_a_filled_sample_that_is_taken_back_where_a_cycle_has_ended() -> None:
    """The counter changes with the sample that was stamped late, so a cycle ended with it."""
    stream = CycleStream(cycle_settings(COUNTER, None, length=3))
    times = [0, 1, 2, 3, 4.6, 5, 6, 7, 8]
    counts = [7, 8, 8, 8, 9, 9, 9, 10, 10]
    for number, (second, count) in enumerate(zip(times, counts, strict=True)):
        stream.push(second, number, count)
    assert stream.outcomes[1:] == [("complete", 1, 4.6), ("complete", 4.6, 7)]
    assert [one.samples for one in stream.ended[1:]] == [4, 3]  # one stood for 4 when it ended
    assert stream.windows[1][1][[0, 2], 0].tolist() == [4, 6]


def test_no_filled_sample_starts_a_cycle() -> None:
    """The line between 0 and 10 crosses 5 where nothing was measured."""
    rises = {"signal": "x", "rises_above": 5}
    stream = CycleStream(cycle_settings(rises, {"signal": "x", "falls_below": 5}))
    for second, value in [(0, 0), (1, 0), (4, 10), (5, 10), (6, 10), (9, 0), (10, 0)]:
        stream.push(second, value, 0)
    assert stream.outcomes == [("complete", 4, 9)]


def test_a_late_sample_after_a_long_idle_time() -> None:
    stream = CycleStream(cycle_settings(max_samples=50, length=5))
    push_line(stream, "0" * 2001)
    for second in (2001, 2003, 2002, 2004, 2005, 2006, 2007, 2008):
        stream.push(second, second, float(2002 <= second < 2007))
    assert stream.outcomes == [("complete", 2002, 2007)]
    assert stream.windows[0][1][:, 0].tolist() == [2002, 2003, 2004, 2005, 2006]


def test_a_cycle_that_overtook_older_samples_is_one_window() -> None:
    """A backlog comes after newer samples: they are taken again, and make no window twice."""
    stream = CycleStream(cycle_settings(), clock_back_ns=100 * SECOND)
    for second in [*range(6), *range(20, 30), *range(6, 20), 30, 31]:
        row = np.array([[second, float(22 <= second < 26 or 8 <= second < 12)]], np.float32)
        now_ns = max(second, 29 if second < 20 and stream.ended else 0) * SECOND
        stream.stream.push_rows([second * SECOND], row, None, None, [now_ns])
    assert [one for one in stream.outcomes if one[0] == "complete"].count(("complete", 22, 26)) == 1
    assert ("complete", 8, 12) in stream.outcomes
    assert len(stream.windows) == 2


def test_a_late_sample_of_an_aligned_stream_moves_the_start_of_a_cycle() -> None:
    """The flag rose at 3.1, and that sample came after the grid had passed 4."""
    align = AlignSettings("hold", SECOND, 100 * SECOND, 0)
    stream = CycleStream(cycle_settings(length=5), align=align, max_gap_ns=200 * SECOND)
    for second in (0, 1, 2, 4, 3, 5, 6, 7, 8, 9, 10, 11):
        stream.push(second + 0.1, second, float(3 <= second < 8))
    assert stream.outcomes == [("complete", 4, 9)]
    assert stream.windows[0][1][:, 0].tolist() == [3, 4, 5, 6, 7]
