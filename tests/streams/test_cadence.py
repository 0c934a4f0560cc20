"""The rate of a channel: learnt, declared, forgotten; what is missing by it."""

from __future__ import annotations

import random

import pytest

from edgeai.streams.cadence import Cadence

NS = 10**9


def feed(cadence: Cadence, times: list[float]) -> int:
    """Take times in seconds as a stream does; return how many samples are missing."""
    missing = 0
    for seconds in times:
        time_ns = round(seconds * NS)
        if cadence.low_ns <= time_ns - cadence.last_ns <= cadence.high_ns:
            cadence.last_ns = time_ns
        else:
            missing += cadence.note(time_ns)
    return missing + cadence.settle(None)


@pytest.mark.parametrize("period", [0.01, 1, 75])
def test_a_rate_is_learnt_from_sixteen_steps(period: float) -> None:
    cadence = Cadence(None)
    assert feed(cadence, [n * period for n in range(16)]) == 0
    assert cadence.period_ns == 0
    assert feed(cadence, [16 * period]) == 0
    assert cadence.period_ns == pytest.approx(period * NS)
    assert feed(cadence, [n * period for n in (17, 20, 21)]) == 2


def test_what_was_missing_while_the_rate_was_learnt_is_counted_then() -> None:
    cadence = Cadence(None)
    times = [n for n in range(25) if n not in {4, 9, 10}]
    assert feed(cadence, times) == 3


def test_samples_at_the_rate_of_the_model_show_it_with_three_steps() -> None:
    assert feed(Cadence(None, prior_ns=NS), [0, 1, 2, 3, 5, 6]) == 1
    assert feed(Cadence(None), [0, 1, 2, 3, 5, 6]) == 0


def test_a_declared_interval_is_known_at_once_and_never_forgotten() -> None:
    cadence = Cadence(100 * NS, declared_ns=NS)
    assert feed(cadence, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 21]) == 10


def test_a_channel_that_is_declared_to_change_only_has_no_rate() -> None:
    cadence = Cadence(None, declared_ns=0)
    assert feed(cadence, [*range(400), 450, 451]) == 0


def test_a_stamp_that_was_late_makes_no_hole() -> None:
    assert feed(Cadence(None, prior_ns=NS), [0, 1, 2, 3, 4.6, 5, 6, 7]) == 0


def test_a_longer_silence_is_no_loss_of_samples() -> None:
    """The values are too old then, and the gap of a stream is counted as a reset."""
    assert feed(Cadence(5 * NS, prior_ns=NS), [0, 1, 2, 3, 8, 9]) == 4
    assert feed(Cadence(5 * NS, prior_ns=NS), [0, 1, 2, 3, 9, 10]) == 0


@pytest.mark.parametrize("share", [0.2, 0.4, 0.5])
def test_changes_now_and_then_are_no_rate(share: float) -> None:
    for seed in range(20):
        chosen = random.Random(seed)
        times = [n for n in range(3000) if chosen.random() < share]
        assert feed(Cadence(None), [float(time) for time in times]) == 0


def test_a_rate_that_is_no_longer_kept_is_forgotten_and_hard_to_learn_again() -> None:
    cadence = Cadence(None)
    feed(cadence, [float(n) for n in range(100)])
    assert cadence.period_ns == NS
    feed(cadence, [100 + 2.0 * n for n in range(20)])  # now every two seconds
    assert cadence.period_ns == 0
    feed(cadence, [140 + 2.0 * n for n in range(250)])
    assert cadence.period_ns == 0
    feed(cadence, [640 + 2.0 * n for n in range(600)])
    assert cadence.period_ns == 2 * NS


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_most_of_what_is_lost_is_counted(share: float) -> None:
    lost = counted = 0
    for seed in range(50):
        chosen = random.Random(seed)
        kept = [n for n in range(300) if chosen.random() > share]
        lost += kept[-1] - kept[0] + 1 - len(kept)
        counted += feed(Cadence(None), [float(n) for n in kept])
    assert 0.97 * lost <= counted <= lost
