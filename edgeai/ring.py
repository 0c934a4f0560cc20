"""The newest samples of one stream, contiguous in memory, and the windows that are due."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeai.align import AlignSettings

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
        "_doubtful", "_due_in", "_end", "_flagged", "_nominal_ns", "_rows", "_settings",
        "_substituted", "_times",
    )  # fmt: skip

    def __init__(self, settings: StreamSettings) -> None:
        capacity = max(2 * settings.length, MIN_RING_ROWS)
        self._settings = settings
        self._nominal_ns = (settings.length - 1) * (settings.period_ns or 0)
        """Time that a window spans at the model's rate; 0 where there is no rate to hold it to."""
        self._rows = np.zeros((capacity, settings.channels), np.float32)
        self._times = np.zeros(capacity, np.int64)
        self._substituted = np.zeros(capacity, np.int32)
        self._doubtful = np.zeros(capacity, np.bool_)
        self.clear()

    def clear(self) -> None:
        """Empty the ring: the next window needs W new samples."""
        self._end = 0
        self._due_in = self._settings.length
        self._flagged = 0
        """For how many more samples a window may still hold a flagged one."""

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
        length = self._settings.length
        hop = self._settings.hop
        flagged = substituted is not None or doubtful is not None
        if flagged and not self._flagged:  # what the arrays hold of before is out of date
            self._substituted[:] = 0
            self._doubtful[:] = False
        total = len(times)
        taken = 0
        if hop == length == self._due_in and not flagged:
            # Windows that share no sample and lie whole in the block need no ring.
            while total - taken >= length:
                end = taken + length
                self._give(rows[taken:end], int(times[taken]), int(times[end - 1]), 0, False, emit)
                taken = end
                self._flagged = 0
        while taken < total:
            if self._end == len(self._rows):
                self._move_to_front(length - 1)
            count = min(total - taken, self._due_in, len(self._rows) - self._end)
            end = self._end + count
            self._rows[self._end : end] = rows[taken : taken + count]
            if self._nominal_ns:
                self._times[self._end : end] = times[taken : taken + count]
            if flagged or self._flagged:
                place = slice(self._end, end)
                block = slice(taken, taken + count)
                self._substituted[place] = 0 if substituted is None else substituted[block]
                self._doubtful[place] = False if doubtful is None else doubtful[block]
                self._flagged = length + count if flagged else self._flagged
            self._end = end
            taken += count
            self._due_in -= count
            if self._due_in == 0:
                self._due_in = hop
                self._emit(end, int(times[taken - 1]), emit)
            self._flagged = max(0, self._flagged - count)

    def push_one(self, time_ns: int, row: Sequence[float], emit: Emit) -> Floats:
        """Append one sample with nothing to mark, as `push` does; return it as stored, (C,)."""
        if self._end == len(self._rows):
            self._move_to_front(self._settings.length - 1)
        end = self._end
        self._rows[end] = row
        stored: Floats = self._rows[end]
        if self._nominal_ns:
            self._times[end] = time_ns
        if self._flagged:
            self._substituted[end] = 0
            self._doubtful[end] = False
        self._end = end = end + 1
        self._due_in -= 1
        if self._due_in == 0:
            self._due_in = self._settings.hop
            self._emit(end, time_ns, emit)
        self._flagged = max(0, self._flagged - 1)
        return stored

    def _emit(self, end: int, last_ns: int, emit: Emit) -> None:
        start = end - self._settings.length
        substituted = 0
        doubtful = False
        if self._flagged:
            substituted = int(self._substituted[start:end].sum())
            doubtful = bool(self._doubtful[start:end].any())
        first_ns = int(self._times[start])
        self._give(self._rows[start:end], first_ns, last_ns, substituted, doubtful, emit)

    def _give(  # noqa: PLR0917  the hot path
        self,
        window: Floats,
        first_ns: int,
        last_ns: int,
        substituted: int,
        doubtful: bool,
        emit: Emit,
    ) -> None:
        """Emit a window, marked when it does not span the time that the model was trained on."""
        nominal = self._nominal_ns
        if nominal:
            span = last_ns - first_ns
            if span > nominal * RATE_TOLERANCE or span * RATE_TOLERANCE < nominal:
                doubtful = True
        emit(window, last_ns, substituted, doubtful)

    def _move_to_front(self, keep: int) -> None:
        kept = slice(self._end - keep, self._end)
        for array in (self._rows, self._times, self._substituted, self._doubtful):
            array[:keep] = array[kept].copy()
        self._end = keep
