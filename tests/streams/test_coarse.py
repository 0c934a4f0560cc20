"""Clocks that are coarser than the sample period: whole seconds at 10 Hz, minutes at 6 s."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeai.streams.align import AlignSettings
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
    assert line.told() == {"missing": 8}  # the first second is counted back from its end


def test_more_samples_than_the_rate_allows_are_dropped() -> None:
    stamps = [n // 20 * 10 for n in range(400)]
    line = send(Line(), stamps, [n % 7 for n in range(400)])
    told = line.told()
    assert set(told) == {"duplicate"}
    assert 170 <= told["duplicate"] <= 200


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
    at = [STAMP - BASE + 1050 + n for n in range(100)]
    slots = [STAMP - BASE + stamp for stamp in back]
    line.send(*slots, values=[n % 7 for n in range(100)], arrived=at)
    assert line.told()["clock_back"] == 1
    assert ends(line)[-1] == -6000 + 99


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
