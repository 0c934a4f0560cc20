"""The wait before the next attempt."""

import math

import pytest

from edgeai.backoff import Backoff


def test_the_wait_doubles_up_to_the_limit() -> None:
    backoff = Backoff(first_seconds=0.5, max_seconds=3)
    assert [backoff.wait_seconds(failures) for failures in range(1, 6)] == [0.5, 1, 2, 3, 3]


def test_any_number_of_failures_is_allowed() -> None:
    assert Backoff(first_seconds=86400, max_seconds=86400).wait_seconds(10**9) == 86400
    assert math.isfinite(Backoff(1.0, math.inf).wait_seconds(10**9))


def test_jitter_spreads_the_waits_within_its_share() -> None:
    backoff = Backoff(first_seconds=10, max_seconds=20, jitter=0.2)
    waits = [backoff.wait_seconds(5) for _ in range(1000)]
    assert 16 <= min(waits) < 17
    assert 23 < max(waits) <= 24
    assert sum(waits) / len(waits) == pytest.approx(20, rel=0.02)
