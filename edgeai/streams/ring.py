"""A buffer of one stream's newest samples, contiguous in memory, that emits windows when due."""

import math
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeai.streams.align import AlignSettings

Floats = npt.NDArray[np.float32]

Emit = Callable[[npt.NDArray[Any], int, int, bool], None]
"""Takes a window, the time of its last sample in nanoseconds, how many of its values were
substituted, and whether it is uncertain: a value is outside its valid range, or the sample rate is
not the model's. The window is one input of the model without the batch axis, and is valid during
the call only. `Ring` emits (W, C) float32; other sources of windows may emit another shape."""

Times = Sequence[int] | npt.NDArray[np.int64]
"""(n,) nanoseconds since 1970, UTC."""

MIN_RING_ROWS = 64  # samples

RATE_TOLERANCE = 1.5
"""Largest ratio of a window's time span to its nominal span, and of nominal span to time span.
Beyond it the window is uncertain."""


@dataclass(frozen=True)
class StreamSettings:
    """Settings that all streams of a pipeline share. Times in nanoseconds."""

    length: int
    """Samples in a window, W."""
    hop: int
    """Samples from the start of a window to the start of the next."""
    channels: int
    """Values in a sample, C."""
    period_ns: int | None
    """The model's sample period; None if samples are events without a rate."""
    max_gap_ns: int | None
    """A longer step between two samples empties the window; None: no step does."""
    lateness_ns: int
    """How long to wait for samples that arrive out of order."""
    invalid: Literal["hold", "drop"]
    """Replace an unusable value by the last good value, or drop the sample."""
    align: AlignSettings | None = None
    """How to align samples to the model's grid; None: windows are made of the samples as sent."""


