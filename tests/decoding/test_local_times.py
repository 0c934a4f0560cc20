"""Local times in the hour that an autumn night has twice."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeai.decoding.local_times import LocalTimes

S = 10**9
CHANGES = {
    "Europe/Berlin": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "America/New_York": datetime(2026, 11, 1, 6, tzinfo=UTC),
    "America/Los_Angeles": datetime(2026, 11, 1, 9, tzinfo=UTC),
    "Asia/Seoul": datetime(1988, 10, 8, 17, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2026, 4, 4, 15, tzinfo=UTC),  # half an hour
}


def as_read(second: float, zone: str) -> int:
    """Return what a reader makes of a local time: the first of its moments."""
    local = datetime.fromtimestamp(second, ZoneInfo(zone)).replace(fold=0)
    return round(local.timestamp() * S)


@settings(max_examples=25, deadline=None)
@given(
    zone=st.sampled_from(sorted(CHANGES)),
    step=st.integers(1, 400),
    blocks=st.lists(st.integers(0, 7_200), min_size=1, max_size=8),
)
@example(zone="Europe/Berlin", step=10, blocks=[0, 3_600, 3_600, 3_600])
def test_a_backlog_keeps_its_moments_however_late_it_arrives(
    zone: str, step: int, blocks: list[int]
) -> None:
    """A stream that began before the hour: its blocks wait, and arrive in order."""
    times, change = LocalTimes(zone), round(CHANGES[zone].timestamp())
    newest_ns: int | None = None
    moments = range(change - 4_000, change + 4_000, step)
    each = -(-len(moments) // len(blocks))
    arrived = 0
    for index, moment in enumerate(moments):
        arrived = max(arrived, moment + (blocks[index // each] if index else 0))
        found = times.decide(as_read(moment, zone), arrived * S, newest_ns)
        assert found == moment * S
        newest_ns = found


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("start", [-1_500, 300])
def test_at_the_start_and_after_a_gap_the_arrival_decides(zone: str, start: int) -> None:
    times, change = LocalTimes(zone), round(CHANGES[zone].timestamp())
    moment = change + start
    for newest in (None, (moment - 90_000) * S):
        assert times.decide(as_read(moment, zone), (moment + 2) * S, newest) == moment * S
