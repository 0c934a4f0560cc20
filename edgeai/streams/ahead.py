"""Samples whose time is ahead of their arrival: they wait until the next sample shows who is wrong.

A step in time that is a hole or a gap, while the arrivals show no such step, is either a wrong time
stamp or a sample that others will follow. So the sample waits, and no window leaves with it, until
the next one comes. Timelines in periods, arrivals one period apart:

    arrives   1 2 5.7 4 5      5.7 has a wrong time: 4 keeps pace with 2. It is dropped; 3 is a hole
    arrives   1 2 5.7 6.7      the clock was set ahead: 6.7 keeps pace with 5.7
    arrives   1 2 4 3 5        after 3 nothing is missing: 4 had only overtaken it

Where two agree, as 5.7 and 6.7, their times may still be wrong: they are in doubt, and uncertain.
"""

from edgeai.streams.clock_steps import LEAST_PERIODS, TICK_NS, is_shown, resolution_of
from edgeai.streams.holes import HOLE_PERIODS, Holes
from edgeai.streams.ring import Ring
from edgeai.streams.run import Newest, Run
from edgeai.streams.settings import NEVER_NS, StreamSettings

PACE_PERIODS = 0.75
"""Largest difference between a step in time and the step of the arrivals, for single samples."""
BURST_PERIODS = 0.25
"""A sample that arrives sooner after the one before came in a burst."""
DOUBTED = 5
"""Samples or blocks that agree with each other are in doubt, up to so many."""
MAX_WAITING = 4
"""Samples or blocks that wait at most; if all are ahead of the one before, they are taken."""


