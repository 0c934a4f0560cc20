"""One stream: samples in their order, gaps, values that cannot be used, windows.

A stream is one asset's signals in one pipeline. Samples come in blocks; the ring keeps the last
W of them contiguous in memory, so that a window is one slice and is copied once, into the batch.
"""

import heapq
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgeai.streams.align import Aligner, align_row
from edgeai.streams.conditioning import Flags
from edgeai.streams.ring import Emit, Floats, Ring, StreamSettings, Times

FOREVER_NS = 1 << 62
RESYNC_SAMPLES = 16
"""So many late samples in a row mean that the sender's clock was set back."""


@lru_cache(maxsize=64)
def _offsets(count: int, period_ns: float) -> npt.NDArray[np.int64]:
    """Return the times of a block's samples after its first, (n,) nanoseconds; read-only."""
    offsets: npt.NDArray[np.int64] = np.rint(np.arange(count) * period_ns).astype(np.int64)
    offsets.flags.writeable = False
    return offsets


def _block_times(t0_ns: int, period_ns: float, count: int) -> Times:
    """Return the times of a block's samples, (n,) nanoseconds."""
    whole = int(period_ns)
    if whole == period_ns:  # the usual case: nothing to compute but what is asked for
        return range(t0_ns, t0_ns + count * whole, whole)
    return t0_ns + _offsets(count, period_ns)


