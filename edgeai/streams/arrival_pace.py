"""Whether a step of a coarse clock lacks a sample, by the arrivals, before the step ends.

The samples of one stamp are spread in the order of their arrival. If one is missing, all later ones
of its stamp get a time that is a sample period too early, and how many there are is known only at
the next stamp. But where samples arrive as evenly as they are measured, a sample that comes two
periods after the one before it shows the hole at once:

    arrives, s   5.0  5.25  5.75  6.0       rate 4 Hz
    stamp, s     5    5     5     6
    time, s      5    5.25  5.5   6         the third one is in doubt: its time should be 5.75
"""

from itertools import pairwise

from edgeai.streams.holes import HOLE_PERIODS
from edgeai.streams.left_rows import Numbers

EVEN_SHARE = 0.25
"""Arrivals are even if their steps are whole periods, but for this part of a period at most."""
MEMORY = 7 / 8
"""What of the largest such part so far still counts after one more stamp."""


KEPT_ARRIVALS = 9
"""The pace of samples without a time of their own is that of so many."""
MIN_ARRIVALS = 4
LATE_PERIODS = 0.6
"""A sample that is later by the pace follows a hole: the pace itself is known to a tenth only."""


def lateness(arrived_ns: int, before: Numbers, period_ns: float) -> float | None:
    """Return how much later than by the pace of those before it a sample arrived, nanoseconds.

    The pace is the median: a few samples that were held back do not change it.

    Args:
        arrived_ns: When it arrived.
        before: (n,) when the samples before it arrived, without a hole, rising.
        period_ns: The sample period.

    Returns:
        Below 0 if it came early; None: too few are known.
    """
    count = len(before)
    if count < MIN_ARRIVALS:
        return None
    arrivals: list[int] = before.tolist()
    due = [at_ns + (count - place) * period_ns for place, at_ns in enumerate(arrivals)]
    return arrived_ns - sorted(due)[count // 2]


class ArrivalPace:
    """Watches the arrivals of one stream's samples."""

    __slots__ = ("_has_begun", "_hole_ns", "_is_known", "_period_ns", "_uneven", "in_doubt")

    def __init__(self, period_ns: int) -> None:
        """Wait for the first stamp."""
        self._period_ns = period_ns
        self._hole_ns = HOLE_PERIODS * period_ns
        self._has_begun = False
        """Whether all arrivals of this stamp were noted."""
        self._is_known = False
        """Whether there was such a stamp."""
        self._uneven = 0.0
        """Largest part of a period by which a step was not whole periods, less of older ones."""
        self.in_doubt = False
        """Whether a sample of this stamp seems to be missing, so that the next ones are marked."""

    def note(self, step_ns: int) -> None:
        """Note the time from the arrival of the sample before to this one."""
        if step_ns >= self._hole_ns and self._is_known and self._uneven <= EVEN_SHARE:
            self.in_doubt = True
        periods = step_ns / self._period_ns
        self._uneven = max(self._uneven, abs(periods - max(1, int(periods + 0.5))))

    def note_first(self, arrivals: list[int]) -> int:
        """Note the arrivals of a whole stamp, (n,).

        Returns:
            After how many of them the last hole is, and one more; 0: there is none, or they are not
            even.
        """
        hole = 0
        for index, (before_ns, at_ns) in enumerate(pairwise(arrivals), 2):
            self.note(at_ns - before_ns)
            if at_ns - before_ns >= self._hole_ns:
                hole = index
        self._has_begun = True
        self.in_doubt = False
        return hole if self._uneven <= EVEN_SHARE else 0

    def next_stamp(self, step_ns: int, lacking: int) -> None:
        """Note the first sample of the next stamp.

        Args:
            step_ns: Time from the arrival of the sample before to this one.
            lacking: How many samples the stamp before it lacks.
        """
        self._is_known = self._is_known or self._has_begun
        self._has_begun = True
        self._uneven *= MEMORY
        was_in_doubt = self.in_doubt
        self.in_doubt = False
        if not was_in_doubt:  # then they are missing at the end of the stamp before
            step_ns -= lacking * self._period_ns
        self.note(step_ns)