class Ring:
    """The newest samples of a stream, (n, C) float32; emits each window (W, C) when it is due."""

    __slots__ = (
        "_end", "_flat", "_max_span_ns", "_min_span_ns", "_pack_into", "_rows", "_settings",
        "_starts", "_substituted", "_to_start", "_uncertain", "due_in", "emit", "flagged",
    )  # fmt: skip

    @staticmethod
    def bytes_of(settings: StreamSettings) -> int:
        """Return the bytes of a ring's samples and flags."""
        return max(2 * settings.length, MIN_RING_ROWS) * (4 * settings.channels + 5)

    def __init__(self, settings: StreamSettings, emit: Emit) -> None:
        capacity = max(2 * settings.length, MIN_RING_ROWS)
        self.emit = emit
        """Called with each window."""
        self._settings = settings
        nominal_ns = (settings.length - 1) * (settings.period_ns or 0)
        self._min_span_ns = nominal_ns / RATE_TOLERANCE
        """Shortest time span of a window at about the model's rate."""
        self._max_span_ns = nominal_ns * RATE_TOLERANCE if nominal_ns else math.inf
        """Longest time span; infinite if the model has no rate."""
        self._rows = np.zeros((capacity, settings.channels), np.float32)
        self._flat = self._rows.reshape(-1).data
        """The memory of `_rows`: assigning a few values is cheaper here than in an array."""
        self._pack_into = struct.Struct(f"{settings.channels}f").pack_into
        self._substituted = np.zeros(capacity, np.int32)
        self._uncertain = np.zeros(capacity, np.bool_)
        self._starts: deque[int] = deque()
        """Times of the first samples of the windows that are not complete yet."""
        self.clear()

    def clear(self) -> None:
        """Empty the ring: the next window needs W new samples."""
        self._end = 0
        self.due_in = self._settings.length
        """Samples until the next window is complete."""
        self._to_start = 0
        """Samples until the next sample that starts a window."""
        self._starts.clear()
        self.flagged = 0
        """Number of coming samples whose windows may still contain a flagged sample."""

    @property
    def newest(self) -> Floats:
        """The last sample, (C,), as a view."""
        newest: Floats = self._rows[self._end - 1]
        return newest

    def push(
        self,
        times: Times,
        rows: Floats,
        substituted: Sequence[int] | None,
        uncertain: Sequence[bool] | None,
    ) -> None:
        """Append samples in time order and emit each window as it becomes complete.

        Args:
            times: (n,) nanoseconds.
            rows: (n, C) finite.
            substituted: (n,) number of substituted values in each sample; None: all 0.
            uncertain: (n,) whether a value of the sample is outside its range; None: all False.
        """
        total = len(times)
        flagged = substituted is not None or uncertain is not None
        length = self._settings.length
        hop = self._settings.hop
        if flagged and not self.flagged:  # the flag arrays were not kept up to date
            self._substituted[:] = 0
            self._uncertain[:] = False
        taken = 0
        if hop == length == self.due_in and not flagged:
            # Windows that share no sample and are complete in the block are not copied here.
            while total - taken >= length:
                end = taken + length
                window = rows[taken:end]
                self._emit_window(window, int(times[taken]), int(times[end - 1]), 0, False)
                taken = end
                self.flagged = 0
        while taken < total:
            if self._end == len(self._rows):
                self._move_to_front(length - 1)
            count = min(total - taken, self.due_in, len(self._rows) - self._end)
            end = self._end + count
            self._rows[self._end : end] = rows[taken : taken + count]
            if flagged or self.flagged:
                target = slice(self._end, end)
                block = slice(taken, taken + count)
                self._substituted[target] = 0 if substituted is None else substituted[block]
                self._uncertain[target] = False if uncertain is None else uncertain[block]
                self.flagged = length + count if flagged else self.flagged
            self._end = end
            taken += count
            self.due_in -= count
            self._to_start -= count
            if self._to_start < 0:
                self._add_starts(times, taken)
            if self.due_in == 0:
                self.due_in = hop
                self._emit_newest(int(times[taken - 1]))
            self.flagged = max(0, self.flagged - count)

    def push_few(self, times: list[int], values: memoryview, begin: int, stop: int) -> bool:
        """Append a few samples without flags, as `push` does; return whether they were appended.

        They are not appended if the ring has no room for all, or holds flagged samples.

        Args:
            times: (n,) nanoseconds, n = stop - begin.
            values: float32, rows of C values one after the other.
            begin: Index of the first row to append.
            stop: Index after the last row to append.
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
            self._add_starts(times, end - old)
        due = self.due_in - (end - old)
        while due <= 0:  # a window ends -due samples before the last sample
            last = end + due
            window = self._rows[last - settings.length : last]
            self._emit_window(window, self._starts.popleft(), times[due - 1], 0, False)
            due += settings.hop
        self.due_in = due
        return True

    def push_one(self, time_ns: int, row: Sequence[float]) -> None:
        """Append one sample (C,) without flags, as `push` does."""
        if self._end == len(self._rows):
            self._move_to_front(self._settings.length - 1)
        self._pack_into(self._flat, self._end * 4 * self._settings.channels, *row)
        if self.flagged:
            self._substituted[self._end] = 0
            self._uncertain[self._end] = False
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
                self._emit_newest(time_ns)
            else:
                window = self._rows[end - settings.length : end]
                self._emit_window(window, self._starts.popleft(), time_ns, 0, False)
        if self.flagged:
            self.flagged -= 1

    def _add_starts(self, times: Times, taken: int) -> None:
        """Store the times of samples that start a window, among the first `taken` of a block."""
        while self._to_start < 0:
            self._starts.append(int(times[taken + self._to_start]))
            self._to_start += self._settings.hop

    def _emit_newest(self, last_ns: int) -> None:
        """Emit the window that ends with the newest sample, with its flags."""
        end = self._end
        start = end - self._settings.length
        substituted = 0
        uncertain = False
        if self.flagged:
            substituted = int(self._substituted[start:end].sum())
            uncertain = bool(self._uncertain[start:end].any())
        first_ns = self._starts.popleft()
        self._emit_window(self._rows[start:end], first_ns, last_ns, substituted, uncertain)

    def _emit_window(
        self,
        window: Floats,
        first_ns: int,
        last_ns: int,
        substituted: int,
        uncertain: bool,
    ) -> None:
        """Emit a window; mark it uncertain if its sample rate is not the model's."""
        if not self._min_span_ns <= last_ns - first_ns <= self._max_span_ns:
            uncertain = True
        self.emit(window, last_ns, substituted, uncertain)

    def is_off_rate(self, span_ns: int) -> bool:
        """Return whether a window of this time span has another sample rate than the model."""
        return not self._min_span_ns <= span_ns <= self._max_span_ns

    def _move_to_front(self, keep: int) -> None:
        """Move the newest `keep` samples to the start of the memory."""
        kept = slice(self._end - keep, self._end)
        self._rows[:keep] = self._rows[kept].copy()
        if self.flagged:
            self._substituted[:keep] = self._substituted[kept].copy()
            self._uncertain[:keep] = self._uncertain[kept].copy()
        self._end = keep
