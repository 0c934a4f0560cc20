"""A stream that makes windows of the samples as they were sent, in the order of their times."""

import heapq
from collections.abc import Sequence

import numpy as np

from edgeai.streams.conditioning import Flags
from edgeai.streams.ring import Emit, Floats, StreamSettings, Times
from edgeai.streams.stream import RESYNC_SAMPLES, Stream, block_times

FOREVER_NS = 1 << 62


class OrderedStream(Stream):
    """A stream whose samples are neither moved in time nor interpolated.

    With `lateness_ns` 0 a sample is appended as soon as it arrives. Otherwise samples wait in a
    heap, and are appended in the order of their times once the watermark has reached them.
    """

    __slots__ = (
        "_good", "_good_bytes", "_good_is_newest", "_has_no_wait", "_heap", "_is_off_rate",
        "_max_step_ns", "_newest_ns", "_period_ns", "_released_ns", "_span_ns", "_whole_windows",
    )  # fmt: skip

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        emit: Emit,
    ) -> None:
        super().__init__(settings, drops, resets, emit)
        self._has_no_wait = settings.lateness_ns == 0
        """Whether samples are appended as soon as they arrive."""
        whole = self._has_no_wait and settings.hop == settings.length
        self._whole_windows = settings.length if whole else 0
        """W if `push_window` can be used: windows share no sample, and samples do not wait."""
        self._max_step_ns = settings.max_gap_ns or FOREVER_NS
        self._period_ns = 0.0
        """Sample period of the last block that was a whole window."""
        self._span_ns = 0
        """Time from the first to the last sample of that block."""
        self._is_off_rate = False
        """Whether the rate of that block is not the model's."""
        self._good = np.full(settings.channels, np.nan, np.float32)
        """The last good value of each channel, NaN before the first."""
        self._good_bytes = self._good.data.cast("B")
        """The memory of `_good`."""
        self._good_is_newest = False
        """Whether the ring's newest sample replaces `_good`, which is then out of date."""
        self._newest_ns: int | None = None
        """The newest time seen."""
        self._released_ns: int | None = None
        """Time of the last sample that was appended."""
        self._heap: list[tuple[int, int, Floats, bool]] = []
        """Waiting samples: time, number of samples before it, values, whether it is uncertain."""

    @property
    def newest_ns(self) -> int | None:
        """The newest time of a sample that was taken; None before the first."""
        return self._newest_ns

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a sample of this time would be late or a duplicate."""
        return self._released_ns is not None and time_ns <= self._released_ns

    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet; without them there is no window."""
        self._update_good()
        return [int(index) for index in np.flatnonzero(np.isnan(self._good))]

    def push_rows(
        self,
        times: list[int],
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
    ) -> None:
        """Take samples as `Stream.push_rows` says."""
        if self._has_no_wait and self._accept_in_order(times):
            self._append(times, rows, invalid, uncertain)
            return
        for index, time_ns in enumerate(times):
            flag = uncertain is not None and bool(uncertain[index])
            self._reorder(time_ns, rows[index], flag)

    def push_one(self, time_ns: int, row: Sequence[float]) -> bool:
        """Take one sample as `Stream.push_one` says: not a late one, nor one that follows a gap."""
        newest = self._newest_ns
        if not self._has_no_wait or (
            newest is not None and not 0 < time_ns - newest <= self._max_step_ns
        ):
            return False
        self._newest_ns = self._released_ns = time_ns
        self._late_in_a_row = 0
        self._good_is_newest = True
        self.ring.push_one(time_ns, row)
        return True

    def push_few(self, times: list[int], values: memoryview, begin: int, stop: int) -> bool:
        """Take samples as `Stream.push_few` says: all of them, or none."""
        newest, released, late = self._newest_ns, self._released_ns, self._late_in_a_row
        if not self._has_no_wait or not self._accept_in_order(times):
            return False
        if self.ring.push_few(times, values, begin, stop):
            self._good_is_newest = True
            return True
        self._newest_ns, self._released_ns, self._late_in_a_row = newest, released, late
        return False

    def push_block(
        self,
        t0_ns: int,
        period_ns: float,
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
    ) -> None:
        """Take a block of samples as `Stream.push_block` says."""
        times = block_times(t0_ns, period_ns, len(rows))
        newest = self._newest_ns
        follows = newest is None or (t0_ns > newest and not self._is_gap(t0_ns - newest))
        simple = self._has_no_wait and invalid is None
        if follows and simple and period_ns >= 1 and not self._is_gap(round(period_ns)):
            self._newest_ns = self._released_ns = int(times[-1])
            self._late_in_a_row = 0
            self._push_good(times, rows, uncertain)
            return
        self.push_rows([int(time_ns) for time_ns in times], rows, invalid, uncertain)

    def awaits_window_of(self, samples: int) -> bool:
        """Return whether `push_window` may take a block of this many samples."""
        ring = self.ring
        return ring.due_in == samples == self._whole_windows and not ring.flagged

    def push_window(self, t0_ns: int, period_ns: float, window: Floats, block: memoryview) -> bool:
        """Take a whole window as `Stream.push_window` says: not if late or after a gap."""
        newest = self._newest_ns
        if newest is not None and not 0 < t0_ns - newest <= self._max_step_ns:
            return False
        if period_ns != self._period_ns and not self._set_period(period_ns):
            return False
        self._newest_ns = self._released_ns = last_ns = t0_ns + self._span_ns
        self._late_in_a_row = 0
        self._good_is_newest = False
        self._good_bytes[:] = block[-len(self._good_bytes) :]
        self.ring.emit(window, last_ns, 0, self._is_off_rate)
        return True

    def push_tag(self, _time_ns: int, _channel: int, _value: float, _uncertain: bool) -> None:
        """Raise ValueError: single values need an alignment."""
        msg = "layout `tag` needs an alignment"
        raise ValueError(msg)

    def hold(self, _channel: int, _value: float, _time_ns: int | None) -> bool:
        """Raise ValueError: single values need an alignment."""
        msg = "layout `tag` needs an alignment"
        raise ValueError(msg)

    def flush(self) -> None:
        """Release the samples that wait for late ones: the stream ends here."""
        if self._newest_ns is not None:
            self._release(self._newest_ns)

    # -------------------------------------------------------------------------------------- order

    def _set_period(self, period_ns: float) -> bool:
        """Store the period of blocks that are whole windows; return False if it is a gap."""
        if not 1 <= period_ns <= self._max_step_ns:
            return False
        steps, whole = self._settings.length - 1, int(period_ns)
        self._span_ns = steps * whole if whole == period_ns else round(steps * period_ns)
        self._is_off_rate = self.ring.is_off_rate(self._span_ns)
        self._period_ns = period_ns
        return True

    def _accept_in_order(self, times: list[int]) -> bool:
        """Advance the clock if all times rise without a gap; return whether they do."""
        previous = self._newest_ns
        if previous is None:
            previous = times[0] - 1
        max_step = self._max_step_ns
        for time_ns in times:
            if not 0 < time_ns - previous <= max_step:
                return False
            previous = time_ns
        self._newest_ns = self._released_ns = previous
        self._late_in_a_row = 0
        return True

    def _reorder(self, time_ns: int, row: Floats, uncertain: bool) -> None:
        """Take one sample that may be out of order, late, a duplicate, or after a gap."""
        refused = None
        if self._released_ns is not None and time_ns <= self._released_ns:
            refused = "duplicate" if time_ns == self._released_ns else "late"
        elif any(time_ns == waiting[0] for waiting in self._heap):
            refused = "duplicate"
        if refused is None:
            self._late_in_a_row = 0
        elif self._refuse(refused, RESYNC_SAMPLES):
            return
        else:
            self._restart()
        if self._newest_ns is None or time_ns > self._newest_ns:
            self._newest_ns = time_ns
        heapq.heappush(self._heap, (time_ns, len(self._heap), row.copy(), uncertain))
        self._release(self._newest_ns - self._settings.lateness_ns)

    def _release(self, watermark_ns: int) -> None:
        """Append the waiting samples that the watermark has reached, oldest first."""
        while self._heap and self._heap[0][0] <= watermark_ns:
            time_ns, _, row, uncertain = heapq.heappop(self._heap)
            previous = self._released_ns
            # Gaps are found here because only here the samples are in the order of their times.
            if previous is not None and self._is_gap(time_ns - previous):
                self._empty_window("gap")
            self._released_ns = time_ns
            block = row[np.newaxis]
            invalid = np.isnan(block)
            flags = np.array([True]) if uncertain else None
            self._append([time_ns], block, invalid if invalid.any() else None, flags)

    def _restart(self) -> None:
        """Release the waiting samples, then start again: the sender's clock was set back."""
        self.flush()
        self._empty_window("clock_back")
        self._newest_ns = self._released_ns = None
        self._late_in_a_row = 0
        self._good[:] = np.nan

    def _empty_window(self, reason: str) -> None:
        self._update_good()
        super()._empty_window(reason)

    # ---------------------------------------------------------------------------- unusable values

    def _append(
        self,
        times: list[int],
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
    ) -> None:
        """Replace the unusable values and push the samples to the ring."""
        if invalid is None:
            self._push_good(times, rows, uncertain)
            return
        flags = None if uncertain is None else uncertain.tolist()
        for index, time_ns in enumerate(times):
            row = rows[index].copy()
            substituted = self._substitute(row, invalid[index])
            if substituted is None:
                self.drops["invalid_value"] += 1
                continue
            flag = None if flags is None else flags[index : index + 1]
            self.ring.push([time_ns], row[np.newaxis], [substituted], flag)

    def _push_good(self, times: Times, rows: Floats, uncertain: Flags | None) -> None:
        """Push samples whose values can all be used to the ring."""
        # Whole windows may be emitted without a copy in the ring: its newest sample is another.
        self._good_is_newest = len(times) < self._settings.length
        if not self._good_is_newest:
            self._good[:] = rows[-1]
        flags = None if uncertain is None else uncertain.tolist()
        self.ring.push(times, rows, None, flags)

    def _update_good(self) -> None:
        """Bring `_good` up to date."""
        if self._good_is_newest:
            self._good[:] = self.ring.newest
            self._good_is_newest = False

    def _substitute(self, row: Floats, invalid: Flags) -> int | None:
        """Replace the unusable values of a sample (C,) by the last good values, in place.

        Returns the number of replaced values; None if the sample must be dropped, by policy or
        because a channel has not had a good value yet.
        """
        self._update_good()
        np.copyto(self._good, row, where=~invalid)
        count = int(invalid.sum())
        if not count:
            return 0
        if self._settings.invalid == "drop" or np.isnan(self._good[invalid]).any():
            return None
        np.copyto(row, self._good, where=invalid)
        return count