class Stream:
    """The state of one stream: order, last good values, alignment, ring.

    Every sample that does not reach the ring is counted in `drops`, every emptied window in
    `resets`; both are shared by the streams of a pipeline.
    """

    __slots__ = (
        "_aligner", "_good", "_good_bytes", "_good_is_newest", "_heap", "_is_off_rate",
        "_late_in_a_row", "_max_step_ns", "_newest_ns", "_period_ns", "_released_ns", "_settings",
        "_span_ns", "_takes_as_it_comes", "_whole_windows", "broken", "drops", "key", "resets",
        "ring",
    )  # fmt: skip

    def __init__(
        self, key: str, settings: StreamSettings, drops: dict[str, int], resets: dict[str, int]
    ) -> None:
        self.key = key
        self.drops = drops
        self.resets = resets
        self._settings = settings
        self._takes_as_it_comes = settings.align is None and settings.lateness_ns == 0
        """Whether no sample waits for others."""
        whole = self._takes_as_it_comes and settings.hop == settings.length
        self._whole_windows = settings.length if whole else 0
        """W, where windows share no sample and none waits for others."""
        self._max_step_ns = settings.max_gap_ns or FOREVER_NS
        self.ring = Ring(settings)
        self._period_ns = 0.0
        """Of the last block that was a whole window."""
        self._span_ns = 0
        """From its first to its last sample."""
        self._is_off_rate = False
        """Whether that is none of the model's rate."""
        self._aligner = Aligner(settings.align, settings.channels) if settings.align else None
        self._good = np.full(settings.channels, np.nan, np.float32)
        """The last good value of each channel, NaN before the first."""
        self._good_bytes = self._good.data.cast("B")
        """The same memory."""
        self._good_is_newest = False
        """Whether the ring's newest sample is to be read in its place."""
        self._newest_ns: int | None = None
        self._released_ns: int | None = None
        self._late_in_a_row = 0
        self.broken = False
        """Set when the window was emptied; the engine clears it with the next window."""
        self._heap: list[tuple[int, int, Floats, bool]] = []

    def has_passed(self, time_ns: int) -> bool:
        """Whether a sample of this time comes too late, or a second time."""
        if self._aligner is not None:
            return self._aligner.has_passed(time_ns)
        return self._released_ns is not None and time_ns <= self._released_ns

    def waiting_for(self) -> list[int]:
        """Return the channels without which no window can be made, because none had a value yet."""
        if self._aligner is not None:
            return self._aligner.waiting_for()
        self._freshen()
        return [int(index) for index in np.flatnonzero(np.isnan(self._good))]

    # ------------------------------------------------------------------------------ whole samples

    def push_rows(
        self,
        times: list[int],
        rows: Floats,
        invalid: Flags | None,
        doubtful: Flags | None,
        emit: Emit,
    ) -> None:
        """Take samples of all channels in the order they arrived.

        Args:
            times: (n,) nanoseconds, in any order.
            rows: (n, C) float32, NaN where a value cannot be used.
            invalid: (n, C) where that is; None: nowhere.
            doubtful: (n,) whether a value is outside its valid range; None: none is.
            emit: Called for each window.
        """
        if self._aligner is not None:
            for index, time_ns in enumerate(times):
                flag = doubtful is not None and bool(doubtful[index])
                self._align_row(time_ns, rows[index].tolist(), flag, emit)
            return
        if self._settings.lateness_ns == 0 and self._in_order(times):
            self._append(times, rows, invalid, doubtful, emit)
            return
        for index, time_ns in enumerate(times):
            flag = doubtful is not None and bool(doubtful[index])
            self._reorder(time_ns, rows[index], flag, emit)

    def push_one(self, time_ns: int, row: Sequence[float], emit: Emit) -> bool:
        """Take one sample whose values are all usable and inside their ranges, if it is in order.

        Args:
            time_ns: Its time.
            row: (C,) engineering units.
            emit: Called for each window.

        Returns:
            Whether it was taken: not where it is late or follows a gap, or where samples are
            aligned or reordered.
        """
        newest = self._newest_ns
        if not self._takes_as_it_comes or (
            newest is not None and not 0 < time_ns - newest <= self._max_step_ns
        ):
            return False
        self._newest_ns = self._released_ns = time_ns
        self._late_in_a_row = 0
        self._good_is_newest = True
        self.ring.push_one(time_ns, row, emit)
        return True

    def push_few(
        self, times: list[int], values: memoryview, begin: int, stop: int, emit: Emit
    ) -> bool:
        """Take rows `begin` to `stop` of a block (n, C), float32 one after the other, as above.

        Returns:
            Whether they were taken; if not, they are to be given to `push_rows`.
        """
        newest, released, late = self._newest_ns, self._released_ns, self._late_in_a_row
        if not self._takes_as_it_comes or not self._in_order(times):
            return False
        if self.ring.push_few(times, values, begin, stop, emit):
            self._good_is_newest = True
            return True
        self._newest_ns, self._released_ns, self._late_in_a_row = newest, released, late
        return False

    def push_block(  # noqa: PLR0917  the hot path
        self,
        t0_ns: int,
        period_ns: float,
        rows: Floats,
        invalid: Flags | None,
        doubtful: Flags | None,
        emit: Emit,
    ) -> None:
        """Take a block of samples at one rate.

        Args:
            t0_ns: Time of the first sample.
            period_ns: From one sample to the next; need not be whole.
            rows: (n, C) float32, NaN where a value cannot be used.
            invalid: (n, C) where that is; None: nowhere.
            doubtful: (n,) whether a value is outside its valid range; None: none is.
            emit: Called for each window.
        """
        times = _block_times(t0_ns, period_ns, len(rows))
        newest = self._newest_ns
        follows = newest is None or (t0_ns > newest and not self._is_gap(t0_ns - newest))
        simple = self._aligner is None and self._settings.lateness_ns == 0 and invalid is None
        if follows and simple and period_ns >= 1 and not self._is_gap(round(period_ns)):
            self._newest_ns = self._released_ns = int(times[-1])
            self._late_in_a_row = 0
            self._push_good(times, rows, doubtful, emit)
            return
        self.push_rows([int(time_ns) for time_ns in times], rows, invalid, doubtful, emit)

    def awaits_window_of(self, samples: int) -> bool:
        """Whether the next so many samples, when they come in order, are a window of their own."""
        ring = self.ring
        return ring.due_in == samples == self._whole_windows and not ring.flagged

    def push_window(
        self, t0_ns: int, period_ns: float, window: Floats, block: memoryview, emit: Emit
    ) -> bool:
        """Take a usable block that is one whole window, as `push_block` does, without a copy.

        Args:
            t0_ns: Time of the first sample.
            period_ns: From one sample to the next; need not be whole.
            window: (W, C) float32.
            block: Its bytes.
            emit: Called with the window itself.

        Returns:
            Whether it was taken: not where it is late or follows a gap. To be asked only where
            `awaits_window_of` W samples is true.
        """
        newest = self._newest_ns
        if newest is not None and not 0 < t0_ns - newest <= self._max_step_ns:
            return False
        if period_ns != self._period_ns and not self._learn_period(period_ns):
            return False
        self._newest_ns = self._released_ns = last_ns = t0_ns + self._span_ns
        self._late_in_a_row = 0
        self._good_is_newest = False
        self._good_bytes[:] = block[-len(self._good_bytes) :]
        emit(window, last_ns, 0, self._is_off_rate)
        return True

    def _learn_period(self, period_ns: float) -> bool:
        """Take note of what whole windows of this period span; return whether it is no gap."""
        if not 1 <= period_ns <= self._max_step_ns:
            return False
        steps, whole = self._settings.length - 1, int(period_ns)
        self._span_ns = steps * whole if whole == period_ns else round(steps * period_ns)
        self._is_off_rate = self.ring.is_off_rate(self._span_ns)
        self._period_ns = period_ns
        return True

    def _in_order(self, times: list[int]) -> bool:
        """Whether all times rise without a gap after what came before; then take note of them."""
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

    def _reorder(self, time_ns: int, row: Floats, doubtful: bool, emit: Emit) -> None:
        """Take one sample out of order, late, twice or after a gap."""
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
            self._restart("clock_back", emit)
        if self._newest_ns is None or time_ns > self._newest_ns:
            self._newest_ns = time_ns
        heapq.heappush(self._heap, (time_ns, len(self._heap), row.copy(), doubtful))
        self._release(self._newest_ns - self._settings.lateness_ns, emit)

    def _release(self, watermark_ns: int, emit: Emit) -> None:
        """Append the waiting samples that the watermark has reached, oldest first."""
        while self._heap and self._heap[0][0] <= watermark_ns:
            time_ns, _, row, doubtful = heapq.heappop(self._heap)
            previous = self._released_ns
            # A gap is between neighbours in time, not in arrival: the order is known only here.
            if previous is not None and self._is_gap(time_ns - previous):
                self._empty_window("gap")
            self._released_ns = time_ns
            block = row[np.newaxis]
            invalid = np.isnan(block)
            flags = np.array([True]) if doubtful else None
            self._append([time_ns], block, invalid if invalid.any() else None, flags, emit)

    def _append(
        self,
        times: list[int],
        rows: Floats,
        invalid: Flags | None,
        doubtful: Flags | None,
        emit: Emit,
    ) -> None:
        """Fill in what cannot be used and hand the samples to the ring."""
        if invalid is None:
            self._push_good(times, rows, doubtful, emit)
            return
        flags = None if doubtful is None else doubtful.tolist()
        for index, time_ns in enumerate(times):
            row = rows[index].copy()
            substituted = self._complete(row, invalid[index])
            if substituted is None:
                self.drops["invalid_value"] += 1
                continue
            flag = None if flags is None else flags[index : index + 1]
            self.ring.push([time_ns], row[np.newaxis], [substituted], flag, emit)

    def _push_good(self, times: Times, rows: Floats, doubtful: Flags | None, emit: Emit) -> None:
        """Hand samples to the ring of which every value can be used."""
        # Whole windows pass the ring by.
        self._good_is_newest = len(times) < self._settings.length
        if not self._good_is_newest:
            self._good[:] = rows[-1]
        flags = None if doubtful is None else doubtful.tolist()
        self.ring.push(times, rows, None, flags, emit)

    def _freshen(self) -> None:
        """Bring the last good values up to date."""
        if self._good_is_newest:
            self._good[:] = self.ring.newest
            self._good_is_newest = False

    def _complete(self, row: Floats, invalid: Flags) -> int | None:
        """Put the last good value where one cannot be used.

        Returns how many were put, or None when the sample is to be dropped: by policy, or because
        a channel never had a good value.
        """
        self._freshen()
        np.copyto(self._good, row, where=~invalid)
        count = int(invalid.sum())
        if not count:
            return 0
        if self._settings.invalid == "drop" or np.isnan(self._good[invalid]).any():
            return None
        np.copyto(row, self._good, where=invalid)
        return count

    # ------------------------------------------------------------------------------- aligned values

    def push_tag(
        self, time_ns: int, channel: int, value: float, doubtful: bool, emit: Emit
    ) -> None:
        """Take one value of one channel; NaN when it cannot be used. Needs an alignment."""
        aligner = self._aligner
        if aligner is None:
            msg = "layout `tag` needs an alignment"
            raise ValueError(msg)
        self._before_aligned(time_ns, emit)
        refused = aligner.add(time_ns, channel, value, doubtful=doubtful)
        if self._was_set_back(refused, RESYNC_SAMPLES * self._settings.channels, emit):
            aligner.add(time_ns, channel, value, doubtful=doubtful)
        self._push_grid(emit)

    def _align_row(self, time_ns: int, values: list[float], doubtful: bool, emit: Emit) -> None:
        assert self._aligner is not None
        self._before_aligned(time_ns, emit)
        refused = align_row(self._aligner, time_ns, values, doubtful=doubtful)
        if self._was_set_back(refused, RESYNC_SAMPLES, emit):
            align_row(self._aligner, time_ns, values, doubtful=doubtful)
        self._push_grid(emit)

    def _before_aligned(self, time_ns: int, emit: Emit) -> None:
        assert self._aligner is not None
        newest = self._aligner.newest_ns
        if newest is not None and self._is_gap(time_ns - newest):
            self._restart("gap", emit)

    def _was_set_back(self, refused: str | None, resync_after: int, emit: Emit) -> bool:
        """Count what the aligner refused; return whether to offer it again after a restart."""
        if refused is None:
            self._late_in_a_row = 0
            return False
        if self._refuse(refused, resync_after):
            return False
        self._restart("clock_back", emit)
        return True

    def _push_grid(self, emit: Emit, *, everything: bool = False) -> None:
        assert self._aligner is not None
        for time_ns, values, substituted, doubtful in self._aligner.rows(everything=everything):
            if substituted and self._settings.invalid == "drop":
                self.drops["invalid_value"] += 1
                continue
            row = np.array([values], np.float32)
            count = [substituted] if substituted else None
            self.ring.push([time_ns], row, count, [True] if doubtful else None, emit)

    # ---------------------------------------------------------------------------------- both

    def flush(self, emit: Emit) -> None:
        """Release what waits for late samples: the stream ends here."""
        if self._aligner is not None:
            self._push_grid(emit, everything=True)
        elif self._newest_ns is not None:
            self._release(self._newest_ns, emit)

    def _is_gap(self, step_ns: int) -> bool:
        return self._settings.max_gap_ns is not None and step_ns > self._settings.max_gap_ns

    def _refuse(self, reason: str, resync_after: int) -> bool:
        """Count a sample that cannot be placed; False: place it, the sender's clock went back."""
        self._late_in_a_row = self._late_in_a_row + 1 if reason == "late" else 0
        if self._late_in_a_row >= resync_after:
            return False
        self.drops[reason] += 1
        return True

    def _empty_window(self, reason: str) -> None:
        self.resets[reason] += 1
        self._freshen()
        self.ring.clear()
        self.broken = True

    def _restart(self, reason: str, emit: Emit) -> None:
        """Give out what is still whole, then empty the window."""
        self.flush(emit)
        self._empty_window(reason)
        self._newest_ns = self._released_ns = None
        self._late_in_a_row = 0
        if self._aligner is None:
            self._good[:] = np.nan
        elif reason == "clock_back":
            self._aligner.forget()
        else:
            self._aligner.restart()
