"""Frames of a stream that were taken: they tell one that is sent again from a new one."""

from array import array
from typing import Any
from zlib import adler32, crc32

import numpy as np
import numpy.typing as npt

from edgeai.messages import SECOND_NS

NUMBERED = 65_536
"""Frames with a number or a time that are remembered: all numbers of two bytes."""
UNNUMBERED = 1024
"""The same without either: each frame is compared with them."""
RESTING = 64
"""Of a machine that stands still, so many numbered frames are remembered: after a restart of the
sender, or of its counter, others have the numbers and the values of frames that were taken."""
BYTES_PER_FRAME = 8
FIRST_ROOM = 64
NEVER = -(1 << 62)
BURST_SPANS = 1 / 4
"""A frame that arrives sooner after the one before, in its own time spans, is one of a burst."""

PART_BYTES = 64
"""Of a frame with a time and no number, so many bytes are compared."""

Mark = tuple[int | None, int]
"""Sequence number of a frame, and its time, or a number of its content if one of them is missing.
"""


def content_of(payload: bytes | memoryview) -> int:
    """Return a number of 64 bits that frames with other bytes do not have."""
    return crc32(payload) << 32 | adler32(payload)


def mark_of_time(time_ns: int, payload: bytes | memoryview) -> Mark:
    """Return the mark of a frame without a number: its time and some of its content.

    A frame of the same time with other content is a new one: the sender's clock was set back, or is
    coarse. The middle tells: all of the payload would cost more than the rest of the way.
    """
    middle = len(payload) // 2
    return None, hash((time_ns, bytes(payload[middle : middle + PART_BYTES])))


class SeenFrames:
    """The marks of the last frames of one stream."""

    __slots__ = ("_arrived_ns", "_count", "_is_loop", "_last", "_marks", "_repeats", "_room")

    def __init__(self) -> None:
        """Start empty; the room grows with the frames."""
        self._marks = array("q", bytes(8 * FIRST_ROOM))
        self._room = FIRST_ROOM
        self._count = 0
        """Frames since the start."""
        self._repeats = 0
        """Frames in a row, at the pace of new ones, that have the content of one that was taken."""
        self._is_loop = False
        """Whether the signal itself repeats, so that no frame is a repeat."""
        self._last: dict[int, int] = {}
        """Of the frames without number and time: mark, and `_count` after the last with it."""
        self._arrived_ns = 0
        """When the last frame arrived that was looked at."""

    def add(self, mark: Mark, most: int) -> None:
        """Remember a frame, and at most so many."""
        if self._count == self._room < most:
            self._marks.extend(array("q", bytes(8 * self._room)))
            self._room *= 2
        self._marks[self._count % self._room] = found = hash(mark)
        self._count += 1
        if most == UNNUMBERED:
            self._last[found] = self._count
            if len(self._last) > 2 * UNNUMBERED:
                oldest = self._count - UNNUMBERED
                self._last = {key: last for key, last in self._last.items() if last > oldest}

    def has(self, mark: Mark, newest: int = NUMBERED) -> bool:
        """Return whether one of the newest frames has this mark."""
        held = min(self._count, self._room)
        marks = np.frombuffer(self._marks, np.int64, held)
        if newest < held:
            marks = marks[np.arange(self._count - newest, self._count) % self._room]
        return bool((marks == hash(mark)).any())

    def _has_unnumbered(self, mark: Mark) -> bool:
        """Return what `has` does, in less time: each of these frames is looked for."""
        return self._last.get(hash(mark), NEVER) > self._count - UNNUMBERED

    def is_repeat(
        self, mark: Mark, values: npt.NDArray[Any], arrived_ns: int, rate_hz: float
    ) -> bool:
        """Return whether a frame without a time was sent again; look at each only once.

        Equal content, and number, says so, with two exceptions. Values that do not change are those
        of a machine that stands still. And if, at the pace of new frames, more frames come again
        than are remembered, the signal itself repeats.

        Args:
            mark: Its mark.
            values: (n, C).
            arrived_ns: When it arrived.
            rate_hz: Its samples in a second.
        """
        step_ns, self._arrived_ns = arrived_ns - self._arrived_ns, arrived_ns
        if not (self.has(mark) if mark[0] is not None else self._has_unnumbered(mark)):
            self._repeats, self._is_loop = 0, False
            return False
        if bool((values == values[:1]).all()):
            return mark[0] is not None and self.has(mark, RESTING)
        if step_ns < BURST_SPANS * len(values) / rate_hz * SECOND_NS:
            return True
        self._repeats += 1
        self._is_loop = self._is_loop or self._repeats > min(self._count, self._room)
        return not self._is_loop
