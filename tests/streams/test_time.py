"""Time: holes by the rate, swapped samples, the hop grid, repeats, clocks set back and ahead.

Samples are at 10 Hz and their values are the numbers of their slots, so a window tells which slots
it holds. Times in slots of 0.1 s.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.factory import open_stream
from edgeai.streams.run import Run, block_times
from edgeai.streams.set_back import SetBack
from edgeai.streams.settings import StreamSettings
from tests.support.windows import Windows

P = 10**8  # ns, the sample period
BASE = 17_000_000_000  # the slot of the first sample


class Line:
    """A stream of one channel at 10 Hz, and all its output."""

    def __init__(self, **changes: Any) -> None:
        fields: dict[str, Any] = {
            "length": 4, "hop": 1, "channels": 1, "period_ns": P, "max_gap_ns": 5 * P,
            "lateness_ns": 0, "invalid": "hold", "missing": "hold",
        } | changes  # fmt: skip
        self.drops: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.windows = Windows()
        self.settings = StreamSettings(**fields)
        self.stream = open_stream(
            self.settings, self.drops, self.resets, self.counts, self.windows.emit
        )

    def send(
        self, *slots: float, values: list[float] | None = None, arrived: list[float] | None = None
    ) -> Line:
        """Send single samples as the engine does; by default they arrive when they are measured."""
        for index, slot in enumerate(slots):
            value = slot if values is None else values[index]
            time_ns = round((BASE + slot) * P)
            at_ns = time_ns if arrived is None else round((BASE + arrived[index]) * P)
            if self.stream.push_one(time_ns, [value]):
                self.stream.ring.arrived_ns = at_ns
            else:
                rows = np.array([[value]], np.float32)
                self.stream.push_rows([time_ns], rows, None, None, [at_ns])
        return self

    def frame(
        self, start: float, count: int, *, sequence: int | None = None, follows: bool = False,
        timed: bool = True, arrived: float | None = None,
    ) -> Line:  # fmt: skip
        """Send a block whose values are the numbers of its slots."""
        times = block_times(round((BASE + start) * P), P, count)
        rows = np.arange(start, start + count, dtype=np.float32)[:, np.newaxis]
        at_ns = times[-1] if arrived is None else round((BASE + arrived) * P)
        self.stream.push_block(
            Run(times, rows, None, at_ns, P, is_block=True, is_clean=True, is_timed=timed,
                sequence=sequence, follows=follows)
        )  # fmt: skip
        return self

    @property
    def ends(self) -> list[float]:
        """The slots in which windows end."""
        return [round(window.time_ns / P - BASE, 3) for window in self.windows]

    @property
    def contents(self) -> list[list[float]]:
        return [np.frombuffer(window.values, np.float32).tolist() for window in self.windows]

    @property
    def counted(self) -> dict[str, int]:
        return {**self.drops, **self.resets, **self.counts}

    def told(self) -> dict[str, int]:
        self.stream.flush()
        return {name: count for name, count in self.counted.items() if count}


# ---------------------------------------------------------------------------------------- the grid


@pytest.mark.parametrize("start", [0, 1, 2, 3, 5])
def test_windows_end_at_the_same_samples_whenever_edgeai_starts(start: int) -> None:
    base = -BASE % 4
    whole = Line(hop=4).send(*range(base, 40))
    later = Line(hop=4).send(*range(base + start, 40))
    assert later.windows == whole.windows[-len(later.windows) :]
    assert all((BASE + end) % 4 == 0 for end in whole.ends)
    assert len(later.windows) >= len(whole.windows) - 2


@pytest.mark.parametrize("share", [0.7, 0.9, 1.0, 1.15, 1.4])
@pytest.mark.parametrize("hop", [1, 3])
def test_a_sender_of_another_rate_has_no_holes(share: float, hop: int) -> None:
    times = [number / share for number in range(200)]
    line = Line(hop=hop, length=6).send(*times)
    assert line.told() == {}
    first = times[5] if hop == 1 else times[5] + hop
    expected = 195 if hop == 1 else (times[-1] - first) / hop
    assert abs(len(line.windows) - expected) <= 2


def test_after_a_gap_the_grid_is_the_same() -> None:
    base = -BASE % 4
    line = Line(hop=4).send(*range(base, base + 10)).send(*range(base + 30, base + 50))
    assert line.told() == {"gap": 1}
    assert all((BASE + end) % 4 == 0 for end in line.ends)


@pytest.mark.parametrize(
    ("size", "hop"), [(8, 8), (8, 4), (8, 1), (4, 8), (2, 8), (5, 8), (3, 7), (12, 8)]
)
def test_windows_of_frames_do_not_depend_on_the_start(size: int, hop: int) -> None:
    def frames(first: int) -> Line:
        line = Line(length=8, hop=hop)
        for number in range(first, 40):
            line.frame(3 + number * size, size, sequence=number, follows=number > first)
        return line

    whole = frames(0)
    for first in (1, 2, 5):
        later = frames(first)
        count = len(later.windows)
        assert count
        assert later.windows == whole.windows[-count:]
        assert len(whole.windows) - count <= (first * size + 8) / hop + 2
    if (hop >= size and hop % size == 0) or size % hop == 0:
        assert {(end - 2) % size for end in whole.ends} <= {n * hop % size for n in range(size)}


# ------------------------------------------------------------------------------------------- holes


@pytest.mark.parametrize(
    ("missing", "filled"), [("hold", [3, 3, 3, 6]), ("linear", [3, 4, 5, 6]), ("mark", [2, 3, 6])]
)
def test_missing_samples_are_counted_and_filled_as_declared(
    missing: Any, filled: list[float]
) -> None:
    line = Line(missing=missing).send(0, 1, 2, 3, 6, 7, 8, 9, 10, 11)
    assert line.ends == [3, 6, 7, 8, 9, 10, 11]
    after = line.windows[1]
    assert line.contents[1][-len(filled) :] == filled
    assert after.substituted == (0 if missing == "mark" else 2)
    assert after.uncertain == (missing == "mark")
    last = line.windows[-1]
    assert (last.substituted, last.uncertain) == (0, False)
    assert line.told() == {"missing": 2}


def test_swapped_samples_are_put_in_their_places() -> None:
    line = Line().send(0, 1, 2, 4, 3, 5, 6, 7, 8)
    assert line.contents[-4:] == [[n - 3, n - 2, n - 1, n] for n in (5, 6, 7, 8)]
    assert [window.substituted for window in line.windows] == [1, 0, 0, 0, 0]
    assert line.told() == {"reordered": 1}


def test_a_late_sample_far_from_a_filled_place_is_late() -> None:
    line = Line(length=8).send(0, 1, 2, 4, 5, 3.4)
    assert line.told() == {"missing": 1, "reordered": 1}
    line = Line(length=8).send(0, 1, 2, 4, 5, 2.4)
    assert line.told() == {"missing": 1, "late": 1}


def test_a_time_stamp_that_was_late_makes_no_hole() -> None:
    for off in (0.55, 0.7, 0.9):
        line = Line().send(0, 1, 2, 3 + off, 4, 5, 6, 7)
        assert line.told() == {}
        values = [0.0, 1.0, 2.0, float(np.float32(3 + off)), 4.0, 5.0, 6.0, 7.0]
        assert line.contents[-4:] == [values[n : n + 4] for n in (1, 2, 3, 4)]
        assert line.windows[-1].substituted == 0
    marked = Line(missing="mark").send(0, 1, 2, 3.7, 4, 5, 6, 7)
    assert marked.told() == {}
    assert not marked.windows[-2].uncertain


def test_a_hole_between_frames() -> None:
    line = Line(length=8, hop=4, max_gap_ns=50 * P).frame(0, 4).frame(4, 4).frame(12, 4)
    assert line.ends == [7, 15]
    assert line.contents[-1] == [7, 7, 7, 7, 12, 13, 14, 15]
    assert line.windows[-1].substituted == 4
    line.frame(8, 4).frame(16, 4)  # the frame that was missing comes late
    assert line.contents[-1] == list(range(12, 20))
    # Of the late frame the first sample was in no window that was still to come.
    assert line.told() == {"missing": 4, "reordered": 3, "late": 1}
    whole = Line(length=8, hop=8, max_gap_ns=50 * P).frame(0, 8).frame(16, 8)
    assert [window.substituted for window in whole.windows] == [0, 0]
    assert whole.told() == {"missing": 8}


@settings(deadline=None, max_examples=150)
@given(
    length=st.integers(1, 12),
    hop=st.integers(1, 9),
    missing=st.sampled_from(["hold", "linear", "mark"]),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    swap=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 10**6),
)
def test_a_window_holds_the_samples_of_its_slots(
    length: int, hop: int, missing: Any, loss: float, swap: float, seed: int
) -> None:
    """Every sample is in its slot or counted; what stands in a slot of a missing one is marked."""
    rng = np.random.default_rng(seed)
    slots = [slot for slot in range(160) if rng.random() >= loss]
    for index in range(1, len(slots) - 1):
        if rng.random() < swap:
            slots[index], slots[index + 1] = slots[index + 1], slots[index]
    line = Line(length=length, hop=hop, missing=missing).send(*slots)
    for end, content, window in zip(line.ends, line.contents, line.windows, strict=True):
        names = [int(end) - length + 1 + place for place in range(length)]
        wrong = sum(value != name for value, name in zip(content, names, strict=True))
        if missing == "mark":
            assert wrong == 0 or window.uncertain
            continue
        allowed = window.substituted
        assert wrong <= allowed
        if missing == "linear" and not swap:
            assert content == pytest.approx(names)
    told = line.told()
    assert told.get("duplicate", 0) == 0
    used = len(slots) - told.get("late", 0)
    assert used >= 0.7 * len(slots)
    if not swap:
        span = slots[-1] - slots[0] + 1
        if not told.get("gap"):
            assert told.get("missing", 0) == span - len(slots)


# ------------------------------------------------------------------------------------ seen is seen


@pytest.mark.parametrize("again", [5, 40, 120])
def test_samples_that_were_seen_are_duplicates_however_many(again: int) -> None:
    line = Line().send(*range(200), *range(200 - again, 200), *range(200, 240))
    assert line.ends == list(range(3, 240))
    assert line.told() == {"duplicate": again}


@pytest.mark.parametrize("count", [200, 500, 2_500])
@pytest.mark.parametrize("gap", [False, True])
def test_rows_that_are_sent_again_at_their_pace_are_no_clock_set_back(
    count: int, gap: bool
) -> None:
    line = Line().send(*range(count))
    if gap:
        line.send(count + 100)
    line.send(*range(count), arrived=[count + 200 + index for index in range(count)])
    assert line.resets["clock_back"] == 0
    assert +line.drops == {"duplicate": count}


def test_other_rows_of_the_same_times_are_a_clock_set_back() -> None:
    line = Line().send(*range(500))
    arrived = [float(500 + index) for index in range(300)]
    line.send(*range(300), values=[index + 0.5 for index in range(300)], arrived=arrived)
    assert line.resets["clock_back"] == 1


def test_a_file_that_is_sent_again_at_once_is_no_clock_set_back() -> None:
    slots = [float(slot) for slot in range(3000)]
    line = Line().send(*slots)
    line.send(*slots, arrived=[3000 + slot / 1000 for slot in slots]).send(*range(3000, 3100))
    assert not line.resets
    assert line.ends == list(range(3, 3100))
    assert line.drops["late"] + line.drops["duplicate"] == 3000


def test_a_frame_overlap_gives_only_what_is_new() -> None:
    line = Line(length=4, hop=4).frame(0, 8).frame(4, 8).frame(12, 8)
    assert line.contents == [list(range(n, n + 4)) for n in (0, 4, 8, 12, 16)]
    assert line.told() == {"duplicate": 4}


# ------------------------------------------------------------------------------------------ clocks


def test_a_clock_set_back_is_followed_after_ten_seconds() -> None:
    slots = [slot + 100_000 for slot in range(50)]
    line = Line().send(*slots)
    back = list(range(300))
    line.send(*back, arrived=[100_050 + slot for slot in back])
    assert line.told() == {"late": 100, "clock_back": 1}
    assert line.ends[-1] == 299


def test_a_slow_stream_needs_no_sixteen_samples() -> None:
    line = Line(period_ns=750 * P, max_gap_ns=3750 * P)  # a cycle of 75 s
    line.send(*(10**6 + 750 * n for n in range(6)))
    line.send(*(750 * n for n in range(8)), arrived=[10**6 + 4500 + 750 * n for n in range(8)])
    assert line.told() == {"late": 2, "clock_back": 1}


def test_one_sample_in_between_shows_that_the_clock_goes_on() -> None:
    line = Line()
    for n in range(400):
        line.send(n)
        line.send(n - 1000.5, arrived=[n])
    assert line.told() == {"late": 400}
    assert line.ends == list(range(3, 400))


@pytest.mark.parametrize("ahead", [10, 36_000, 10**9])
def test_one_bad_time_stamp_ahead_costs_one_sample(ahead: int) -> None:
    line = Line().send(*range(20)).send(20 + ahead, arrived=[20]).send(*range(21, 40))
    assert line.told() == {"implausible_time": 1, "missing": 1}
    assert line.ends == [*range(3, 20), *range(21, 40)]


@pytest.mark.parametrize("missing", ["hold", "linear", "mark"])
@pytest.mark.parametrize("ahead", [-3, -1, 0.6, 1, 2, 3, 3.4, 4])
def test_a_wrong_time_stamp_within_a_gap_makes_no_wrong_window_good(
    ahead: float, missing: str
) -> None:
    slots = [float(slot) for slot in range(60)]
    slots[20] += ahead
    line = Line(missing=missing, max_gap_ns=6 * P)
    line.send(*slots, values=[float(value) for value in range(60)], arrived=list(range(60)))
    good = [
        content
        for window, content in zip(line.windows, line.contents, strict=True)
        if not window.substituted and not window.uncertain
    ]
    assert all(set(np.diff(content)) == {1.0} for content in good)
    assert len(good) > 35


def test_a_dropped_sample_without_a_hole_marks_the_windows_after_it() -> None:
    slots = [0, 1, 2, 3, 4.4, 4.3, 5.6, 6, 7, 8, 9, 10]  # steps of 1.4 and 1.2 are no holes
    line = Line().send(*slots, values=[float(value) for value in range(12)])
    assert line.told() == {"late": 1}
    assert [window.uncertain for window in line.windows] == [
        False,
        False,
        *[True] * 4,
        False,
        False,
    ]
    assert line.contents[-2] == [7, 8, 9, 10]


@pytest.mark.parametrize("ahead", [7, 100, 2500])
def test_a_first_time_stamp_that_is_ahead_costs_one_sample(ahead: int) -> None:
    line = Line().send(ahead, *range(1, 20), arrived=list(range(20)))
    assert line.told() == {"implausible_time": 1}
    assert line.contents[0] == [1, 2, 3, 4]
    steady = Line().send(*range(ahead, ahead + 20), arrived=list(range(20)))
    assert steady.told() == {}  # a clock that is always ahead


def test_one_message_in_ten_that_is_ahead_loses_no_other() -> None:
    line = Line()
    for n in range(300):
        line.send(n + 36_000 if n % 10 == 5 else n, arrived=[n])
    assert line.told() == {"implausible_time": 30, "missing": 30}
    assert [end for end in range(3, 300) if end % 10 != 5] == line.ends


def test_a_backlog_with_gaps_is_taken_as_it_comes() -> None:
    """Its samples arrive at once, so no step in time agrees with the arrival."""
    line = Line(hop=1).send(*range(10))
    slots = [start + n for start in range(100, 400, 20) for n in range(6)]
    line.send(*slots, arrived=[1000 + n / 100 for n in range(len(slots))])
    line.send(*range(1001, 1020))
    assert line.told() == {"gap": 16}
    assert len(line.windows) == 7 + 15 * 3 + 16


@pytest.mark.parametrize("ahead", [10, 36_000])
def test_the_last_time_stamp_may_be_the_wrong_one(ahead: int) -> None:
    line = Line().send(*range(20)).send(20 + ahead, arrived=[20])
    assert line.told() == {"implausible_time": 1}


def test_two_bad_time_stamps_in_a_row_cost_two_samples() -> None:
    line = Line().send(*range(20)).send(1000, 2000, arrived=[20, 21]).send(*range(22, 40))
    assert line.told() == {"implausible_time": 2, "missing": 2}
    assert line.ends == [*range(3, 20), *range(22, 40)]


def test_new_samples_that_overtake_a_backlog_lose_nothing() -> None:
    line = Line().send(*range(20))
    backlog = list(range(20, 80))
    line.send(80, 81, arrived=[80, 81])
    line.send(*backlog, arrived=[81 + n / 100 for n in range(60)]).send(*range(82, 100))
    assert line.told() == {"gap": 1}
    assert line.ends == list(range(3, 100))
    assert all(window.substituted == 0 for window in line.windows)


def test_a_clock_that_is_set_ahead_is_followed() -> None:
    line = Line().send(*range(20))
    line.send(*(n + 1000 for n in range(20, 60)), arrived=list(range(20, 60)))
    assert line.told() == {"gap": 1}
    assert line.ends[-1] == 1059


def test_frames_that_follow_by_number_are_never_lost_to_the_clock() -> None:
    line = Line(length=4, hop=4)
    starts = [0, 8, 15.5, 24.4, 32, 40]  # the clock is corrected a little back and forth
    for number, start in enumerate(starts):
        line.frame(start, 8, sequence=number, follows=number > 0)
    assert line.told() == {}
    assert len(line.windows) == 12
    back = Line(length=4, hop=4).frame(1000, 8, sequence=0)
    back.frame(0, 8, sequence=1, follows=True).frame(8, 8, sequence=2, follows=True)
    assert back.told() == {"clock_back": 1}
    assert len(back.windows) == 6


@pytest.mark.parametrize("jitter", [0.3, 0.6])
def test_frames_without_a_time_may_arrive_unevenly(jitter: float) -> None:
    rng = np.random.default_rng(3)
    line = Line(length=10, hop=10, frame_jitter_ns=10 * P)
    slow = 1.0005  # the sender's clock runs slower than that of this machine
    for number in range(300):
        line.frame(number * 10 * slow + rng.uniform(-jitter, jitter) * 10, 10, timed=False)
    assert line.told() == {}
    assert len(line.windows) == 300
    assert all(window.substituted == 0 and not window.uncertain for window in line.windows)
    assert abs(line.ends[-1] - (3000 * slow - 1)) < 10  # its times follow the sender
    line.frame(3100, 10, timed=False)
    assert line.resets == {"gap": 1}


def test_steps_beyond_a_gap_are_counted_while_they_come_and_need_no_memory() -> None:
    """Each frame is a gap ahead of its arrival: none of them shows that the clock goes on."""
    line = Line(length=8, hop=8)
    for number in range(400):
        line.frame(number * 100, 8, arrived=number * 8)
        held = line.stream._timeline._jump  # type: ignore[attr-defined]
        assert held is None or len(held.runs) <= 17
        assert number < 30 or line.resets["gap"] >= number - 25
    told = line.told()
    assert told["gap"] == 399 - told["implausible_time"] // 8
    assert line.drops["implausible_time"] <= 40


@pytest.mark.parametrize(("period", "back"), [(10, 36_000), (750, 36_000), (10, 250)])
def test_the_whole_distance_of_a_set_back_is_told(period: int, back: int) -> None:
    line = Line(period_ns=period * P, max_gap_ns=5 * period * P)
    told: list[SetBack] = []
    line.stream.set_backs.on_set_back = told.append
    count = 1000 // period + 20
    line.send(*(number * period for number in range(count)))
    after = [count * period - back + number * period for number in range(40)]
    arrived = [float((count + number) * period) for number in range(40)]
    line.send(*after, values=[slot + 0.5 for slot in after], arrived=arrived)
    (found,) = told
    assert found.from_ns == (BASE + (count - 1) * period) * P
    assert found.to_ns == (BASE + after[0]) * P
    assert not line.drops["duplicate"], "what is lost meanwhile is new"
    assert line.drops["late"] == max(2, 100 // period)


@pytest.mark.parametrize(("samples", "is_kept"), [(1_000, True), (150_000, False)])
def test_what_came_after_a_gap_is_kept_for_a_return_up_to_a_megabyte(
    samples: int, is_kept: bool
) -> None:
    """The time may go on before the gap: then it is taken again, after what comes late."""
    line = Line(length=8, hop=8).frame(0, 8)
    for number in range(3):
        line.frame(1000 + number * samples, samples)
    held = line.stream._timeline._jump  # type: ignore[attr-defined]
    assert (held is not None) == is_kept
    line.frame(8, 8, arrived=1000 + 3 * samples)
    assert line.told().get("late", 0) == (0 if is_kept else 8)
