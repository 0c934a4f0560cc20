"""How a block continues the one before it, though the sender's clock jitters or drifts.

A block that begins a little early or late continues the block before it: its samples are spread
from the end of that one, at most `DRIFT_SHARE` nearer or wider than the rate says. So the times
follow a sender whose rate is not quite the nominal one, and no sample is cut.

- It begins before the other ended: samples whose values were taken are copies and are dropped. All
  others are new, so its clock was wrong: it continues the block before.
- It begins a part of a block too late: whether samples are missing cannot be known, so its first
  sample is marked, unless the step only takes back what earlier blocks came too early.
- It begins whole blocks too late: that is a hole (`holes`).
"""

from edgeai.streams.ring import Ring
from edgeai.streams.run import Run, equals

DRIFT_SHARE = 0.04
"""Largest share of a block's time by which its samples are spread nearer or wider."""
SLOWEST_FOLLOWING = 0.25
"""A block's clock is followed by at least this part of a sample period a block."""
DOUBT_SHARE = 0.25
"""Largest overlap, as a share of a block, that is a wrong clock where values cannot tell."""
HOLE_SHARE = 0.75
"""From this share of a block on, a late start is a block that is missing."""
NEAR = (0, -1, 1, -2, 2)
"""Samples by which the time of an overlap may be wrong."""


class Joins:
    """Joins the blocks of one stream."""

    __slots__ = ("_before_ns", "_early_ns", "_ring", "_tolerance_ns")

    def __init__(self, ring: Ring, tolerance_ns: int | None) -> None:
        """Wait for the second block.

        Args:
            ring: The stream's.
            tolerance_ns: How far a block may start from where the block before it ended; None: half
                a sample period.
        """
        self._ring = ring
        self._tolerance_ns = tolerance_ns
        self._early_ns = 0.0
        """How much blocks came too early, and none too late since."""
        self._before_ns = 0.0
        """How late the last block was; below 0: how early."""

    def join(self, run: Run, last_ns: int, follows_ns: int) -> int:
        """Move a block to the end of the one before it if it continues it, and leave out copies.

        Args:
            run: The block; its first samples may be left out, its times may change.
            last_ns: Time of the sample before it.
            follows_ns: The tolerance if its sequence number is the next one.

        Returns:
            How many of its samples are copies. If all are, the block is as it was.
        """
        period_ns = run.period_ns
        off_ns = run.first_ns - last_ns - period_ns
        before_ns = self._before_ns
        if (
            run.last_ns > last_ns or not run.is_timed
        ):  # one that comes late says nothing of the next
            self._before_ns = off_ns
        if run.is_placed or (run.is_timed and abs(off_ns) <= period_ns / 2):
            return 0
        tolerance_ns = self._tolerance_ns or period_ns / 2
        if run.follows and (off_ns < 0 or not run.is_timed):  # no sample can be missing before it
            tolerance_ns = max(tolerance_ns, follows_ns)
        span_ns = len(run.times) * period_ns
        if off_ns < 0:
            return self._join_early(run, last_ns, off_ns, tolerance_ns)
        if off_ns <= tolerance_ns or self._is_drift(off_ns, before_ns, span_ns, period_ns):
            self._continue(run, last_ns, off_ns)
        else:
            run.is_torn = run.is_torn or off_ns < HOLE_SHARE * span_ns
        return 0

    def _join_early(self, run: Run, last_ns: int, off_ns: float, tolerance_ns: float) -> int:
        """Join a block that begins before the other ended, as `join` says."""
        span_ns = len(run.times) * run.period_ns
        is_near = -off_ns <= tolerance_ns
        if is_near and (run.is_timed or run.follows or -off_ns < span_ns / 2):
            self._continue(run, last_ns, off_ns)
            return 0
        if run.follows or (run.last_ns <= last_ns and run.is_timed):
            return 0  # late, as a whole
        copies = self._copies(run, last_ns)
        if copies is None:  # values cannot tell
            is_near = is_near or -off_ns <= DOUBT_SHARE * span_ns
            about = round((last_ns - run.first_ns) / run.period_ns) + 1
            copies = 0 if is_near else min(len(run.times), max(0, about))
        if copies == len(run.times):
            return copies
        run.skip(copies)
        off_ns = run.first_ns - last_ns - run.period_ns
        if abs(off_ns) > run.period_ns / 2:
            run.is_torn = run.is_torn or -off_ns > max(tolerance_ns, span_ns / 2)
            self._continue(run, last_ns, off_ns)
        return copies

    def _is_drift(self, off_ns: float, before_ns: float, span_ns: float, period_ns: float) -> bool:
        """Return whether a late start shows a slow clock, or one that had come too early.

        Args:
            off_ns: How late it is.
            before_ns: How late the block before was; below 0: how early.
            span_ns: Time of the block.
            period_ns: Time of a sample.
        """
        half_ns = period_ns / 2
        # The last block may have been early by less than half a period, and was not moved.
        if off_ns <= max(self._early_ns, min(-before_ns, half_ns)) + half_ns:
            return True
        is_late_again = abs(off_ns - max(0.0, before_ns)) <= half_ns
        return is_late_again and off_ns <= DRIFT_SHARE * span_ns + half_ns

    def _continue(self, run: Run, last_ns: int, off_ns: float) -> None:
        """Spread a block from the end of the one before it."""
        period_ns, count = run.period_ns, len(run.times)
        span_ns = count * period_ns
        most_ns = max(SLOWEST_FOLLOWING * period_ns, DRIFT_SHARE * span_ns)
        moved_ns = max(-most_ns, min(off_ns, most_ns))
        self._early_ns = min(max(0.0, self._early_ns - moved_ns), DRIFT_SHARE * span_ns)
        run.spread(last_ns, moved_ns)

    def _copies(self, run: Run, last_ns: int) -> int | None:
        """Return how many samples of a block, from its first, were taken; None: it is not known."""
        ring, rows, count = self._ring, run.rows, len(run.times)
        if not ring.size:
            return None
        about = round((last_ns - run.first_ns) / run.period_ns) + 1
        for copies in [count, *(about + near for near in NEAR)]:
            if not 0 < copies <= count:
                continue
            known = min(copies, ring.size)
            if equals(rows[copies - known : copies], ring.recent[-known:]):
                is_constant = bool((rows[:copies] == rows[0]).all())
                return None if is_constant else copies
        return 0
