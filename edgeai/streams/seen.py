"""Values that a stream has taken: they tell one that is sent again from a new one."""

from array import array
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeai.streams.left_rows import BLOCK, LeftRows

CHANNEL_FACTOR, VALUE_FACTOR = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B)  # odd: nothing is lost
NOT_A_NUMBER = 0x7FC00000
Content = float | int
"""A value of one channel; an int stands for the values of a sample, or for one that is NaN."""
MOST_SHED = 256
"""Values that become older ones at a time."""
MOST_SHED_GROUPED = 1024
"""The same for values that came together: the cost is that of some calls of NumPy."""


class Seen:
    """The values that were taken, by time and channel, and what they were.

    The newest are compared with certainty; older ones are remembered as `LeftRows` does.
    """

    __slots__ = (
        "_content", "_group_order", "_grouped", "_groups", "_left", "_number", "_older", "_order",
        "_room",
    )  # fmt: skip

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
        self._groups: dict[int, list[tuple[Sequence[int], Sequence[float]]]] = {}
        """Channels and values that came together, by their time."""
        self._group_order: deque[int] = deque()
        self._grouped = 0
        """How many values they are."""
        self._left = LeftRows(older)
        self._number = 0
        """Values that are older ones now."""

    def add(self, time_ns: int, channel: int, values: Sequence[float]) -> None:
        """Remember what was taken."""
        self._remember((time_ns, channel), _content_of(values))

    def add_many(self, time_ns: int, channels: Sequence[int], values: Sequence[float]) -> None:
        """Remember single values of one time that were taken; none is NaN.

        They are kept together, which costs much less than each alone.
        """
        self._groups.setdefault(time_ns, []).append((channels, values))
        self._group_order.append(time_ns)
        self._grouped += len(values)
        if self._grouped > self._room:
            self._shed_groups()

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
        self._left.add_digests(np.array(times, np.int64), digests)
        self._number += MOST_SHED

    def _shed_groups(self) -> None:
        """Make older ones of the oldest groups."""
        times: list[npt.NDArray[np.int64]] = []
        digests = []
        count, wanted = 0, min(MOST_SHED_GROUPED, self._grouped // 2)
        while count < wanted and self._group_order:
            time_ns = self._group_order.popleft()
            groups = self._groups[time_ns]
            channels, values = groups.pop(0)
            if not groups:
                del self._groups[time_ns]
            count += len(values)
            times.append(np.full(len(values), time_ns, np.int64))
            digests.append(_digests_of_values(channels, values))
        all_times, all_digests = np.concatenate(times), np.concatenate(digests)
        for begin in range(0, count, BLOCK):
            part = slice(begin, begin + BLOCK)
            self._left.add_digests(all_times[part], all_digests[part])
        self._number += count
        self._grouped -= count

    def _in_groups(self, time_ns: int, channel: int) -> Content | None:
        """Return the newest value of a time and channel in the groups; None: there is none."""
        for channels, values in reversed(self._groups.get(time_ns, ())):
            if channel in channels:
                return values[channels.index(channel)]
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._groups.clear()
        self._group_order.clear()
        self._grouped = 0
        self._order.clear()
        self._content.clear()
        self._left = LeftRows(self._older)
        self._number = 0

    def has(self, time_ns: int, channel: int, values: Sequence[float]) -> bool:
        """Return whether the same values of this time and channel were taken."""
        content = _content_of(values)
        found = self._content.get((time_ns, channel))
        if found is None and self._groups:
            found = self._in_groups(time_ns, channel)
        if found is not None:
            return found == content
        if not self._number:
            return False
        digest = _digests_of([channel], [content])
        number = self._number + len(self._order) + self._grouped
        return bool(self._left.have_digests(np.array([time_ns]), digest, number)[0])

    def remembers_one_of(self, time_ns: int) -> int:
        """Return of how many values of about this time `has` knows one."""
        return self._left.stride_at(time_ns, self._number + len(self._order) + self._grouped)


def _digests_of(channels: Sequence[int], contents: Sequence[Content]) -> npt.NDArray[np.uint32]:
    """Return (n,) 32 bits of each content, different for different values of one channel."""
    bits = [one if type(one) is int else 0 for one in contents]
    found = np.array(bits, np.int64).astype(np.uint32)
    values = np.array([one if type(one) is float else 0.0 for one in contents], np.float32)
    found += values.view(np.uint32) * VALUE_FACTOR
    found += np.array(channels, np.int64).astype(np.uint32) * CHANNEL_FACTOR
    return found


def _digests_of_values(channels: Sequence[int], values: Sequence[float]) -> npt.NDArray[np.uint32]:
    """Return what `_digests_of` does for single values, none of them NaN."""
    found = np.array(values, np.float32).view(np.uint32) * VALUE_FACTOR
    found += np.array(channels, np.uint32) * CHANNEL_FACTOR
    return found


def _content_of(values: Sequence[float]) -> Content:
    """Return what tells values from others: a single value itself, a hash of several."""
    if len(values) == 1:
        value = values[0]
        return value if value == value else NOT_A_NUMBER  # noqa: PLR0124
    return hash(array("f", values).tobytes())
