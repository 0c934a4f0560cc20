"""Local times without an offset in the hour that an autumn night has twice.

A text such as 02:30 names two moments in that hour. `time_reader` reads the first. The second is
later by the zone's change, mostly an hour.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from edgeai.messages import SECOND_NS

QUARTER_NS = 900 * SECOND_NS
"""Zones change at whole quarters of an hour."""
NEAR_SHARE = 4
"""A moment is near another if less than the zone's change divided by this is between them."""


class LocalTimes:
    """Finds and decides the ambiguous times of one zone."""

    def __init__(self, zone: str) -> None:
        """Open the zone.

        Args:
            zone: Its IANA name.
        """
        self._zone = ZoneInfo(zone)
        self._change_of_quarter = lru_cache(maxsize=256)(self._find_change)

    def _find_change(self, quarter: int) -> int:
        """Return by how much later the second moment is, nanoseconds; 0: there is only one."""
        moment = datetime.fromtimestamp(quarter * 900, UTC).astimezone(self._zone)
        if moment.fold:
            return 0
        first, second = moment.utcoffset(), moment.replace(fold=1).utcoffset()
        if first is None or second is None or second >= first:
            return 0
        return (first - second) // timedelta(microseconds=1) * 1000

    def is_ambiguous(self, times: list[int]) -> bool:
        """Return whether any of the times as read names two moments."""
        return any(map(self._change_of_quarter, {time_ns // QUARTER_NS for time_ns in times}))

    def decide(self, time_ns: int, received_ns: int, newest_ns: int | None) -> int:
        """Return the moment that a local time means.

        The order of the stream decides if only one moment is near its newest sample: a backlog may
        arrive an hour late. Otherwise, at the start of a stream and after a gap, the arrival
        decides if only one moment is near it; and else the moment that is nearer to the newest
        sample.

        Args:
            time_ns: The first of the two moments, as read.
            received_ns: When the message arrived.
            newest_ns: Time of the newest sample of the stream; None: there is none.
        """
        change_ns = self._change_of_quarter(time_ns // QUARTER_NS)
        if not change_ns:
            return time_ns
        later_ns = time_ns + change_ns
        near_ns = change_ns // NEAR_SHARE
        for other_ns in (newest_ns, received_ns):
            if other_ns is None:
                continue
            if abs(other_ns - time_ns) < near_ns:
                return time_ns
            if abs(other_ns - later_ns) < near_ns:
                return later_ns
        return self.decide_by_order(time_ns, newest_ns)

    def decide_by_order(self, time_ns: int, newest_ns: int | None) -> int:
        """Return the moment that a local time means, as `decide` without an arrival."""
        later_ns = time_ns + self._change_of_quarter(time_ns // QUARTER_NS)
        if newest_ns is None or abs(newest_ns - time_ns) <= abs(newest_ns - later_ns):
            return time_ns
        return later_ns
