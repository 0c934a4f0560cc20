"""Whether a clock is coarser than the sample period, while nobody has declared it.

One stamp that comes twice proves nothing: the sample may have been sent again, by a gateway, the
broker or a second way. What tells, in the order of their strength:

- Other values under the same stamp, and all stamps show a step longer than the sample period: the
  clock is coarse.
- Equal values: copies, if the samples before or after them differ, for the signal moves. Of a
  machine that stands still the count decides: over three stamps each has as many samples as the
  rate says. Until then the samples wait.
- Steps of about the sample period: a stamp came twice, and soon before or after it one is missing,
  two times. If stamps come twice more often than they are missing, samples are sent again.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from edgeai.streams.clock_steps import FASTEST_SHARE, NEAR_PERIODS, RESOLUTIONS_NS, resolution_of
from edgeai.streams.holes import HOLE_PERIODS
from edgeai.streams.repeats import MIN_COUNT, MIN_DISTINCT, most_waiting
from edgeai.streams.run import Run, equals
from edgeai.streams.settings import NEVER_NS, Floats

DOUBLED_PERIODS = 16
"""A stamp that came twice and a hole within so many periods show a clock with steps of about a
period."""
PAIRS = 2
"""So many such pairs show it: one may be a wrong time stamp."""
PAIRED_PERIODS = 64
"""From one pair to the next, so many periods at most."""
STAMPS = 3
"""Of a machine that stands still, so many stamps show what its clock is."""
MAX_STAMPS = 5
"""After so many that do not show it, the samples are taken as they are."""

Verdict = Literal["fine", "wait", "coarse"]


class Before(NamedTuple):
    """The samples of a stream before the next one."""

    last_ns: int
    """Time of the newest."""
    row: Floats
    """(C,) its values."""
    previous: Floats | None
    """(C,) values of the sample before it; None: there is none."""
    signals: int
    """How many of the values, the first ones, are the model's: they show whether it stands still.
    """
    times: Callable[[], list[int]]
    """Returns the times of those that are known, oldest first."""


class _Stamp:
    """The samples of one stamp."""

    __slots__ = ("count", "time_ns", "values")

    def __init__(self, time_ns: int, row: Floats) -> None:
        self.time_ns, self.count = time_ns, 1
        self.values = {row.tobytes()}


class UnprovenClock:
    """What the stamps of one stream have shown so far."""

    __slots__ = (
        "_doubled", "_hole_ns", "_is_fine", "_is_near", "_paired_ns", "_pairs", "_period_ns",
        "_room", "_stamps", "equal", "runs",
    )  # fmt: skip

    def __init__(self, period_ns: int) -> None:
        """Wait for the second sample."""
        self._period_ns = period_ns
        self.runs: list[Run] = []
        """Samples that wait, in the order of their arrival; the first one has the stamp of the
        newest sample that was taken, and its values."""
        self._stamps: list[_Stamp] = []
        """The stamps of the newest sample that was taken, and of those that wait."""
        self._room = 0.0
        """Samples in a step of the clock, by the rate, as far as the stamps show the step."""
        self.equal = 0
        """So many equal samples of a stamp showed that the clock is coarse."""
        self._is_fine = False
        """Whether no step that is longer than a period shows all stamps."""
        self._is_near = False
        """Whether the first waiting sample is to show a step of about a period."""
        self._doubled: set[int] = set()
        """Stamps that came twice lately, where the step may be about a period."""
        self._pairs = 0
        """How often there was a hole soon before or after one."""
        self._paired_ns = NEVER_NS
        """When the last time."""
        self._hole_ns = NEVER_NS
        """Time after a hole that is about a period, if no stamp came twice soon before it."""

    def look(self, run: Run, before: Before) -> Verdict:
        """Judge the clock by the next sample.

        Returns:
            `fine`: take the samples that wait, and it, with the times that they have. `coarse`:
            the clock is coarse, and these are its samples. `wait`: it waits too.
        """
        if self.runs:
            return self._look_on(run, before)
        self.equal = 0
        if run.first_ns == before.last_ns:
            return self._look_at_double(run, before)
        return "coarse" if self._shows_near(run, before) else "fine"

    def release(self) -> list[Run]:
        """Return the samples that wait: none does any more."""
        runs, self.runs = self.runs, []
        self._stamps.clear()
        self._is_near = False
        return runs

    # ---------------------------------------------------------------------- the first double stamp

    def _look_at_double(self, run: Run, before: Before) -> Verdict:
        """Judge by a sample with the stamp of the one before it."""
        is_equal = equals(run.rows[0], before.row)
        previous, signals = before.previous, before.signals
        is_at_rest = previous is not None and equals(run.rows[0, :signals], previous[:signals])
        if is_equal and self._is_fine and not is_at_rest:
            return "fine"
        times = before.times()
        if resolution_of(times, self._period_ns) is not None:
            if is_equal and not self._is_fine:
                return self._wait(run, before)
            return "fine" if is_equal else "coarse"
        self._is_fine = True
        if is_equal and not is_at_rest:
            return "fine"
        if resolution_of(times, self._period_ns, NEAR_PERIODS) is None:
            return "fine"
        return self._double_near(run, before)

    def _wait(self, run: Run, before: Before) -> Verdict:
        """Let a sample wait."""
        if not self.runs:
            self._stamps = [_Stamp(before.last_ns, before.row)]
        newest = self._stamps[-1]
        if run.first_ns > newest.time_ns:
            self._stamps.append(_Stamp(run.first_ns, run.rows))
        elif run.first_ns == newest.time_ns:
            newest.count += 1
            newest.values.add(run.rows.tobytes())
        self.runs.append(run.copy())
        return "wait"

    # -------------------------------------------------------------------------- a machine at rest

    def _look_on(self, run: Run, before: Before) -> Verdict:
        """Judge by the next sample while others wait."""
        newest, period_ns = self._stamps[-1], self._period_ns
        self._wait(run, before)
        if run.first_ns < newest.time_ns:
            return "fine"
        if self._is_near:  # a hole after them makes a pair
            is_hole = run.first_ns - newest.time_ns >= HOLE_PERIODS * period_ns
            return "coarse" if is_hole else "fine"
        if run.first_ns == newest.time_ns:
            if len(newest.values) >= MIN_DISTINCT:
                return "coarse"
            most = most_waiting(RESOLUTIONS_NS[0], period_ns)
            return "fine" if newest.count > most else "wait"
        if len(newest.values) > 1:
            return "coarse"
        times = [*before.times(), *(one.time_ns for one in self._stamps)]
        found = resolution_of(times, period_ns)
        verdict: Verdict = "fine"
        if found is not None and not self._moves(newest, run, before):
            verdict = self._count(found / period_ns)
        self._is_fine = self._is_fine or verdict == "fine"
        return verdict

    def _moves(self, stamp: _Stamp, run: Run, before: Before) -> bool:
        """Return whether the values differ before and after a few equal ones: these are copies."""
        if not 1 < stamp.count < MIN_COUNT:
            return False
        earlier = set() if before.previous is None else {before.previous.tobytes()}
        if stamp is not self._stamps[0]:
            earlier = self._stamps[-3].values
        return not stamp.values & earlier and run.rows.tobytes() not in stamp.values

    def _count(self, room: float) -> Verdict:
        """Judge by the number of samples of each stamp, as the next one has begun.

        Args:
            room: Samples in a step of the clock, by the rate.
        """
        self._room = room
        over = [one for one in self._stamps if one.count >= (1 + FASTEST_SHARE) * room + 1]
        if over or len(self._stamps) > MAX_STAMPS:
            return "fine"
        # The first one may have begun before.
        fitting = [one.count for one in self._stamps[1:-1] if one.count > room - 1]
        if len(self._stamps) < STAMPS or not fitting:
            return "wait"
        self.equal = max(fitting)
        return "coarse"

    def end(self) -> Verdict:
        """Judge the samples that wait, as no other will come."""
        *whole, last = self._stamps
        if len(last.values) > 1:
            return "coarse"
        fits = [one.count >= MIN_COUNT and one.count > self._room - 1 for one in whole]
        return "coarse" if any(fits) else "fine"

    @property
    def undecided(self) -> tuple[int, int] | None:
        """How many samples have the same time stamp, and that stamp; None: there are others."""
        if len(self._stamps) != 1:
            return None
        return self._stamps[0].count, self._stamps[0].time_ns

    # ------------------------------------------------------------------- steps of about a period

    def note_doubled(self, stamp_ns: int) -> None:
        """Note that a stamp came twice, and no step longer than a period shows all stamps."""
        since_ns = stamp_ns - DOUBLED_PERIODS * self._period_ns
        self._doubled = {one for one in self._doubled if one >= since_ns} | {stamp_ns}

    def may_be_near(self, time_ns: int, before_ns: int) -> bool:
        """Return whether a time after another one shows a hole soon after a stamp came twice."""
        if time_ns - before_ns < HOLE_PERIODS * self._period_ns:
            return False
        since_ns = time_ns - DOUBLED_PERIODS * self._period_ns
        return any(since_ns <= one < time_ns for one in self._doubled)

    def _shows_near(self, run: Run, before: Before) -> bool:
        """Return whether a hole shows a clock with steps of about a period."""
        step_ns = run.first_ns - before.last_ns
        if step_ns < HOLE_PERIODS * self._period_ns:
            return False
        lacking = round(step_ns / self._period_ns) - 1
        if not self.may_be_near(run.first_ns, before.last_ns):
            self._doubled.clear()
            self._hole_ns = run.first_ns if lacking == 1 else NEVER_NS
            return False
        count = len(self._doubled)
        self._doubled.clear()
        if count > lacking:  # samples are sent again, and one was lost
            self._pairs = 0
            return False
        times = [*before.times(), run.first_ns]
        is_near = resolution_of(times, self._period_ns, NEAR_PERIODS) is not None
        return is_near and self._note_pair(run.first_ns)

    def _note_pair(self, time_ns: int) -> bool:
        """Note a hole beside a stamp that came twice; return whether such pairs show the clock."""
        if time_ns - self._paired_ns > PAIRED_PERIODS * self._period_ns:
            self._pairs = 0
        self._paired_ns = time_ns
        self._pairs += 1
        return self._pairs >= PAIRS

    def _double_near(self, run: Run, before: Before) -> Verdict:
        """Judge by a stamp that came twice; those of about a period may be the clock's."""
        hole_ns, self._hole_ns = self._hole_ns, NEVER_NS
        if hole_ns >= run.first_ns - DOUBLED_PERIODS * self._period_ns:
            return "coarse" if self._note_pair(run.first_ns) else "fine"
        is_soon = run.first_ns - self._paired_ns <= PAIRED_PERIODS * self._period_ns
        if is_soon and self._pairs >= PAIRS - 1:
            self._is_near = True
            return self._wait(run, before)
        self.note_doubled(run.first_ns)
        return "fine"
