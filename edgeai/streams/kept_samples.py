"""The newest samples of one stream, contiguous in memory: kept, found, changed and marked."""

import struct
from array import array
from bisect import bisect_left, bisect_right

import numpy as np
import numpy.typing as npt

from edgeai.streams.held import NOT_HELD, HeldSignals
from edgeai.streams.left_rows import (
    BYTES_PER_SAMPLE,
    OTHER_BYTES,
    LeftRows,
    seen_samples,
    seen_values,
)
from edgeai.streams.settings import NEVER_NS, Floats, StreamSettings, Times

MIN_KEPT_ROWS = 128
"""Samples that a ring keeps at least. They tell a sample that was seen from one that was not."""
SPARE_ROWS = 8
"""Samples that a ring keeps beyond a window, so that as many filled samples can be taken back."""
MIN_FREE_ROWS = 192


class KeptSamples:
    """The newest samples of a stream, (n, C) float32, with their times and flags.

    `Ring` inherits from it instead of having one: each sample would cost a look-up more.
    """

    __slots__ = (
        "_before", "_capacity", "_clock", "_flat", "_keep", "_left", "_length", "_pack_into",
        "_row_bytes", "_rows", "_settings", "_signals", "_substituted", "_times", "_uncertain",
        "emptied", "flagged", "held", "lacking", "lacking_due", "last_ns", "size",
    )  # fmt: skip

    @staticmethod
    def bytes_of(settings: StreamSettings) -> int:
        """Return the bytes of the samples and flags."""
        _, capacity = _rows_of(settings.length)
        left = BYTES_PER_SAMPLE * _seen_of(settings) + OTHER_BYTES
        return capacity * (4 * settings.channels + 13) + left

    def __init__(self, settings: StreamSettings) -> None:
        length, channels = settings.length, settings.channels
        self._keep, capacity = _rows_of(length)
        self._capacity = capacity
        self._settings = settings
        self._length = length
        self._signals = settings.signals
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
        self.lacking = -1
        """`next_number` after the newest sample, if a channel had no good value then; else -1."""
        self.lacking_due = 0
        """`next_number` from which on that channel lacks a whole window."""
        self.held: HeldSignals | None = None
        """The channels without a good value; None: there were none."""
        self._before = 0
        """Rows that were in the memory before its first row now; so each row has a number."""
        self.emptied = 0
        """The number of the first sample since the ring was emptied."""
        self.flagged = 0
        """Number of coming samples whose windows may still contain a flagged sample."""
        self.last_ns = NEVER_NS
        """Time of the newest sample, also after the ring was emptied; NEVER_NS before the first."""
        self._left = None if settings.align is not None else LeftRows(_seen_of(settings))
        """The samples that have left it; None: an alignment remembers values instead."""

    def clear(self) -> None:
        """Forget the samples, but not the time of the newest."""
        self._before = self.emptied = self._before + self.size
        self.size = 0
        self.flagged = 0

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
    def recent_times(self) -> npt.NDArray[np.int64]:
        """The times of `recent`, (n,) nanoseconds, as a view."""
        return self._clock[: self.size]

    @property
    def recent_flags(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """How many values of each of `recent` were substituted, and whether it is uncertain, (n,).

        Only while `flagged` is not 0.
        """
        return self._substituted[: self.size], self._uncertain[: self.size]

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

    def times_until(self, time_ns: int, count: int) -> npt.NDArray[np.int64]:
        """Return the times of the `count` samples up to the one of a time, as a view."""
        end = self.count_until(time_ns)
        return self._clock[end - count : end]

    def count_until(self, time_ns: int) -> int:
        """Return how many samples are not after a time."""
        return bisect_right(self._times, time_ns, 0, self.size)

    def show(self, times: npt.NDArray[np.int64], rows: Floats, next_number: int) -> None:
        """Hold samples (n, C) in place of all others, without a window.

        Args:
            times: (n,) their times; n is at most the length of a window.
            rows: (n, C).
            next_number: The number of the sample after them.
        """
        count = self.size = len(times)
        self._before = next_number - count
        self._rows[:count] = rows
        self._clock[:count] = times
        self.last_ns = self._times[count - 1]

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

    def look_back(self, until_ns: int, after_ns: int) -> tuple[int, Times, Floats]:
        """Return the samples of a window and before it, but those that were looked at already.

        Args:
            until_ns: Time of the window's last sample.
            after_ns: Time of the last sample that was looked at. If it is not before `until_ns`,
                time went back, and the samples of the window are returned.

        Returns:
            Time of the window's first sample, (n,) times, and (n, C) samples as a view.
        """
        end = bisect_right(self._times, until_ns, 0, self.size)
        first = max(0, end - self._length)
        begin = first if after_ns >= until_ns else bisect_right(self._times, after_ns, 0, end)
        return self._times[first], self._times[begin:end], self._rows[begin:end]

    def reaches(self, time_ns: int, samples: int | None) -> bool:
        """Return whether a time is not before the newest `samples`; None: all that `find` knows."""
        known = min(self.size, samples or self._keep)
        return known > 0 and time_ns >= self._times[self.size - known]

    def were_here(self, times: Times, rows: Floats) -> npt.NDArray[np.bool_]:
        """Return whether samples were taken that had these times and these values, (n,).

        It looks further back than `find`: every sample of an hour at the model's rate, and some of
        all older ones.

        Args:
            times: (n,), rising.
            rows: (n, C).
        """
        assert self._left is not None
        moments = np.asarray(times, np.int64)
        found = self._left.have(moments, rows, self.next_number)
        for index in np.flatnonzero(~found):
            place = bisect_left(self._times, moments[index], 0, self.size)
            if place < self.size and self._times[place] == moments[index]:
                found[index] = _are_same(self._rows[place], rows[index]).all()
        return found

    def is_filled_from(self, number: int) -> bool:
        """Return whether no measured sample was appended since `next_number` was this."""
        if number == self.next_number:
            return True
        first = number - self._before
        if not 0 <= first <= self.size or not self.flagged:
            return False
        return bool((self._substituted[first : self.size] == self._signals).all())

    def note_held(self) -> None:
        """Note that `held` was changed: which windows to come lack a channel."""
        first = NOT_HELD if self.held is None else self.held.first
        if self.held is None or first == NOT_HELD:
            self.lacking, self.lacking_due = -1, 0
        else:
            self.lacking, self.lacking_due = self.held.noted, first + self._length

    def has_near(self, time_ns: int, row: Floats, near_ns: int) -> bool:
        """Return whether it holds a sample with these values (C,), nearer to a time than that."""
        begin = bisect_right(self._times, time_ns - near_ns, 0, self.size)
        end = bisect_left(self._times, time_ns + near_ns, begin, self.size)
        return bool(_are_same(self._rows[begin:end], row).all(axis=1).any())

    def was_near(self, time_ns: int, row: Floats) -> bool:
        """Return whether a sample with these values (C,) was taken about a time.

        It may be off by a sample period.
        """
        period_ns = self._settings.period_ns or 0
        edges = time_ns - period_ns, time_ns + period_ns + 1
        begin, end = (bisect_left(self._times, edge_ns, 0, self.size) for edge_ns in edges)
        if _are_same(self._rows[begin:end], row).all(axis=1).any():
            return True
        assert self._left is not None
        times = np.array([time_ns - period_ns, time_ns, time_ns + period_ns], np.int64)
        return bool(self._left.have(times, np.stack((row, row, row)), self.next_number).any())

    def remembers_one_of(self, time_ns: int) -> int:
        """Return of how many samples of about this time `were_here` knows one."""
        assert self._left is not None
        return self._left.stride_at(time_ns, self.next_number)

    def leave(self) -> None:
        """Empty the ring as `clear` does; its samples stay known to `was_here`."""
        if self.size and self._left is not None:
            self._left.add(self._before, self._clock[: self.size], self._rows[: self.size])
        self.clear()

    def _set_times(self, old: int, times: Times) -> None:
        end = old + len(times)
        if isinstance(times, range):
            self._clock[old:end] = np.arange(times.start, times.stop, times.step)
        elif isinstance(times, np.ndarray):
            self._clock[old:end] = times
        else:
            self._times[old:end] = array("q", times)

    # --------------------------------------------------------------------------- change what it has

    def overwrite(self, number: int, time_ns: int, row: Floats, *, uncertain: bool) -> bool:
        """Replace a filled sample by the measured one; return whether a window may still hold it.

        Args:
            number: `next_number` before it was appended.
            time_ns: The time of the measured one, between the times of its neighbors.
            row: (C,); a NaN leaves the filled value, but of an extra signal.
            uncertain: Whether a value is outside its range.
        """
        index = number - self._before
        if index < 0:
            return False
        signals = self._signals
        np.copyto(self._rows[index], row, where=~np.isnan(row))
        self._rows[index, signals:] = row[signals:]
        self._times[index] = time_ns
        if index < self.size - self._length + 1:
            return False
        self._substituted[index] = int(np.isnan(row[:signals]).sum())
        self._uncertain[index] = uncertain
        if self.held is not None:
            self.held.replace(number, row[:signals])
            self.note_held()
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

    def take_back(self, count: int, after: int = 1) -> None:
        """Remove the `count` samples before the newest `after` ones."""
        end = self.size
        old, new = slice(end - after, end), slice(end - after - count, end - count)
        self._rows[new] = self._rows[old].copy()
        self._times[new] = self._times[old]
        self._substituted[new] = self._substituted[old].copy()
        self._uncertain[new] = self._uncertain[old].copy()
        if self.held is not None:
            self.held.take_back(self._before + old.start, count)
            self.note_held()
        self.size = end - count

    def mark_since(self, time_ns: int) -> None:
        """Mark the samples from a time on as uncertain, for the windows to come."""
        self._start_flags()
        self._uncertain[bisect_left(self._times, time_ns, 0, self.size) : self.size] = True
        self.flagged = max(self.flagged, self._length)

    def mark_newest(self) -> None:
        """Mark the newest sample as uncertain, for the windows to come."""
        self._start_flags()
        self._uncertain[self.size - 1] = True
        self.flagged = max(self.flagged, self._length)

    def unmark(self, number: int) -> None:
        """Take back that a sample is uncertain.

        Args:
            number: `next_number` before it was appended.
        """
        if number >= self._before:
            self._uncertain[number - self._before] = False

    def _move_to_front(self) -> None:
        """Move the newest samples to the start of the memory."""
        keep = self._keep
        gone = self.size - keep
        if self._left is not None:
            self._left.add(self._before, self._clock[:gone], self._rows[:gone])
        kept = slice(gone, self.size)
        self._rows[:keep] = self._rows[kept].copy()
        self._times[:keep] = self._times[kept]
        if self.flagged:
            self._substituted[:keep] = self._substituted[kept].copy()
            self._uncertain[:keep] = self._uncertain[kept].copy()
        self._before += gone
        self.size = keep


def _are_same(kept: Floats, rows: Floats) -> npt.NDArray[np.bool_]:
    """Return which values are equal; NaN, which only extra signals have here, equals NaN."""
    same: npt.NDArray[np.bool_] = (kept == rows) | (np.isnan(kept) & np.isnan(rows))
    return same


def _rows_of(length: int) -> tuple[int, int]:
    """Return how many samples a ring keeps, and its room, for windows of this length."""
    keep = max(length - 1 + SPARE_ROWS, MIN_KEPT_ROWS)
    return keep, keep + max(length, MIN_FREE_ROWS)


def _seen_of(settings: StreamSettings) -> int:
    """Return how many samples to remember: at least those that the ring holds."""
    if settings.align is not None:
        return seen_values(settings)
    _, capacity = _rows_of(settings.length)
    return max(seen_samples(settings.period_ns), capacity)
