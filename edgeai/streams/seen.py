"""Samples that a stream has taken: they tell one that is sent again from a new one."""

from array import array
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

import numpy as np
import numpy.typing as npt

from edgeai.streams.settings import Floats

BYTES_PER_SAMPLE = 14
"""Of a sample that is remembered: time, digest, and its share of a block."""
MAX_SEEN_SECONDS = 300
MAX_SEEN = 4096
MIN_SEEN = 512


def seen_samples(period_ns: int | None) -> int:
    """Return how many samples to remember: some minutes at the rate, within bounds."""
    if period_ns is None:
        return MIN_SEEN
    return max(MIN_SEEN, min(MAX_SEEN, MAX_SEEN_SECONDS * 10**9 // period_ns))


@lru_cache(maxsize=64)
def _weights(channels: int) -> npt.NDArray[np.uint32]:
    """Return odd numbers, (C,), so that every bit of a value changes the digest of its row."""
    numbers = np.random.default_rng(channels).integers(0, 1 << 31, channels, np.uint32)
    return numbers * np.uint32(2) + np.uint32(1)


def _digests(rows: Floats) -> npt.NDArray[np.uint32]:
    """Return a number of each row, (n,): other rows mostly have other ones."""
    found: npt.NDArray[np.uint32] = rows.view(np.uint32) @ _weights(rows.shape[1])
    return found


class LeftRows:
    """The samples that have left a ring: their times, and a digest of each."""

    __slots__ = ("_blocks", "_count", "_room")

    def __init__(self, room: int) -> None:
        """Start empty.

        Args:
            room: Samples to remember.
        """
        self._room = room
        self._count = 0
        self._blocks: deque[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.uint32]]] = deque()

    def add(self, number: int, times: npt.NDArray[np.int64], rows: Floats) -> None:
        """Remember samples.

        Args:
            number: Of the first one.
            times: (n,) nanoseconds, rising, n at least 1.
            rows: (n, C).
        """
        self._blocks.append((number, times.copy(), _digests(rows)))
        self._count += len(times)
        while self._count - len(self._blocks[0][1]) >= self._room:
            self._count -= len(self._blocks.popleft()[1])

    def has(self, time_ns: int, row: Floats, next_number: int) -> bool:
        """Return whether a sample of this time and these values has left the ring.

        Args:
            time_ns: Its time.
            row: (C,).
            next_number: Of the next sample of the ring. Which samples are remembered depends on
                their numbers only, and not on the turns in which they came.
        """
        digest = _digests(np.array(row, np.float32)[np.newaxis])[0]
        for first, times, digests in self._blocks:
            index = int(times.searchsorted(time_ns))
            if index == len(times) or times[index] != time_ns:
                continue
            if first + index >= next_number - self._room and digests[index] == digest:
                return True
        return False


class Seen:
    """The newest values that were taken, by time and channel, and what they were."""

    __slots__ = ("_content", "_order", "_room")

    def __init__(self, room: int) -> None:
        """Start empty.

        Args:
            room: Values or samples to remember.
        """
        self._room = room
        self._order: deque[tuple[int, int]] = deque()
        self._content: dict[tuple[int, int], int] = {}

    def add(self, time_ns: int, channel: int, values: Sequence[float]) -> None:
        """Remember what was taken."""
        key = time_ns, channel
        if key not in self._content:
            self._order.append(key)
            if len(self._order) > self._room:
                del self._content[self._order.popleft()]
        self._content[key] = _content_of(values)

    def clear(self) -> None:
        """Forget everything."""
        self._order.clear()
        self._content.clear()

    def has(self, time_ns: int, channel: int, values: Sequence[float]) -> bool:
        """Return whether the same values of this time and channel were taken."""
        found = self._content.get((time_ns, channel))
        return found is not None and found == _content_of(values)


_pack_one = Struct("f").pack


def _content_of(values: Sequence[float]) -> int:
    if len(values) == 1:
        return hash(_pack_one(values[0]))
    return hash(array("f", values).tobytes())
