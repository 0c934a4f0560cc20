"""A buffer of one stream's newest samples, contiguous in memory, that emits windows when due.

When a window is due does not depend on when edgeai was started. With a sample rate, a window ends
with the first sample whose time reaches k * hop * period - period / 2 since 1970, k whole: the
sample of the slot k * hop, or the next one if that is missing. A block may say itself where windows
end in it. Only where samples have no rate does the ring count them.
"""

import math
import struct
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeai.streams.seen import BYTES_PER_SAMPLE, LeftRows, seen_samples
from edgeai.streams.settings import NEVER_NS, Emit, Floats, StreamSettings, Times

MIN_KEPT_ROWS = 128
"""Samples that a ring keeps at least. They tell a sample that was seen from one that was not."""
SPARE_ROWS = 8
"""Samples that a ring keeps beyond a window, so that as many filled samples can be taken back."""
MIN_FREE_ROWS = 192

RATE_TOLERANCE = 1.5
"""Largest ratio of a window's time span to its nominal span, and of nominal span to time span.
Beyond it the window is uncertain."""


class Ring:
    """The newest samples of a stream, (n, C) float32; emits each window (W, C) when it is due."""

    __slots__ = (
        "_before", "_capacity", "_clock", "_flat", "_half_ns", "_hop_left", "_hop_ns",
        "_keep", "_left", "_length", "_max_span_ns", "_min_span_ns", "_pack_into", "_row_bytes",
        "_rows",
        "_settings", "_substituted", "_times", "_uncertain", "arrived_ns", "broken", "due_ns",
        "emit", "flagged", "last_ns", "size",
    )  # fmt: skip

    @staticmethod
    def bytes_of(settings: StreamSettings) -> int:
        """Return the bytes of a ring's samples and flags."""
        _, capacity = _rows_of(settings.length)
        left = BYTES_PER_SAMPLE * seen_samples(settings.period_ns)
        return capacity * (4 * settings.channels + 13) + left

    def __init__(self, settings: StreamSettings, emit: Emit) -> None:
        length, channels = settings.length, settings.channels
        self._keep, capacity = _rows_of(length)
        self._capacity = capacity
        self.emit = emit
        """Called with each window."""
        self._settings = settings
        self._length = length
        period_ns = settings.period_ns or 0
        self._half_ns = period_ns // 2
        self._hop_ns = settings.hop * period_ns if settings.hop > 1 else 0
        """From one boundary of windows to the next; 0: count samples."""
        nominal_ns = (length - 1) * period_ns
        self._min_span_ns = nominal_ns / RATE_TOLERANCE
        """Shortest time span of a window at about the model's rate."""
        self._max_span_ns = nominal_ns * RATE_TOLERANCE if nominal_ns else math.inf
        """Longest time span; infinite if the model has no rate."""
        self._rows = np.zeros((capacity, channels), np.float32)
        self._flat = self._rows.reshape(-1).data
        """The memory of `_rows`: assigning a few values is cheaper here than in an array."""
        self._row_bytes = 4 * channels
        self._pack_into = struct.Struct(f"{channels}f").pack_into
        self._times = array("q", bytes(8 * capacity))
        """Time of each row of `_rows`."""
        self._clock = np.frombuffer(self._times, np.int64)
        """The memory of `_times`."""
        self._substituted = np.zeros(capacity, np.int32)
        self._uncertain = np.zeros(capacity, np.bool_)
        self.size = 0
        """Number of samples since the ring was emptied, up to what it keeps."""
        self._before = 0
        """Rows that were in the memory before its first row now; so each row has a number."""
        self.due_ns = 0
        """A sample of this time or later is looked at: it may end a window."""
        self.last_ns = NEVER_NS
        """Time of the newest sample, also after the ring was emptied; NEVER_NS before the first."""
        self.arrived_ns = 0
        """When the newest sample arrived; set by who appends it."""
        self._left = LeftRows(seen_samples(settings.period_ns))
        """The samples that have left it."""
        self.broken = False
        """Set when the stream was interrupted; cleared by the engine with the next window."""
        self.clear()

    def clear(self) -> None:
        """Empty the ring: the next window needs W new samples."""
        self._before += self.size
        self.size = 0
        self.due_ns = 0
        self._hop_left = 1 if self._settings.hop == 1 or self._hop_ns else self._length
        """Samples until the next window, where samples are counted."""
        self.flagged = 0
        """Number of coming samples whose windows may still contain a flagged sample."""

    # ------------------------------------------------------------------------------- what it holds

    @property
    def newest(self) -> Floats:
        """The last sample, (C,), as a view."""
        newest: Floats = self._rows[self.size - 1]
        return newest

    @property
    def recent(self) -> Floats:
        """The samples that are still here, (n, C), oldest first, as a view."""
        return self._rows[: self.size]

    @property
    def next_number(self) -> int:
        """The number that the next appended sample gets."""
        return self._before + self.size

    @property
    def first_number(self) -> int:
        """The number of the oldest sample that the ring holds."""
        return self._before

    def time_at(self, back: int) -> int:
        """Return the time of the sample `back` samples before the newest."""
        return self._times[self.size - 1 - back]

    def find(self, time_ns: int) -> Floats | None:
        """Return the sample of exactly this time, (C,) as a view; None if it has none.

        It looks at as many of the newest samples as it always keeps, so that the answer does not
        depend on how the samples came.
        """
        begin, end = max(0, self.size - self._keep), self.size
        index = bisect_left(self._times, time_ns, begin, end)
        if index < end and self._times[index] == time_ns:
            found: Floats = self._rows[index]
            return found
        return None

    def reaches(self, time_ns: int, samples: int | None) -> bool:
        """Return whether a time is not before the newest `samples`; None: all that `find` knows."""
        known = min(self.size, samples or self._keep)
        return known > 0 and time_ns >= self._times[self.size - known]

    def was_here(self, time_ns: int, row: Floats) -> bool:
        """Return whether a sample was taken that had this time and these values (C,).

        It looks further back than `find`: some minutes at the model's rate.
        """
        index = bisect_left(self._times, time_ns, 0, self.size)
        if index < self.size and self._times[index] == time_ns:
            return bool((self._rows[index] == row).all())
        return self._left.has(time_ns, row, self.next_number)

    def leave(self) -> None:
        """Empty the ring as `clear` does; its samples stay known to `was_here`."""
        if self.size:
            self._left.add(self._before, self._clock[: self.size], self._rows[: self.size])
        self.clear()

    @property
    def due_in(self) -> int:
        """Samples until the next window at the model's rate, at least 1."""
        lacking = max(1, self._length - self.size)
        if not self._hop_ns:
            return max(lacking, self._hop_left)
        return max(lacking, -((self.last_ns - self.due_ns) // (self._settings.period_ns or 1)))

    # -------------------------------------------------------------------------------------- append

    def push(
        self,
        times: Times,
        rows: Floats,
        substituted: Sequence[int] | None,
        uncertain: Sequence[bool] | None,
        ends: Sequence[int] | None = None,
    ) -> None:
        """Append samples in time order and emit each window as it becomes complete.

        Args:
            times: (n,) nanoseconds.
            rows: (n, C) finite.
            substituted: (n,) number of substituted values in each sample; None: all 0.
            uncertain: (n,) whether a value of the sample is outside its range; None: all False.
            ends: Where windows end: after how many of these samples, rising; None: by their times.
        """
        total = len(times)
        flagged = substituted is not None or uncertain is not None
        length = self._length
        if flagged:
            self._start_flags()
        taken = 0
        coming = iter(() if ends is None else ends)
        while taken < total:
            if ends is None:
                until, is_end = self._next_end(times, taken)
            else:
                until = next(coming, 0)
                is_end = until > 0
                until = until or total
            while taken < until:
                if self.size == self._capacity:
                    self._move_to_front()
                count = min(until - taken, self._capacity - self.size)
                old, end = self.size, self.size + count
                self._rows[old:end] = rows[taken : taken + count]
                self._set_times(old, times[taken : taken + count])
                if flagged or self.flagged:
                    target, block = slice(old, end), slice(taken, taken + count)
                    self._substituted[target] = 0 if substituted is None else substituted[block]
                    self._uncertain[target] = False if uncertain is None else uncertain[block]
                    self.flagged = length + count if flagged else self.flagged
                self.size = end
                taken += count
                if is_end and taken == until and end >= length:
                    self._emit_newest()
                self.flagged = max(0, self.flagged - count)
        self.last_ns = int(times[-1])

    def _set_times(self, old: int, times: Times) -> None:
        end = old + len(times)
        if isinstance(times, range):
            self._clock[old:end] = np.arange(times.start, times.stop, times.step)
        elif isinstance(times, np.ndarray):
            self._clock[old:end] = times
        else:
            self._times[old:end] = array("q", times)

    def push_few(self, times: list[int], values: memoryview, begin: int, stop: int) -> bool:
        """Append a few samples without flags, as `push` does; return whether they were appended.

        They are not appended if the ring has no room for all, or holds flagged samples.

        Args:
            times: (n,) nanoseconds, n = stop - begin.
            values: float32, rows of C values one after the other.
            begin: Index of the first row to append.
            stop: Index after the last row to append.
        """
        old = self.size
        end = old + stop - begin
        if self.flagged:
            return False
        if end > self._capacity:
            if self._keep + stop - begin > self._capacity:
                return False
            self._move_to_front()
            old = self.size
            end = old + stop - begin
        channels = self._settings.channels
        self._flat[old * channels : end * channels] = values[begin * channels : stop * channels]
        self._times[old:end] = array("q", times)
        self.size = end
        self.last_ns = last_ns = times[-1]
        if last_ns >= self.due_ns:
            length, count, taken = self._length, end - old, 0
            while taken < count:
                taken, is_end = self._next_end(times, taken)
                last = old + taken
                if is_end and last >= length:
                    window = self._rows[last - length : last]
                    self._emit_window(
                        window, self._times[last - length], times[taken - 1], 0, False
                    )
        return True

    def push_one(self, time_ns: int, row: Sequence[float]) -> None:
        """Append one sample (C,) without flags, as `push` does."""
        end = self.size
        if end == self._capacity:
            self._move_to_front()
            end = self.size
        self._pack_into(self._flat, end * self._row_bytes, *row)
        self._times[end] = time_ns
        if self.flagged:
            self._substituted[end] = 0
            self._uncertain[end] = False
        self.size = end + 1
        self.last_ns = time_ns
        if time_ns >= self.due_ns and self._advance(time_ns) and end >= self._length - 1:
            self._emit_newest()
        if self.flagged:
            self.flagged -= 1

    def _advance(self, time_ns: int) -> bool:
        """Note a sample that reaches `due_ns`; return whether a window ends with it."""
        hop_ns = self._hop_ns
        if hop_ns:
            is_first, half_ns = not self.due_ns, self._half_ns
            slots, past_ns = divmod(time_ns + half_ns, hop_ns)
            self.due_ns = (slots + 1) * hop_ns - half_ns
            # Whether a sample before the first one reached the boundary is not known.
            return not is_first or past_ns < 2 * half_ns
        self._hop_left -= 1
        if self._hop_left:
            return False
        self._hop_left = self._settings.hop
        return True

    def _next_end(self, times: Times, taken: int) -> tuple[int, bool]:
        """Return after how many samples of a block the next window ends, and True; or n, False.

        Args:
            times: (n,) of the block.
            taken: Samples of the block that were appended already.
        """
        total = len(times)
        if self._hop_ns:
            index = bisect_left(times, self.due_ns, taken)
            if index == total:
                return total, False
            return index + 1, self._advance(int(times[index]))
        until = taken + self._hop_left
        if until > total:
            self._hop_left -= total - taken
            return total, False
        self._hop_left = self._settings.hop
        return until, True

    # --------------------------------------------------------------------------- change what it has

    def overwrite(self, number: int, time_ns: int, row: Floats, *, uncertain: bool) -> bool:
        """Replace a filled sample by the measured one; return whether a window may still hold it.

        Args:
            number: `next_number` before it was appended.
            time_ns: The time of the measured one, between the times of its neighbors.
            row: (C,); a NaN leaves the filled value.
            uncertain: Whether a value is outside its range.
        """
        index = number - self._before
        if index < 0:
            return False
        np.copyto(self._rows[index], row, where=~np.isnan(row))
        self._times[index] = time_ns
        if index < self.size - self._length + 1:
            return False
        self._substituted[index] = int(np.isnan(row).sum())
        self._uncertain[index] = uncertain
        return True

    def amend(
        self, time_ns: int, channel: int, value: float, substituted: int, *, uncertain: bool
    ) -> None:
        """Replace one value of a sample of the windows to come.

        Args:
            time_ns: Time of the sample; if there is none of it, nothing happens.
            channel: Index of the channel.
            value: Finite.
            substituted: Number of substituted values in the sample from now on.
            uncertain: Whether the value is uncertain.
        """
        index = bisect_left(self._times, time_ns, 0, self.size)
        if index == self.size or self._times[index] != time_ns:
            return
        self._rows[index, channel] = value
        if substituted or uncertain:
            self._start_flags()
            self.flagged = max(self.flagged, self._length)
        if self.flagged:
            self._substituted[index] = substituted
            self._uncertain[index] |= uncertain

    def _start_flags(self) -> None:
        """Clear the flag arrays if they were not kept up to date."""
        if not self.flagged:
            self._substituted[:] = 0
            self._uncertain[:] = False

    def take_back(self, count: int) -> None:
        """Remove the `count` samples before the newest."""
        old, new = self.size - 1, self.size - 1 - count
        self._rows[new] = self._rows[old]
        self._times[new] = self._times[old]
        self._substituted[new] = self._substituted[old]
        self._uncertain[new] = self._uncertain[old]
        self.size = new + 1

    def mark_since(self, time_ns: int) -> None:
        """Mark the samples from a time on as uncertain, for the windows to come."""
        self._start_flags()
        self._uncertain[bisect_left(self._times, time_ns, 0, self.size) : self.size] = True
        self.flagged = max(self.flagged, self._length)

    def unmark(self) -> None:
        """Take back that the newest sample is uncertain."""
        self._uncertain[self.size - 1] = False

    def save(self) -> "SavedRing":
        """Return a copy of what the ring holds."""
        kept = slice(max(0, self.size - self._keep), self.size)
        return SavedRing(
            self._rows[kept].copy(), self._clock[kept].copy(), self._substituted[kept].copy(),
            self._uncertain[kept].copy(), self._before + kept.start, self.flagged, self.last_ns,
            self.due_ns, self._hop_left,
        )  # fmt: skip

    def restore(self, saved: "SavedRing") -> None:
        """Hold again what it held when it was saved."""
        self._before = saved.first_number
        end = self.size = len(saved.times)
        self._rows[:end] = saved.rows
        self._clock[:end] = saved.times
        self._substituted[:end] = saved.substituted
        self._uncertain[:end] = saved.uncertain
        self.flagged, self.last_ns = saved.flagged, saved.last_ns
        self.due_ns, self._hop_left = saved.due_ns, saved.hop_left

    # ---------------------------------------------------------------------------------------- emit

    def _emit_newest(self) -> None:
        """Emit the window that ends with the newest sample, with its flags."""
        end = self.size
        start = end - self._length
        substituted = 0
        uncertain = False
        if self.flagged:
            substituted = int(self._substituted[start:end].sum())
            uncertain = bool(self._uncertain[start:end].any())
        times = self._times
        self._emit_window(
            self._rows[start:end], times[start], times[end - 1], substituted, uncertain
        )

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

    def _move_to_front(self) -> None:
        """Move the newest samples to the start of the memory."""
        keep = self._keep
        gone = self.size - keep
        self._left.add(self._before, self._clock[:gone], self._rows[:gone])
        kept = slice(gone, self.size)
        self._rows[:keep] = self._rows[kept].copy()
        self._times[:keep] = self._times[kept]
        if self.flagged:
            self._substituted[:keep] = self._substituted[kept].copy()
            self._uncertain[:keep] = self._uncertain[kept].copy()
        self._before += gone
        self.size = keep


def _rows_of(length: int) -> tuple[int, int]:
    """Return how many samples a ring keeps, and its room, for windows of this length."""
    keep = max(length - 1 + SPARE_ROWS, MIN_KEPT_ROWS)
    return keep, keep + max(length, MIN_FREE_ROWS)


@dataclass(frozen=True)
class SavedRing:
    """What a ring held: its newest n samples."""

    rows: Floats
    times: npt.NDArray[np.int64]
    substituted: npt.NDArray[np.int32]
    uncertain: npt.NDArray[np.bool_]
    first_number: int
    flagged: int
    last_ns: int
    due_ns: int
    hop_left: int
