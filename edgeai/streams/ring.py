"""The newest samples of one stream, contiguous in memory, and the windows that are due."""

import math
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeai.streams.align import AlignSettings

Floats = npt.NDArray[np.float32]

Emit = Callable[[Floats, int, int, bool], None]
"""Takes a window (W, C), the time of its last sample, how many of its values were substituted, and
whether a value is outside its range or the sample rate is not the model's."""

Times = Sequence[int] | npt.NDArray[np.int64]

MIN_RING_ROWS = 64

RATE_TOLERANCE = 1.5
"""A window that spans more than this times its nominal time or less than its inverse is marked."""


@dataclass(frozen=True)
class StreamSettings:
    """What all streams of a pipeline share. Times in nanoseconds."""

    length: int
    hop: int
    channels: int
    period_ns: int | None
    """The model's sample period; None when a sample is an event."""
    max_gap_ns: int | None
    lateness_ns: int
    invalid: Literal["hold", "drop"]
    align: AlignSettings | None = None


class Ring:
    """The newest samples of a stream and the windows that are due. (W, C) float32."""

    __slots__ = (
        "_doubtful", "_end", "_flat", "_least_ns", "_most_ns", "_pack_into", "_rows", "_settings",
        "_starts", "_substituted", "_to_start", "due_in", "flagged",
    )  # fmt: skip

    def __init__(self, settings: StreamSettings) -> None:
        capacity = max(2 * settings.length, MIN_RING_ROWS)
        self._settings = settings
        nominal_ns = (settings.length - 1) * (settings.period_ns or 0)
        self._least_ns = nominal_ns / RATE_TOLERANCE
        """Time that a window spans at least, at about the model's rate."""
        self._most_ns = nominal_ns * RATE_TOLERANCE if nominal_ns else math.inf
        """At most; endless where there is no rate to hold it to."""
        self._rows = np.zeros((capacity, settings.channels), np.float32)
        self._flat = self._rows.reshape(-1).data
        """The same memory: for a few values a quarter of the price of an array's assignment."""
        self._pack_into = struct.Struct(f"{settings.channels}f").pack_into
        self._substituted = np.zeros(capacity, np.int32)
        self._doubtful = np.zeros(capacity, np.bool_)
        self._starts: deque[int] = deque()
        """Times of the first samples of windows that are not complete yet."""
        self.clear()

    def clear(self) -> None:
        """Empty the ring: the next window needs W new samples."""
        self._end = 0
        self.due_in = self._settings.length
        """Samples until the next window is complete."""
        self._to_start = 0
        """Samples before the next one with which a window begins."""
        self._starts.clear()
        self.flagged = 0
        """For how many more samples a window may still hold a flagged one."""

    @property
    def newest(self) -> Floats:
        """The last sample that was kept, (C,), a view."""
        newest: Floats = self._rows[self._end - 1]
        return newest

    def push(
        self,
        times: Times,
        rows: Floats,
        substituted: Sequence[int] | None,
        doubtful: Sequence[bool] | None,
        emit: Emit,
    ) -> None:
        """Append samples in time order and emit each window as it becomes complete.

        Args:
            times: (n,) nanoseconds.
            rows: (n, C) finite.
            substituted: (n,) values of the sample that were not measured; None: none were.
            doubtful: (n,) whether a value is outside its range; None: none is.
            emit: Called with a view that is valid during the call only.
        """
        total = len(times)
        flagged = substituted is not None or doubtful is not None
        length = self._settings.length
        hop = self._settings.hop
        if flagged and not self.flagged:  # what the arrays hold of before is out of date
            self._substituted[:] = 0
            self._doubtful[:] = False
        taken = 0
        if hop == length == self.due_in and not flagged:
            # Windows that share no sample and lie whole in the block need no ring.
            while total - taken >= length:
                end = taken + length
                self.give(rows[taken:end], int(times[taken]), int(times[end - 1]), 0, False, emit)
                taken = end
                self.flagged = 0
        while taken < total:
            if self._end == len(self._rows):
                self._move_to_front(length - 1)
            count = min(total - taken, self.due_in, len(self._rows) - self._end)
            end = self._end + count
            self._rows[self._end : end] = rows[taken : taken + count]
            if flagged or self.flagged:
                place = slice(self._end, end)
                block = slice(taken, taken + count)
                self._substituted[place] = 0 if substituted is None else substituted[block]
                self._doubtful[place] = False if doubtful is None else doubtful[block]
                self.flagged = length + count if flagged else self.flagged
            self._end = end
            taken += count
            self.due_in -= count
            self._to_start -= count
            if self._to_start < 0:
                self._note_starts(times, taken)
            if self.due_in == 0:
                self.due_in = hop
                self._emit(int(times[taken - 1]), emit)
            self.flagged = max(0, self.flagged - count)

    def push_few(
        self, times: list[int], values: memoryview, begin: int, stop: int, emit: Emit
    ) -> bool:
        """Append a few samples with nothing to mark, as `push` does, where they fit as they are.

        Args:
            times: (n,) nanoseconds, n = stop - begin.
            values: float32, rows of C values one after the other.
            begin: The first row to append.
            stop: The row after the last.
            emit: Called with a view that is valid during the call only.
        """
        old = self._end
        end = old + stop - begin
        if end > len(self._rows) or self.flagged:
            return False
        settings = self._settings
        channels = settings.channels
        self._flat[old * channels : end * channels] = values[begin * channels : stop * channels]
        self._end = end
        self._to_start -= end - old
        if self._to_start < 0:
            self._note_starts(times, end - old)
        due = self.due_in - (end - old)
        while due <= 0:  # a window ends so many samples before the last
            last = end + due
            window = self._rows[last - settings.length : last]
            self.give(window, self._starts.popleft(), times[due - 1], 0, False, emit)
            due += settings.hop
        self.due_in = due
        return True

    def push_one(self, time_ns: int, row: Sequence[float], emit: Emit) -> None:
        """Append one sample (C,) with nothing to mark, as `push` does."""
        if self._end == len(self._rows):
            self._move_to_front(self._settings.length - 1)
        self._pack_into(self._flat, self._end * 4 * self._settings.channels, *row)
        if self.flagged:
            self._substituted[self._end] = 0
            self._doubtful[self._end] = False
        end = self._end = self._end + 1
        settings = self._settings
        self.due_in -= 1
        self._to_start -= 1
        if self._to_start < 0:
            self._starts.append(time_ns)
            self._to_start += settings.hop
        if self.due_in == 0:
            self.due_in = settings.hop
            if self.flagged:
                self._emit(time_ns, emit)
            else:
                window = self._rows[end - settings.length : end]
                self.give(window, self._starts.popleft(), time_ns, 0, False, emit)
        if self.flagged:
            self.flagged -= 1

    def _note_starts(self, times: Times, taken: int) -> None:
        """Note the times with which windows begin, up to the `taken`th of a block."""
        while self._to_start < 0:
            self._starts.append(int(times[taken + self._to_start]))
            self._to_start += self._settings.hop

    def _emit(self, last_ns: int, emit: Emit) -> None:
        end = self._end
        start = end - self._settings.length
        substituted = 0
        doubtful = False
        if self.flagged:
            substituted = int(self._substituted[start:end].sum())
            doubtful = bool(self._doubtful[start:end].any())
        first_ns = self._starts.popleft()
        self.give(self._rows[start:end], first_ns, last_ns, substituted, doubtful, emit)

    def give(  # noqa: PLR0917  the hot path
        self,
        window: Floats,
        first_ns: int,
        last_ns: int,
        substituted: int,
        doubtful: bool,
        emit: Emit,
    ) -> None:
        """Emit a window, marked when it does not span the time that the model was trained on.

        It may be one that passes the ring by: its W samples are the next, shared with no other
        window, and none is flagged.
        """
        if not self._least_ns <= last_ns - first_ns <= self._most_ns:
            doubtful = True
        emit(window, last_ns, substituted, doubtful)

    def is_off_rate(self, span_ns: int) -> bool:
        """Whether a window of so much time, from first to last sample, is none of the model's."""
        return not self._least_ns <= span_ns <= self._most_ns

    def _move_to_front(self, keep: int) -> None:
        kept = slice(self._end - keep, self._end)
        self._rows[:keep] = self._rows[kept].copy()
        if self.flagged:
            self._substituted[:keep] = self._substituted[kept].copy()
            self._doubtful[:keep] = self._doubtful[kept].copy()
        self._end = keep
