"""Values that a stream has taken: they tell one that is sent again from a new one."""

from array import array
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeai.streams.left_rows import LeftRows

CHANNEL_FACTOR, VALUE_FACTOR = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B)  # odd: nothing is lost
NOT_A_NUMBER = 0x7FC00000
Content = float | int
"""A value of one channel; an int stands for the values of a sample, or for one that is NaN."""
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
        self._content: dict[tuple[int, int], Content] = {}
        self._left = LeftRows(older)
        self._number = 0
        """Values that are older ones now."""

    def add(self, time_ns: int, channel: int, values: Sequence[float]) -> None:
        """Remember what was taken."""
        self._remember((time_ns, channel), _content_of(values))

    def add_one(self, time_ns: int, channel: int, value: float) -> None:
        """Remember a single value that was taken; not NaN."""
        key = time_ns, channel
        if key in self._content:
            self._content[key] = value
            return
        self._content[key] = value
        self._order.append(key)
        if len(self._order) > self._room:
            self._shed()

    def _remember(self, key: tuple[int, int], content: Content) -> None:
        if key not in self._content:
            self._order.append(key)
            if len(self._order) > self._room:
                self._shed()
        self._content[key] = content

    def _shed(self) -> None:
        """Make older ones of some of the values: many at a time cost less."""
        popleft, pop = self._order.popleft, self._content.pop
        keys = [popleft() for _ in range(MOST_SHED)]
        times, channels = zip(*keys, strict=True)
        contents = list(map(pop, keys))
        digests = _digests_of(channels, contents)
        self._left.add_digests(self._number, np.array(times, np.int64), digests)
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
        digest = _digests_of([channel], [content])
        number = self._number + len(self._order)
        return bool(self._left.have_digests(np.array([time_ns]), digest, number)[0])

    def remembers_one_of(self, time_ns: int) -> int:
        """Return of how many values of about this time `has` knows one."""
        return self._left.stride_at(time_ns, self._number + len(self._order))


def _digests_of(channels: Sequence[int], contents: Sequence[Content]) -> npt.NDArray[np.uint32]:
    """Return (n,) 32 bits of each content, different for different values of one channel."""
    bits = [one if type(one) is int else 0 for one in contents]
    found = np.array(bits, np.int64).astype(np.uint32)
    values = np.array([one if type(one) is float else 0.0 for one in contents], np.float32)
    found += values.view(np.uint32) * VALUE_FACTOR
    found += np.array(channels, np.int64).astype(np.uint32) * CHANNEL_FACTOR
    return found


def _content_of(values: Sequence[float]) -> Content:
    """Return what tells values from others: a single value itself, a hash of several."""
    if len(values) == 1:
        value = values[0]
        return value if value == value else NOT_A_NUMBER  # noqa: PLR0124
    return hash(array("f", values).tobytes())
