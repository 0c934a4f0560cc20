"""Late samples in a row: when they show that a sender's clock was set back."""

from __future__ import annotations

import pytest

from edgeai.streams.clock import LateRun

S = 10**9


def after(times: list[float], *, newest: list[int] | None = None) -> int | None:
    """Return after how many late samples, one a second, the clock counts as set back."""
    run = LateRun(10 * S)
    for number, time in enumerate(times):
        newest_ns = (newest[number] if newest else 1000) * S
        if run.add(round(time * S), (2000 + number) * S, newest_ns):
            return number + 1
    return None


def test_samples_that_keep_pace_for_ten_seconds_show_it() -> None:
    assert after([float(number) for number in range(30)]) == 11


@pytest.mark.parametrize("fall", [3, 8])
def test_they_must_rise(fall: int) -> None:
    """One that is older than the one before it begins a new run."""
    times = [float(number) for number in range(60)]
    times[fall] = times[fall - 1] - 0.5
    assert after(times) == fall + 11
    swapped = [float(number + (-1) ** number) for number in range(60)]
    assert after(swapped) is None


def test_a_sample_in_order_between_them_begins_a_new_run() -> None:
    newest = [1000] * 6 + [1001] * 60
    assert after([float(number) for number in range(60)], newest=newest) == 17


@pytest.mark.parametrize(("pace", "shown"), [(0.3, False), (0.6, True), (1.8, True), (3.0, False)])
def test_they_must_keep_the_pace_of_their_arrival(pace: float, *, shown: bool) -> None:
    assert (after([number * pace for number in range(40)]) is not None) == shown


def test_more_of_them_must_be_new_than_known() -> None:
    run = LateRun(10 * S)
    for number in range(40):
        run.note_known(1)
        assert not run.add(number * S, (2000 + number) * S, 1000 * S)
