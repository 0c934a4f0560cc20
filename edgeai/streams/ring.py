"""A buffer of one stream's newest samples, contiguous in memory, that emits windows when due.

When a window is due does not depend on when edgeai was started. With a sample rate, a window ends
with the first sample whose time reaches k * hop * period - period / 2 since 1970, k whole: the
sample of the slot k * hop, or the next one if that is missing. A block may say itself where windows
end in it. Only where samples have no rate does the ring count them.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeai.streams.held import HeldSignals
from edgeai.streams.kept_samples import KeptSamples
from edgeai.streams.settings import NEVER_NS, Emit, Floats, StreamSettings, Times

RATE_TOLERANCE = 1.5
"""Largest ratio of the time of some samples to their nominal time, and its inverse."""
RATE_SHARE = 0.1
"""A window is uncertain if its time span is off the nominal one by more than this share and one
sample period: half a period at each end is jitter."""


class Ring(KeptSamples):
    """The newest samples of a stream, (n, C) float32; emits each window (W, C) when it is due."""

    __slots__ = (
        "_half_ns", "_hop_left", "_hop_ns", "_max_span_ns", "_min_span_ns", "arrived_ns", "broken",
        "conflicts", "due_ns", "emit", "implausible_ns", "refused_ns", "used_ns",
    )  # fmt: skip

    def __init__(self, settings: StreamSettings, emit: Emit) -> None:
        super().__init__(settings)
        self.emit = emit
        """Called with each window."""
        period_ns = settings.period_ns or 0
        self._half_ns = period_ns // 2
        self._hop_ns = settings.hop * period_ns if settings.hop > 1 else 0
        """From one boundary of windows to the next; 0: count samples."""
        nominal_ns = (settings.length - 1) * period_ns
        off_ns = RATE_SHARE * nominal_ns + period_ns
        self._min_span_ns = max(nominal_ns / RATE_TOLERANCE, nominal_ns - off_ns)
        """Shortest time span of a window at about the model's rate."""
        self._max_span_ns = min(nominal_ns * RATE_TOLERANCE, nominal_ns + off_ns) or math.inf
        """Longest time span; infinite if the model has no rate."""
        self.due_ns = 0
        """A sample of this time or later is looked at: it may end a window."""
        self.arrived_ns = 0
        """When the newest sample arrived; set by who appends it."""
        self.broken = False
        """Set when the stream was interrupted; cleared by the engine with the next window."""
        self.implausible_ns = 0
        """Time of a sample that was dropped later, because its clock was ahead; 0: none. Set by who
        drops it, and cleared by who tells it."""
        self.conflicts = 0
        """Samples that were refused as duplicates, but had other values than the one of their time:
        they were new. Set by who refuses them."""
        self.refused_ns = NEVER_NS
        """Time of the last sample in order that was refused; `last_ns` moves with it too."""
        self.used_ns = NEVER_NS
        """Time of the last sample that was used before it."""
        self.clear()

    def refuse(self, time_ns: int) -> None:
        """Move on by a sample that is in order and cannot be used."""
        if self.last_ns != self.refused_ns:
            self.used_ns = self.last_ns
        self.last_ns = self.refused_ns = time_ns

    def clear(self) -> None:
        """Empty the ring: the next window needs W new samples."""
        super().clear()
        self.due_ns = 0
        self._hop_left = 1 if self._settings.hop == 1 or self._hop_ns else self._length
        """Samples until the next window, where samples are counted."""

    def forget(self) -> None:
        """Forget all samples: they will come again, with other times."""
        self.clear()
        self.last_ns = NEVER_NS

    def flush(self) -> None:
        """Emit what waits, as no sample will come: nothing does."""

    @property
    def has_emitted(self) -> bool:
        """Whether a window may have been emitted since the ring was emptied."""
        return self.size >= self._length

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

    # ---------------------------------------------------------------------------------------- emit

    def _emit_newest(self) -> None:
        """Emit the window that ends with the newest sample, with its flags."""
        end = self.size
        start = end - self._length
        substituted = 0
        uncertain = False
        if self.flagged:
            substituted = int(self._substituted[start:end].sum())
            uncertain = bool(self._uncertain[start:end].any()) or self._lacks_channel()
        times = self._times
        self._emit_window(
            self._rows[start:end], times[start], times[end - 1], substituted, uncertain
        )

    def _lacks_channel(self) -> bool:
        """Return whether a channel has no good value in the newest window."""
        return self.next_number >= self.lacking_due and self.is_filled_from(self.lacking)

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

    # ------------------------------------------------------------------------------------ its state

    def save(self) -> "SavedRing":
        """Return a copy of what the ring holds."""
        kept = slice(max(0, self.size - self._keep), self.size)
        return SavedRing(
            self._rows[kept].copy(), self._clock[kept].copy(), self._substituted[kept].copy(),
            self._uncertain[kept].copy(), self._before + kept.start, self.flagged, self.last_ns,
            self.due_ns, self._hop_left, None if self.held is None else self.held.copy(),
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
        self.held = saved.held
        self.note_held()


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
    held: HeldSignals | None
