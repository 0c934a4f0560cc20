"""Whether a step of a coarse clock lacks a sample, by the arrivals, before the step ends.

The samples of one stamp are spread in the order of their arrival. If one is missing, all later ones
of its stamp get a time that is a sample period too early, and how many there are is known only at
the next stamp. But where samples arrive as evenly as they are measured, a sample that comes two
periods after the one before it shows the hole at once:

    arrives, s   5.0  5.25  5.75  6.0       rate 4 Hz
    stamp, s     5    5     5     6
    time, s      5    5.25  5.5   6         the third one is in doubt: its time should be 5.75
"""

from edgeai.streams.holes import HOLE_PERIODS

EVEN_PERIODS = 1.25
"""Arrivals are even if the longest step in a stamp without a hole is at most this many periods."""
MEMORY = 7 / 8
"""What of the longest step so far still counts after one more stamp."""


class ArrivalPace:
    """Watches the arrivals of one stream's samples."""

    __slots__ = (
        "_has_begun", "_hole_ns", "_is_known", "_longest_ns", "_period_ns", "_uneven_ns",
        "_worst_ns", "in_doubt",
    )  # fmt: skip

    def __init__(self, period_ns: int) -> None:
        """Wait for the first stamp that lacks nothing."""
        self._period_ns = period_ns
        self._hole_ns = HOLE_PERIODS * period_ns
        self._uneven_ns = EVEN_PERIODS * period_ns
        self._has_begun = False
        """Whether all arrivals of this stamp were noted."""
        self._is_known = False
        """Whether there was such a stamp."""
        self._longest_ns = 0
        """Longest step between two arrivals of this stamp."""
        self._worst_ns = 0.0
        """The same of the stamps before that lacked nothing, less of older ones."""
        self.in_doubt = False
        """Whether a sample of this stamp seems to be missing, so that the next ones are marked."""

    def note(self, step_ns: int) -> None:
        """Note the time from the arrival of the sample before to this one."""
        if step_ns > self._longest_ns:
            self._longest_ns = step_ns
            if step_ns >= self._hole_ns and self._is_known and self._worst_ns <= self._uneven_ns:
                self.in_doubt = True

    def next_stamp(self, step_ns: int, lacking: int) -> None:
        """Note the first sample of the next stamp.

        Args:
            step_ns: Time from the arrival of the sample before to this one.
            lacking: How many samples the stamp before it lacks.
        """
        if self._has_begun and not lacking:
            self._worst_ns = max(self._longest_ns, MEMORY * self._worst_ns)
            self._is_known = True
        self._has_begun = True
        was_in_doubt = self.in_doubt
        self.in_doubt = False
        self._longest_ns = 0
        if not was_in_doubt:  # then they are missing at the end of the stamp before
            step_ns -= lacking * self._period_ns
        self.note(step_ns)
