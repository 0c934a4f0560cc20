"""The newest values of one channel, in which late ones are put in their places."""

import math
from bisect import bisect_left, bisect_right
from collections import deque
from operator import itemgetter

from edgeai.streams.grid_values import GOOD, UNCERTAIN, Queue

KEPT_VALUES = 32
"""Values of a channel that are kept after their grid points, to put late ones between them."""

_time_of = itemgetter(0)


class ChannelValues:
    """What an aligner knows of one channel: made when a late value needs it, as that is seldom."""

    __slots__ = ("_all", "_past", "_queue")

    def __init__(self, past: Queue, queue: Queue) -> None:
        """Look at the values.

        Args:
            past: Those before the newest grid point, but the last of them.
            queue: This one, and all after it. Both are changed.
        """
        self._past, self._queue = past, queue
        self._all = [*past, *queue]

    @property
    def last_ns(self) -> int | None:
        """Time of the newest value; None: there is none."""
        return self._queue[-1][0] if self._queue else None

    def neighbors(self, time_ns: int) -> tuple[int, int | None] | None:
        """Return the times of the values before a time, and after it if there is one.

        None if there is a value of this time, or what was before it is not known.
        """
        values = self._all
        index = bisect_left(values, time_ns, key=_time_of)
        if not index or (index < len(values) and values[index][0] == time_ns):
            return None
        return values[index - 1][0], values[index][0] if index < len(values) else None

    def around(self, at_ns: int) -> Queue:
        """Return the last value at or before a time, and the next one; empty: there is none."""
        index = bisect_right(self._all, at_ns, key=_time_of)
        return deque(self._all[index - 1 : index + 1]) if index else deque()

    def between(self, first_ns: int, last_ns: int) -> int | None:
        """Return the time of the first value from one time to another; None: there is none."""
        times = map(_time_of, self._all)
        return next((time_ns for time_ns in times if first_ns <= time_ns <= last_ns), None)

    def insert(self, time_ns: int, value: float, *, uncertain: bool) -> None:
        """Put a value between its neighbors, or after the last one. NaN changes nothing."""
        if math.isnan(value):
            return
        target = self._queue if time_ns > self._queue[0][0] else self._past
        if target is self._past and len(target) == KEPT_VALUES:
            target.popleft()
        place = bisect_left(target, time_ns, key=_time_of)
        target.insert(place, (time_ns, value, UNCERTAIN if uncertain else GOOD))

    def remove(self, time_ns: int) -> None:
        """Remove the value of a time, if it is not the only one; there may be none at all."""
        if len(self._all) <= 1:
            return
        is_first = self._queue[0][0] == time_ns
        for target in (self._queue, self._past):
            left = [value for value in target if value[0] != time_ns]
            target.clear()
            target.extend(left)
        if is_first and self._past:
            self._queue.appendleft(self._past.pop())
