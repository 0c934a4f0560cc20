"""Values that a stream has taken: they tell one that is sent again from a new one."""

from array import array
from collections import deque
from collections.abc import Sequence
from struct import Struct

import numpy as np

from edgeai.streams.left_rows import LeftRows

MOST_SHED = 256
"""Values that become older ones at a time."""


class Seen:
    """The values that were taken, by time and channel, and what they were.

    The newest are compared with certainty; older ones are remembered as `LeftRows` does.
    """

    __slots__ = ("_content", "_left", "_number", "_older", "_order", "_room")

    def __init__(self, room: int, older: int) -> None:
        """Start empty.

        Args:
            room: Values or samples of which what was taken last is remembered.
            older: Values or samples before them.
        """
        self._room = room + MOST_SHED
        self._older = older
        self._order: deque[tuple[int, int]] = deque()
        self._content: dict[tuple[int, int], int] = {}
        self._left = LeftRows(older)
        self._number = 0
        """Values that are older ones now."""

    def add(self, time_ns: int, channel: int, values: Sequence[float]) -> None:
        """Remember what was taken."""
        key = time_ns, channel
        if key not in self._content:
            self._order.append(key)
            if len(self._order) > self._room:
                self._shed()
        self._content[key] = _content_of(values)

    def _shed(self) -> None:
        """Make older ones of some of the values: many at a time cost less."""
        order, content = self._order, self._content
        keys = [order.popleft() for _ in range(MOST_SHED)]
        times = np.array([time_ns for time_ns, _ in keys], np.int64)
        digests = [_digest_of(channel, content.pop((at, channel))) for at, channel in keys]
        self._left.add_digests(times, np.array(digests, np.uint32))
        self._number += MOST_SHED

    def clear(self) -> None:
        """Forget everything."""
        self._order.clear()
        self._content.clear()
        self._left = LeftRows(self._older)
        self._number = 0

    def has(self, time_ns: int, channel: int, values: Sequence[float]) -> bool:
        """Return whether the same values of this time and channel were taken."""
        content = _content_of(values)
        found = self._content.get((time_ns, channel))
        if found is not None:
            return found == content
        if not self._number:
            return False
        digest = np.array([_digest_of(channel, content)], np.uint32)
        number = self._number + len(self._order)
        return bool(self._left.have_digests(np.array([time_ns]), digest, number)[0])

    def remembers_one_of(self, time_ns: int) -> int:
        """Return of how many values of about this time `has` knows one."""
        return self._left.stride_at(time_ns, self._number + len(self._order))


def _digest_of(channel: int, content: int) -> int:
    return (content + 0x9E3779B1 * channel) & 0xFFFFFFFF


_pack_one = Struct("f").pack


def _content_of(values: Sequence[float]) -> int:
    if len(values) == 1:
        return hash(_pack_one(values[0]))
    return hash(array("f", values).tobytes())
