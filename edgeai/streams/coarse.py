"""Times of samples whose clock is coarser than the sample period: whole seconds at 10 Hz.

Samples that share a time stamp are spread by the rate, in the order of their arrival:

    stamp, s    5    5    5    5    6    6    6    6        rate 4 Hz
    time, s     5    5.25 5.5  5.75 6    6.25 6.5  6.75

Where the clock was read first, or again after a gap, its step may have begun before. These samples
wait until the next stamp shows where the step ends, and are counted back from there. So the times
do not depend on when edgeai was started.
"""

from edgeai.messages import SECOND_NS
from edgeai.streams.run import Run
from edgeai.streams.settings import NEVER_NS

RESOLUTIONS_NS = (60 * SECOND_NS, SECOND_NS)
"""Steps of coarse clocks that are recognized: a minute, a second."""
LEAST_PERIODS = 1.5
"""A clock is coarse if its step is at least so many sample periods."""

NEAREST_PERIODS = 0.96
"""Samples that do not fit into a step of the clock by the rate follow at so many periods: so a
sender that is up to 3 % too fast loses none."""


def resolution_of(times: list[int], period_ns: int) -> int | None:
    """Return the step of the coarsest clock that shows only these times; None: it is not coarse."""
    for resolution_ns in RESOLUTIONS_NS:
        if resolution_ns >= LEAST_PERIODS * period_ns and not any(
            time_ns % resolution_ns for time_ns in times
        ):
            return resolution_ns
    return None


class CoarseClock:
    """Gives the samples of one stream their times."""

    __slots__ = ("_number", "_period_ns", "_resolution_ns", "_stamp_ns", "_waiting", "last_ns")

    def __init__(self, period_ns: int, resolution_ns: int | None) -> None:
        """Wait for the first stamp.

        Args:
            period_ns: The model's sample period.
            resolution_ns: Step of the clock, as declared; None: it is recognized.
        """
        self._period_ns = period_ns
        self._resolution_ns = resolution_ns
        self._stamp_ns: int | None = None
        self._number = 0
        """Samples of the stamp before the next one."""
        self.last_ns = NEVER_NS
        """The time that was given last; NEVER_NS: none since the first stamp."""
        self._waiting: list[Run] = []
        """Samples of the first stamp."""

    def start(self, stamp_ns: int, taken: int) -> None:
        """Go on after samples that have their times.

        Args:
            stamp_ns: Their stamp, and the time of the first of them.
            taken: How many they are.
        """
        self._stamp_ns, self._number = stamp_ns, taken
        self.last_ns = stamp_ns + (taken - 1) * self._period_ns

    def resume(self, time_ns: int) -> None:
        """Go on after a sample that is older than the newest."""
        resolution_ns = self._resolution_ns or SECOND_NS
        self._stamp_ns = stamp_ns = time_ns // resolution_ns * resolution_ns
        self._number = (time_ns - stamp_ns) // self._period_ns + 1
        self.last_ns = time_ns
        self._waiting = []

    def restart(self) -> None:
        """Wait for the first stamp again."""
        self._stamp_ns, self.last_ns = None, NEVER_NS
        self._number = 0
        self._waiting = []

    def has_passed(self, stamp_ns: int) -> bool:
        """Return whether a sample of this stamp came before."""
        return self._stamp_ns is not None and stamp_ns <= self._stamp_ns

    def place(self, run: Run, max_gap_ns: int | None) -> list[Run] | None:
        """Return the samples that have their times now.

        Args:
            run: One sample, with its stamp as its time.
            max_gap_ns: A longer step empties the window, so the clock is read for the first time
                again; None: no step does.

        Returns:
            The samples, oldest first; None if the stamp has more samples than the rate allows.
        """
        stamp_ns, period_ns = run.first_ns, self._period_ns
        if self._stamp_ns is None:
            self._stamp_ns = stamp_ns
        if self.last_ns == NEVER_NS:
            if stamp_ns == self._stamp_ns:
                if len(self._waiting) > max(RESOLUTIONS_NS) // period_ns:
                    return None
                self._waiting.append(run.copy())
                return []
            return [*self.release(stamp_ns), *(self.place(run, max_gap_ns) or [])]
        if stamp_ns < self._stamp_ns:
            return [run]  # late: the stream decides
        if max_gap_ns is not None and stamp_ns - self.last_ns > max_gap_ns:
            self._stamp_ns, self.last_ns, self._number = stamp_ns, NEVER_NS, 0
            self._waiting = [run.copy()]
            return []
        if stamp_ns > self._stamp_ns:
            self._stamp_ns, self._number = stamp_ns, 0
            self._narrow(stamp_ns)
        # A little nearer than by the rate, so that a fast sender is followed.
        time_ns = max(
            stamp_ns + self._number * period_ns, self.last_ns + int(NEAREST_PERIODS * period_ns)
        )
        if time_ns > stamp_ns + (self._resolution_ns or SECOND_NS) + period_ns // 2:
            return None
        self._number += 1
        self.last_ns = time_ns
        run.times = [time_ns]
        return [run]

    def release(self, next_ns: int | None) -> list[Run]:
        """Return the samples of the first stamp, counted back from the end of its step.

        Args:
            next_ns: The next stamp; None: there is none, the stream ends here.
        """
        waiting, self._waiting = self._waiting, []
        stamp_ns = self._stamp_ns
        if not waiting or stamp_ns is None:
            return []
        if self._resolution_ns is None:
            found = resolution_of([stamp_ns, next_ns or stamp_ns], self._period_ns)
            self._resolution_ns = found or SECOND_NS
        period_ns = self._period_ns
        first_ns = max(stamp_ns, stamp_ns + self._resolution_ns - len(waiting) * period_ns)
        for number, run in enumerate(waiting):
            run.times = [first_ns + number * period_ns]
        self.last_ns = waiting[-1].first_ns
        self._number = len(waiting)
        return waiting

    def _narrow(self, stamp_ns: int) -> None:
        """Note a stamp that is no multiple of the recognized step: the clock is finer."""
        if self._resolution_ns is not None and stamp_ns % self._resolution_ns:
            self._resolution_ns = SECOND_NS
