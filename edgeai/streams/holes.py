"""Samples that are missing by the rate: what stands for them, and how late ones take their place.

Timelines in periods; `x` is a filled sample:

    arrives   1 2 3 5 6        4 is missing by the rate: x stands for it, counted
    ring      1 2 3 x 5 6

    arrives   1 2 4 3 5        3 is late and takes the place that was filled
    ring      1 2 x 4          then 1 2 3 4 5

    arrives   1 2 3.6 4 5      3 was stamped late: after 4 the filled one is taken back
    ring      1 2 x 3.6        then 1 2 3.6 4 5

Without a time of their own samples have that of their arrival, and the network may hold them back:

    arrives   1 2 5 5.1 5.2 6  none is missing: after 5.2 the filled ones are taken back
    ring      1 2 x x 5        then 1 2 5 5.1 5.2 6
"""

from bisect import bisect_left

import numpy as np

from edgeai.streams.kept_samples import SPARE_ROWS
from edgeai.streams.ring import Ring
from edgeai.streams.run import Run
from edgeai.streams.settings import Floats, StreamSettings

HOLE_PERIODS = 1.5
"""A step of so many periods is a hole of at least one sample."""
MAX_BURST = 16
"""So many samples that were held back may come after the first one."""


class Holes:
    """The holes of one stream."""

    __slots__ = (
        "_after", "_before_ns", "_count", "_filled", "_is_by_arrival", "_length", "_method",
        "_missing", "_paced_before", "_period_ns", "_placed", "_ring", "_signals",
        "_was_uncertain", "is_open", "paced_from",
    )  # fmt: skip

    def __init__(self, settings: StreamSettings, ring: Ring, counts: dict[str, int]) -> None:
        """Start without a hole.

        Args:
            settings: The stream's.
            ring: The stream's.
            counts: Counts `missing` and `reordered` samples.
        """
        self._ring = ring
        self._method = settings.missing
        self._length = settings.length
        self._signals = settings.signals
        self._missing = counts
        self._filled: list[tuple[int, int]] = []
        """Time and number in the ring of each filled sample that no late one has replaced."""
        self.is_open = False
        """Whether the last sample followed a hole, so that the next one shows if it was real."""
        self._before_ns = 0.0
        """Time of the sample before the open hole; without times of their own, by their pace."""
        self._period_ns = 0.0
        self._count = 0
        """Samples of the open hole."""
        self._placed = 0
        """Samples that were filled for it."""
        self._after = 0
        """Number of the sample after the open hole."""
        self._was_uncertain = False
        """Whether that sample is uncertain without the hole."""
        self._is_by_arrival = False
        """Whether the samples have no times of their own."""
        self.paced_from = self._paced_before = 0
        """Number of the sample after the last hole that was real, as far as it is known: from it on
        none is missing. And what it was before the open hole."""

    def open(
        self, run: Run, good: Floats | None, last_ns: int, late_ns: float | None = None
    ) -> bool:
        """Fill the hole before a run; return whether its first sample is to be marked instead.

        Args:
            run: What follows the hole.
            good: (C,) the last good values; None if a channel has had none.
            last_ns: Time of the sample before the hole.
            late_ns: The run has no time of its own, and came so much later than by the pace of
                those before it; None: it has one, or the pace is not known.
        """
        self.settle(None)
        period_ns = run.period_ns
        first_ns = run.first_ns
        step_ns = first_ns - last_ns
        self._is_by_arrival = late_ns is not None
        before_ns = last_ns if late_ns is None else first_ns - period_ns - late_ns
        count = max(1, int((first_ns - before_ns) / period_ns + 0.5) - 1)
        self.is_open = not run.is_block
        self._before_ns, self._count, self._period_ns = before_ns, count, period_ns
        if not self.is_open:
            self._missing["missing"] += count
        mark = self._method == "mark" or good is None
        self._placed = 0
        if not mark:
            assert good is not None
            self._placed = self._fill(run.rows[0], good, last_ns, step_ns, count)
        self._was_uncertain = run.uncertain is not None and bool(run.uncertain[0])
        self._after = self._ring.next_number
        self._paced_before, self.paced_from = self.paced_from, self._after
        return mark

    def _fill(self, row: Floats, good: Floats, last_ns: int, step_ns: int, count: int) -> int:
        """Append what stands for the missing samples, W - 1 at most; return how many."""
        first = max(0, count - self._length + 1)  # older ones are in no window
        places = range(first + 1, count + 1)
        if not places:
            return 0
        rows = np.repeat(good[np.newaxis], len(places), axis=0)
        if self._method == "linear":
            share = np.array(places, np.float64)[:, np.newaxis] / (count + 1)
            target = np.where(np.isnan(row), good, row)
            rows = (rows + (target - good) * share).astype(np.float32)
            rows[:, self._signals :] = good[self._signals :]  # a code between two codes is none
        times = [last_ns + step_ns * place // (count + 1) for place in places]
        number = self._ring.next_number
        self._filled += zip(times, range(number, number + len(times)), strict=True)
        self._ring.push(times, rows, [self._signals] * len(times), None, ())
        while self._filled and self._filled[0][1] < self._ring.first_number:
            self._filled.pop(0)
        return len(times)

    def settle(self, next_ns: int | None) -> None:
        """Decide whether the open hole was real, by the time of the next sample in order.

        Args:
            next_ns: That time; None: the stream stops or starts again, so the hole counts.
        """
        if not self.is_open:
            return
        ring = self._ring
        after = ring.next_number - self._after  # samples since the hole
        missing = self._count
        if next_ns is not None and (after == 1 or self._is_by_arrival):
            # The sample after the hole may have been stamped late, or held back with others.
            periods = (next_ns - self._before_ns) / self._period_ns
            missing = min(missing, max(0, int(periods + 0.5) - after - 1))
            is_burst = next_ns - ring.last_ns < self._period_ns / 2
            if missing and self._is_by_arrival and is_burst and after < MAX_BURST:
                return  # others may follow
        self.is_open = False
        left = sum(number >= self._after - self._placed for _, number in self._filled)
        if missing:
            self._missing["missing"] += max(0, missing - (self._placed - left))
            if missing < self._count:  # which one is not known
                ring.mark_newest()
        elif self._placed and left == self._count <= SPARE_ROWS and left + after <= ring.size:
            del self._filled[-left:]
            ring.take_back(left, after)
            self.paced_from = self._paced_before
        elif not self._placed:
            self.paced_from = self._paced_before
            if not self._was_uncertain:
                ring.unmark(self._after)

    @property
    def filled_times(self) -> set[int]:
        """The times of the filled samples that no late one has replaced."""
        return {time_ns for time_ns, _ in self._filled}

    def take_back(self) -> None:
        """Take back all holes, uncounted where they are open: their times were no real ones."""
        self.is_open = False
        self._filled.clear()

    def is_filled(self, time_ns: int, period_ns: float) -> bool:
        """Return whether a late sample of this time has a filled one to replace."""
        return self._find(time_ns, period_ns) is not None

    def _find(self, time_ns: int, period_ns: float) -> int | None:
        """Return the index in `_filled` of the sample that is less than half a period away."""
        filled = self._filled
        index = bisect_left(filled, (time_ns, 0))
        near = [place for place in (index - 1, index) if 0 <= place < len(filled)]
        near.sort(key=lambda place: abs(filled[place][0] - time_ns))
        if near and 2 * abs(filled[near[0]][0] - time_ns) <= period_ns:
            return near[0]
        return None

    def replace(
        self, time_ns: int, row: Floats, period_ns: float, *, uncertain: bool
    ) -> bool | None:
        """Put a late sample (C,) in its place.

        Returns:
            True if it is in its place, False if it comes too late for every window, None if there
            is no place for it.
        """
        index = self._find(time_ns, period_ns)
        if index is None:
            return None
        _, number = self._filled.pop(index)
        if not self._ring.overwrite(number, time_ns, row, uncertain=uncertain):
            return False
        self._missing["reordered"] += 1
        return True

    def forget(self) -> None:
        """Forget all holes: the ring was emptied."""
        self.settle(None)
        self._filled.clear()
