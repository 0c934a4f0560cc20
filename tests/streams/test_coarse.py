"""Clocks that are coarser than the sample period: whole seconds at 10 Hz, minutes at 6 s."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from edgeai.streams.clock_steps import TICK_NS
from edgeai.streams.grid_values import AlignSettings
from tests.streams.test_time import BASE, Line, P

SECOND = 10 * P
STAMP = BASE // 600 * 600  # the slot of a whole minute


def send(line: Line, stamps: list[int], values: list[float]) -> Line:
    """Send samples whose stamps are in slots after a whole minute."""
    return line.send(*(STAMP - BASE + stamp for stamp in stamps), values=values)


def stamped(count: int, step: int = 10, first: int = 0) -> tuple[list[int], list[float]]:
    """Return the stamps and values of samples at 10 Hz, by a clock that shows every `step`-th."""
    numbers = range(first, first + count)
    return [n // step * step for n in numbers], [float(n % 7) for n in numbers]


def ends(line: Line) -> list[float]:
    return [end - (STAMP - BASE) for end in line.ends]


@pytest.mark.parametrize("resolution_ns", [None, SECOND])
@pytest.mark.parametrize("first", [0, 1, 4, 7])
def test_whole_seconds_are_spread_by_the_rate(resolution_ns: int | None, first: int) -> None:
    line = send(Line(resolution_ns=resolution_ns), *stamped(100 - first, first=first))
    line.stream.flush()
    assert ends(line) == list(range(first + 3, 100))
    assert line.told() == {}
    assert not any(window.uncertain for window in line.windows)


def test_a_start_in_the_middle_of_a_second_gives_the_same_windows() -> None:
    whole = send(Line(hop=3), *stamped(200))
    later = send(Line(hop=3), *stamped(157, first=43))
    assert later.windows == whole.windows[-len(later.windows) :]
    assert len(later.windows) >= 48


def test_whole_minutes_of_a_sampling_every_six_seconds() -> None:
    line = Line(period_ns=60 * P, max_gap_ns=300 * P)
    stamps = [n // 10 * 600 for n in range(60)]
    send(line, stamps, [n % 7 for n in range(60)])
    assert ends(line) == [60 * n for n in range(3, 60)]


def test_a_slower_sender_has_holes_at_the_end_of_each_second() -> None:
    stamps = [n // 9 * 10 for n in range(90)]
    line = send(Line(), stamps, [n % 7 for n in range(90)])
    # The first second is counted back from its end; which sample of the others is missing?
    assert line.told() == {"missing": 8, "misplaced": 72}


@pytest.mark.parametrize("levels", [7, 1000])
def test_more_samples_than_the_rate_allows_are_dropped_and_told(levels: int) -> None:
    """After the first second, every window is uncertain: the sender is too fast, or copies come."""
    stamps = [n // 20 * 10 for n in range(400)]
    line = send(Line(), stamps, [n % levels for n in range(400)])
    told = line.told()
    assert told.pop("misplaced") <= 11  # of the second that showed it
    assert set(told) == {"duplicate"}
    assert 170 <= told["duplicate"] <= 200
    good = [end for end, window in zip(ends(line), line.windows, strict=True) if not window[3]]
    assert all(end <= 20 for end in good)


def test_the_same_values_are_samples_up_to_the_rate() -> None:
    """Once the clock is known to be coarse, a constant signal is no repetition."""
    stamps, values = stamped(100)
    values[10:] = [1.0] * 90
    line = send(Line(), stamps, values)
    assert ends(line) == list(range(3, 100))
    assert line.told() == {}


def test_a_fine_clock_stays_strict() -> None:
    """A second sample with other values and the same time is a duplicate."""
    line = Line().send(*range(20)).send(19, values=[99]).send(*range(20, 30))
    assert line.told() == {"duplicate": 1}
    assert line.ends == list(range(3, 30))


def test_a_gap_and_a_clock_set_back() -> None:
    stamps, values = stamped(50)
    line = send(Line(clock_back_ns=3 * SECOND), stamps, values)
    send(line, [stamp + 1000 for stamp in stamps], values)
    assert ends(line)[-1] == 1049
    told = dict(line.counted)
    assert told["gap"] == 1
    back = [stamp - 6000 for stamp in stamped(100)[0]]
    at: list[float] = [STAMP - BASE + 1050 + n for n in range(100)]
    slots = [STAMP - BASE + stamp for stamp in back]
    line.send(*slots, values=[n % 7 for n in range(100)], arrived=at)
    assert line.told()["clock_back"] == 1
    assert ends(line)[-1] == -6000 + 99


def test_a_clock_taken_for_coarse_by_its_first_stamp_is_narrowed_across_gaps() -> None:
    """The first stamp came twice; later ones, each after a gap, show how fine the clock is."""
    line = Line(length=1, period_ns=SECOND, max_gap_ns=5 * SECOND)
    first_ns = 1_700_000_000 * SECOND
    for second, value in ((0, 0), (0, 1), (66, 66), (69, 69), (90, 90), (69, 69)):
        time_ns = first_ns + second * SECOND
        line.stream.push_rows([time_ns], np.array([[value]], np.float32), None, None, [time_ns])
    assert line.told() == {"gap": 2, "missing": 2, "duplicate": 1}
    ends = [window.time_ns - first_ns for window in line.windows]
    assert ends == [second * SECOND for second in (0, 1, 66, 69, 90)]


@pytest.mark.parametrize("method", ["hold", "linear"])
def test_under_alignment(method: Any) -> None:
    align = AlignSettings(method, P, 20 * P, 0)
    line = send(Line(align=align, max_gap_ns=30 * P), *stamped(100))
    line.stream.flush()
    assert ends(line)[-1] == 99
    assert line.contents[-1] == [float(n % 7) for n in range(96, 100)]
    assert all(window.substituted == 0 for window in line.windows)


@pytest.mark.parametrize("resolution_ns", [None, SECOND])
@pytest.mark.parametrize("periods", [1, 10, 25])
@pytest.mark.parametrize("rate", [1.0, 1.008, 1.02, 1.03])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.7])
def test_a_sender_that_is_a_little_fast_loses_nothing(
    resolution_ns: int | None, periods: int, rate: float, phase: float
) -> None:
    if periods == 1 and resolution_ns is None:
        pytest.skip("not recognized")
    period_ns = SECOND // periods
    line = Line(length=4, period_ns=period_ns, max_gap_ns=5 * SECOND, resolution_ns=resolution_ns)
    first_ns = 1_700_000_000 * SECOND
    for number in range(1500):
        time_ns = first_ns + round((phase + number / rate) * period_ns)
        row = np.array([[number]], np.float32)
        line.stream.push_rows([time_ns // SECOND * SECOND], row, None, None, [time_ns])
    assert line.drops.total() == 0
    assert [window[0] for window in line.contents[2:]] == list(range(2, len(line.contents)))
    assert line.told() == {}


@pytest.mark.parametrize("step_s", [60, 120, 300, 900])
@pytest.mark.parametrize("period_s", [24.0, 23.81, 58.8, 60.0])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.77])
def test_a_declared_step_of_minutes_loses_nothing_at_the_start(
    step_s: int, period_s: float, phase: float
) -> None:
    period_ns, step_ns = round(period_s * SECOND), step_s * SECOND
    line = Line(period_ns=period_ns, max_gap_ns=15 * 60 * SECOND, resolution_ns=step_ns)
    for number in range(80):
        time_ns = 1_795_800_000 * SECOND + round((number + phase) * period_ns)
        row = np.array([[number]], np.float32)
        line.stream.push_rows([time_ns // step_ns * step_ns], row, None, None, [time_ns])
    told = line.told()
    assert "duplicate" not in told
    for window, content in zip(line.windows, line.contents, strict=True):
        is_whole = all(after - before == 1 for before, after in pairwise(content))
        assert is_whole or window.uncertain or window.substituted
    assert len(line.windows) >= 80 - 4


# ------------------------------------------------------------------------- recognized by the stamps


@pytest.mark.parametrize("milliseconds", [True, False])
@pytest.mark.parametrize("rate_hz", [80, 100, 110, 120, 150, 200])  # else each step is a gap
def test_the_clock_of_windows_is_recognized_by_its_ticks(
    rate_hz: int, *, milliseconds: bool
) -> None:
    """It shows every 64th part of a second, from any time on; often cut to milliseconds."""
    period_ns, begin_ns = round(1e9 / rate_hz), 1_763_719_200 * 10**9 + 7_654_321
    line = Line(period_ns=period_ns, max_gap_ns=5 * period_ns)
    marks = []
    for number in range(4000):
        time_ns = begin_ns + number * period_ns
        stamp_ns = begin_ns + (time_ns - begin_ns) // TICK_NS * TICK_NS
        stamp_ns -= stamp_ns % 10**6 if milliseconds else 0
        row = np.array([[number]], np.float32)
        line.stream.push_rows([stamp_ns], row, None, None, [time_ns])
        marks.append(line.drops.total())
    assert marks[-1] == marks[1500]
    good = [
        (content, one.time_ns)
        for content, one in zip(line.contents, line.windows, strict=True)
        if not one.substituted and not one.uncertain
    ]
    assert len(good) > 2400
    for content, time_ns in good:
        assert content == [content[0] + place for place in range(4)]
        assert abs(time_ns - begin_ns - content[3] * period_ns) <= TICK_NS + period_ns


def test_a_fine_clock_of_64_hz_shows_no_ticks() -> None:
    line = Line(period_ns=TICK_NS, max_gap_ns=5 * TICK_NS)
    for number in range(200):
        time_ns = 1_763_719_200 * 10**9 + 7_654_321 + number * TICK_NS
        for value in (number, number + 0.5) if number == 100 else (number,):
            row = np.array([[value]], np.float32)
            line.stream.push_rows([time_ns], row, None, None, [time_ns])
    assert line.told() == {"duplicate": 1}


VALUES: dict[str, Callable[[int], float]] = {
    "moving": float,
    "at rest": lambda _: 7.0,
    "at rest, then moving": lambda n: 7.0 if n < 150 else float(n),
    "toggling": lambda n: float(n // 20 % 2),
}


def sampled(
    rate_hz: float, step_s: float, phase: float, count: int = 300, jitter_s: float = 0.0
) -> tuple[Line, list[float], list[float]]:
    """Return a line at this rate, and stamps and arrivals in slots, of a clock with such steps."""
    period_ns = round(1e9 / rate_hz)
    line = Line(period_ns=period_ns, max_gap_ns=5 * period_ns)
    draw = random.Random(7)
    times = [phase + n / rate_hz for n in range(count)]
    read = [time + draw.uniform(-jitter_s, jitter_s) for time in times]
    stamps = [round(math.floor(time / step_s + 1e-9) * step_s * 10, 6) for time in read]
    return line, stamps, [time * 10 + 0.01 for time in times]


def play(line: Line, stamps: list[float], values: list[float], arrived: list[float]) -> Line:
    start = STAMP - BASE
    return line.send(
        *(start + stamp for stamp in stamps),
        values=values,
        arrived=[start + slot for slot in arrived],
    )


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("phase", [0.03, 0.33, 0.66, 0.99])
@pytest.mark.parametrize(
    ("rate_hz", "step_s"),
    [(1.5, 1), (2, 1), (2.5, 1), (4, 1), (10, 1), (25, 1), (1, 10), (1, 60), (25, 0.1), (5, 0.5)],
)
def test_a_coarse_clock_is_recognized_whatever_the_values(
    rate_hz: float, step_s: float, phase: float, kind: str
) -> None:
    line, stamps, arrived = sampled(rate_hz, step_s, phase * step_s)
    play(line, stamps, [VALUES[kind](n) for n in range(len(stamps))], arrived)
    told = line.told()
    assert told.pop("missing", 0) + told.pop("gap", 0) <= 4  # at the start
    assert told.pop("misplaced", 0) <= 4
    assert told == {}
    assert len(line.windows) >= len(stamps) - 7
    if kind == "moving":
        assert all(content[3] - content[0] == 3 for content in line.contents[5:])


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize(("rate_hz", "step_s"), [(10, 1), (25, 1), (1, 60)])
def test_under_alignment_whatever_the_values(rate_hz: float, step_s: float, kind: str) -> None:
    _, stamps, arrived = sampled(rate_hz, step_s, 0)
    period_ns = round(1e9 / rate_hz)
    align = AlignSettings("hold", period_ns, 100 * period_ns, 0)
    line = Line(align=align, period_ns=period_ns, max_gap_ns=100 * period_ns)
    play(line, stamps, [VALUES[kind](n) for n in range(len(stamps))], arrived)
    assert line.told() == {}
    assert len(line.windows) == len(stamps) - 3


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("jitter_s", [0.005, 0.05])
def test_two_samples_in_one_second_and_none_in_the_next_are_jitter(
    jitter_s: float, kind: str
) -> None:
    line, stamps, arrived = sampled(1, 1, 0, jitter_s=jitter_s)
    play(line, stamps, [VALUES[kind](n) for n in range(len(stamps))], arrived)
    told = line.told()
    assert told.pop("duplicate", 0) <= 1  # it showed the clock
    assert told.pop("missing", 0) <= 2
    assert told == {}
    assert sum(window.substituted > 0 for window in line.windows) <= 8


@pytest.mark.parametrize("rate_hz", [1, 2, 10])
@pytest.mark.parametrize("again", [0, 1, 2, 5, 17])
def test_a_repeat_of_a_fine_clock_is_a_duplicate(rate_hz: float, again: int) -> None:
    """Equal values, sent again at once: also where the first stamps are those of a coarse clock."""
    line, stamps, arrived = sampled(rate_hz, 1 / rate_hz, 0, 40)
    values = [7.0] * 41
    stamps.insert(again, stamps[again])
    arrived.insert(again + 1, arrived[again] + 0.05)
    play(line, stamps, values, arrived)
    assert line.told() == {"duplicate": 1}
    assert len(line.windows) == 37


@pytest.mark.parametrize("count", [5, 12, 30])
def test_a_stamp_that_is_full_takes_no_repeat(count: int) -> None:
    """The last samples are sent again without a flag, after a whole second."""
    line, stamps, arrived = sampled(25, 1, 0, 400)
    play(line, stamps, [float(n) for n in range(400)], arrived)
    again = range(400 - count, 400)
    late = arrived[-1] + 0.3
    play(line, stamps[-count:], [float(n) for n in again], [late] * count)
    assert line.told() == {"duplicate": count}
    assert len(line.windows) == 397


def test_windows_over_a_stamp_that_lacks_samples_are_uncertain() -> None:
    """Which sample of the second is missing is known neither then nor later."""
    _, stamps, arrived = sampled(25, 1, 0, 400)
    line = Line(length=50, period_ns=P * 4 // 10, max_gap_ns=2 * P)
    kept = [n for n in range(400) if n != 205]
    values = [float(n) for n in kept]
    play(line, [stamps[n] for n in kept], values, [arrived[n] for n in kept])
    assert line.told() == {"missing": 1}
    torn = [
        window.uncertain
        for window, content in zip(line.windows, line.contents, strict=True)
        if content[0] <= 204 < content[-1] and content[-1] >= 225
    ]
    assert len(torn) >= 25
    assert all(torn)
    assert not any(window.uncertain for window in line.windows[-100:])


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("align", [None, "hold", "linear"])
@pytest.mark.parametrize("rate_hz", [4, 10, 25])
def test_a_lost_sample_marks_its_second_at_once_where_arrivals_are_even(
    rate_hz: float, align: Any, seed: int
) -> None:
    count = round(40 * rate_hz)
    clean, stamps, arrived = sampled(rate_hz, 1, 0, count)
    chosen = random.Random(seed)
    kept = [n for n in range(count) if n < 3 * rate_hz or chosen.random() > 0.02]
    period_ns = round(1e9 / rate_hz)
    rule = None if align is None else AlignSettings(align, period_ns, 20 * period_ns, 0)
    clean, line = (
        Line(period_ns=period_ns, max_gap_ns=20 * period_ns, align=rule) for _ in range(2)
    )
    play(clean, stamps, [float(n) for n in range(count)], arrived)
    play(line, [stamps[n] for n in kept], [float(n) for n in kept], [arrived[n] for n in kept])
    right = {window.time_ns: window.values for window in clean.windows}
    good = [one for one in line.windows if not one.substituted and not one.uncertain]
    assert [one.time_ns for one in good if right[one.time_ns] != one.values] == []
    assert len(good) > 0.4 * len(right)
    lost = count - len(kept)
    told = line.told()
    assert told.pop("misplaced", 0) <= rate_hz  # where the last one of a second is lost
    assert lost - 1 <= told.get("missing", 0) <= lost


@pytest.mark.parametrize("jitter", [0.1, 0.3])
def test_uneven_arrivals_mark_no_healthy_second(jitter: float) -> None:
    """Arrivals of a period after the other and more; nothing is lost."""
    line, stamps, arrived = sampled(10, 1, 0, 400)
    chosen = random.Random(3)
    uneven = sorted(slot + chosen.random() * 10 * jitter for slot in arrived)
    play(line, stamps, [float(n) for n in range(400)], uneven)
    assert line.told() == {}
    marked = sum(window.uncertain for window in line.windows)
    assert marked < 20


def test_samples_of_a_second_that_lacks_one_are_counted_where_arrivals_are_uneven() -> None:
    line, stamps, arrived = sampled(10, 1, 0, 400)
    kept = [n for n in range(400) if n != 205]
    bursts = [math.ceil(arrived[n] / 10) * 10 for n in kept]  # a gateway that collects a second
    play(line, [stamps[n] for n in kept], [float(n) for n in kept], bursts)
    assert line.told() == {"missing": 1, "misplaced": 9}


def moved(
    rate_hz: float, count: int, change: Callable[[list[tuple[float, float, float]]], None]
) -> tuple[Line, Line]:
    """Return aligned lines with a clock of whole seconds: as it should be, and with a change."""
    period_ns = round(1e9 / rate_hz)
    align = AlignSettings("hold", period_ns, 100 * period_ns, 0)
    lines = []
    for changes in (lambda _: None, change):
        _, stamps, arrived = sampled(rate_hz, 1, 0.03, count)
        samples = [(stamps[n], float(n), arrived[n]) for n in range(count)]
        changes(samples)
        line = Line(align=align, period_ns=period_ns, max_gap_ns=50 * period_ns)
        stamps_now, values, arrivals = (list(column) for column in zip(*samples, strict=True))
        lines.append(play(line, stamps_now, values, arrivals))
    return lines[0], lines[1]


def assert_good_windows_are_right(line: Line, clean: Line) -> None:
    clean.stream.flush()
    right = {window.time_ns: window.values for window in clean.windows}
    good = [one for one in line.windows if not one.substituted and not one.uncertain]
    assert [one.time_ns for one in good if right[one.time_ns] != one.values] == []
    assert len(good) > 0.8 * len(right)


@pytest.mark.parametrize("ahead", [4, 3, 2])
def test_a_stamp_that_is_seconds_ahead_costs_its_sample_only(ahead: int) -> None:
    def change(samples: list[tuple[float, float, float]]) -> None:
        stamp, value, arrived = samples[305]
        samples[305] = stamp + 10 * ahead, value, arrived

    clean, line = moved(10, 600, change)
    told = line.told()
    assert told.pop("reordered") > 9 * ahead - 8
    assert told.pop("misplaced") == 5  # of the second that seemed to end early
    assert told == {"implausible_time": 1, "missing": 1}
    assert_good_windows_are_right(line, clean)


def test_a_stamp_that_is_behind_marks_the_rest_of_its_second() -> None:
    def change(samples: list[tuple[float, float, float]]) -> None:
        stamp, value, arrived = samples[305]
        samples[305] = stamp - 30, value, arrived

    clean, line = moved(10, 600, change)
    assert line.told() == {"late": 1, "missing": 1}
    assert_good_windows_are_right(line, clean)


@pytest.mark.parametrize("first", [200, 205])
def test_a_sample_that_overtakes_seconds_of_others_loses_none(first: int) -> None:
    def change(samples: list[tuple[float, float, float]]) -> None:
        stamp, value, _ = samples.pop(230)
        samples.insert(first, (stamp, value, samples[first][2]))

    clean, line = moved(10, 600, change)
    told = line.told()
    assert set(told) <= {"reordered", "misplaced"}
    assert told["reordered"] >= 230 - first
    assert_good_windows_are_right(line, clean)


def test_late_rows_that_were_taken_are_duplicates() -> None:
    def change(samples: list[tuple[float, float, float]]) -> None:
        again = [(stamp, value, samples[300][2]) for stamp, value, _ in samples[250:300]]
        samples[300:300] = again

    clean, line = moved(10, 600, change)
    assert line.told() == {"duplicate": 50}
    assert_good_windows_are_right(line, clean)