class Ahead:
    """The waiting samples of one stream."""

    __slots__ = (
        "_drops",
        "_holes",
        "_left_hole",
        "_length",
        "_max_gap_ns",
        "_newest",
        "_ring",
        "doubtful",
        "is_watching",
        "runs",
    )

    def __init__(
        self,
        settings: StreamSettings,
        ring: Ring,
        newest: Newest,
        holes: Holes,
        drops: dict[str, int],
    ) -> None:
        """Start without a waiting sample.

        Args:
            settings: The stream's.
            ring: The stream's.
            newest: The newest sample that waits no longer.
            holes: The stream's.
            drops: Counts dropped samples by reason.
        """
        self._max_gap_ns, self._length = settings.max_gap_ns, settings.length
        self._ring, self._newest, self._holes = ring, newest, holes
        self._drops = drops
        self._left_hole = False
        """Whether a sample left a hole while others waited: it may be the place of one of them."""
        self.runs: list[Run] = []
        """Samples or blocks, in the order of their times."""
        self.doubtful = 0
        """How many of the next samples or blocks are in doubt too."""
        self.is_watching = True
        """Whether the times are as sent and in the order of arrival, so that both can be compared.
        """

    def is_ahead(self, run: Run) -> bool:
        """Return whether samples are to wait: their time is ahead of their arrival."""
        newest = self._newest
        if not self.is_watching:
            return False
        if newest.last_ns == NEVER_NS:
            gap_ns = self._max_gap_ns
            is_far = gap_ns is not None and run.first_ns - run.arrived_ns > gap_ns
            return is_far and len(run.times) >= self._length  # else no window leaves with it
        if not self._is_step_ahead(run, newest.last_ns, newest.arrived_ns):
            return False
        # Where samples wait for late ones, a coarse clock is not recognized.
        return newest is not self._ring or not self.shows_coarse(run, LEAST_PERIODS)

    def shows_coarse(self, run: Run, least_periods: float) -> bool:
        """Return whether all time stamps so far may be those of a clock with such steps."""
        if run.is_block or not run.period_ns:
            return False
        ring, period_ns, filled = self._ring, int(run.period_ns), self._holes.filled_times
        before_ns = ring.last_ns if ring.size else run.first_ns
        found = resolution_of([before_ns, run.first_ns], period_ns, least_periods)
        if found is None and not is_shown(before_ns, run.first_ns, TICK_NS):
            return False  # without a look at all of them
        kept = [time_ns for time_ns in ring.recent_times.tolist() if time_ns not in filled]
        return resolution_of([*kept, run.first_ns], period_ns, least_periods) is not None

    def judge(self, run: Run) -> list[Run]:
        """Decide about the waiting samples by the next one, which may have to wait itself.

        Args:
            run: The next sample or block.

        Returns:
            What is to be taken now, in order.
        """
        waiting, last = self.runs, self._newest
        if not waiting:
            self._left_hole = False
            waiting.append(run.copy())
            return []
        if any(run.is_same(one) for one in waiting):
            self._drops["duplicate"] += len(run.times)
            return []
        newest = waiting[-1]
        if run.first_ns <= newest.last_ns:
            return self._judge_older(run)
        if not self._keeps_pace(run, newest.last_ns, newest.arrived_ns):
            if self._keeps_pace(run, last.last_ns, last.arrived_ns):
                in_burst = newest.arrived_ns - last.arrived_ns < BURST_PERIODS * run.period_ns
                if in_burst and self._continues(run, newest.last_ns):
                    return self._doubt([*self.release(), run])
                self._drop(waiting)
                return [run]
            is_ahead = self._is_step_ahead(run, newest.last_ns, newest.arrived_ns)
            if is_ahead or self._is_too_near(run, newest.last_ns):
                return self._wait(run)
            return [*self.release(), run]
        return self._doubt([*self.release(), run])

    def _doubt(self, taken: list[Run]) -> list[Run]:
        """Return samples that agree with each other; they and the next ones are in doubt."""
        for one in taken:
            one.is_doubtful = True
        self.doubtful = DOUBTED - len(taken)
        return taken

    def _continues(self, run: Run, before_ns: int) -> bool:
        """Return whether a single sample follows a waiting one by a period.

        Behind one that came in a burst the arrivals are no evidence: what was stored is sent with
        pauses that may be as long as the step.
        """
        step_ns = run.first_ns - before_ns
        is_single = bool(run.period_ns) and not run.is_block
        return is_single and run.period_ns / 2 <= step_ns < self._hole_ns(run)

    def _wait(self, run: Run) -> list[Run]:
        """Let a sample wait with the others; return all of them if they are too many."""
        self.runs = sorted([*self.runs, run.copy()], key=lambda one: one.first_ns)
        return self.release() if len(self.runs) > MAX_WAITING else []

    def _is_too_near(self, run: Run, before_ns: int) -> bool:
        """Return whether a sample is so near to a waiting one that both cannot be right."""
        is_near = run.first_ns - before_ns < run.period_ns / 2
        return is_near and self._is_ahead_of_newest(run)

    def _is_ahead_of_newest(self, run: Run) -> bool:
        """Return whether a single sample is ahead of the newest one that was taken."""
        last = self._newest
        if run.is_block or not run.period_ns or last.last_ns == NEVER_NS:
            return False
        return self._is_step_ahead(run, last.last_ns, last.arrived_ns)

    def release(self) -> list[Run]:
        """Return the waiting samples: none waits any more."""
        released = self.runs
        self.runs = []
        return released

    def drop(self) -> None:
        """Drop the waiting samples: nothing shows that the time went on from there."""
        self._drop(self.runs)

    def _judge_older(self, run: Run) -> list[Run]:
        """Decide by a sample that is older than the newest one that waits."""
        last_ns = self._newest.last_ns
        if run.first_ns <= last_ns:
            return [run]
        has_hole = run.first_ns - last_ns >= self._hole_ns(run)
        if has_hole and self._keeps_pace(run, last_ns, self._newest.arrived_ns):
            self._drop(self.runs)
            return [run]
        if self._is_ahead_of_newest(run):
            return self._wait(run)  # it is as doubtful as the others
        gap_ns = self._max_gap_ns
        if gap_ns is not None:
            self._drop([one for one in self.runs if one.first_ns - run.last_ns > gap_ns])
        half_ns = run.period_ns / 2
        reached = [one for one in self.runs if one.first_ns < run.last_ns + half_ns]
        fitting = [
            one
            for one in reached
            if last_ns + half_ns <= one.first_ns and one.last_ns + half_ns <= run.first_ns
        ]
        if not has_hole:
            fitting.clear()
        self._drop([one for one in reached if one not in fitting])
        for one in fitting:
            self.runs.remove(one)
            one.mark()
        self._left_hole = self._left_hole or has_hole
        taken = [*fitting, run]
        if not self._left_hole:
            while self.runs and self.runs[0].first_ns - taken[-1].last_ns < self._hole_ns(run):
                taken.append(self.runs.pop(0))
        return taken

    def _drop(self, runs: list[Run]) -> None:
        if not runs:
            return
        self._drops["implausible_time"] += sum(len(one.times) for one in runs)
        gone = {id(one) for one in runs}
        self.runs = [one for one in self.runs if id(one) not in gone]
        self._ring.implausible_ns = runs[0].first_ns

    # --------------------------------------------------------------------------------- arrivals

    def _is_step_ahead(self, run: Run, before_ns: int, arrived_ns: int) -> bool:
        """Return whether a step is a hole or a gap by the times, but not by the arrivals."""
        step_ns = run.first_ns - before_ns
        if step_ns < self._hole_ns(run):
            return False
        waited_ns, tolerance_ns = max(0, run.arrived_ns - arrived_ns), self._tolerance_ns(run)
        if run.is_block and not run.is_timed and not run.is_placed:
            return False  # its time is its arrival
        if step_ns - waited_ns > tolerance_ns:
            return True
        # A block arrives when it ends: one that overtook another came by a whole block too early.
        half_ns = (run.last_ns - run.first_ns + run.period_ns) / 2
        ahead_ns = run.last_ns - before_ns - waited_ns
        return run.is_block and ahead_ns > max(tolerance_ns, half_ns)

    def _keeps_pace(self, run: Run, before_ns: int, arrived_ns: int) -> bool:
        """Return whether a step in time is as long as that of the arrivals."""
        off_ns = run.last_ns - before_ns - (run.arrived_ns - arrived_ns)
        return abs(off_ns) <= self._tolerance_ns(run)

    def _hole_ns(self, run: Run) -> float:
        """Return the shortest step before samples that lets them wait."""
        if run.period_ns and not run.is_block:
            return HOLE_PERIODS * run.period_ns
        return float("inf") if self._max_gap_ns is None else self._max_gap_ns + 1

    def _tolerance_ns(self, run: Run) -> float:
        if run.period_ns and not run.is_block:
            return PACE_PERIODS * run.period_ns
        return self._max_gap_ns or 0
