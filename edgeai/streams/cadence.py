"""The rate of one channel, declared or learnt: it says which of its samples are missing.

A rate is learnt from the first 16 steps, if they are about equally long, and forgotten when steps
no longer are. After that, 256 steps must show it. So a signal that is published when it changes has
no rate and lacks nothing, although its values may follow one another regularly for a while. Samples
of all channels that come at the model's rate show their rate with three steps.

    comes     1 2 3 . 5 6        a step of two periods: one sample is missing, certain at 6
    comes     1 2 3 . 5 4 6      4 is late: none is missing
    comes     1 2 3 3.6 4 5      a time stamp that was late: none is missing
"""

from edgeai.streams.holes import HOLE_PERIODS
from edgeai.streams.settings import NEVER_NS

LEARNT_FROM = 16
"""Learn a rate from this many steps."""
MAX_ODD_STEPS = 3
"""This many of them may be longer or shorter."""
BLOCKS_AGAIN = 16
"""Later, so many times as many steps must be regular; twice as many each time it was in vain."""
MAX_BLOCKS = 64
REGULAR_RATIO = 1.25
"""Largest ratio of a regular step to the learnt period, and of its inverse."""
STEADY_STEPS = 3
"""This many steps at the model's rate show that samples of all channels keep it."""
ODD_DEBT = 5
"""Regular steps that make up for one that is not."""
FIRST_DEBT = 10
MAX_DEBT = 30
"""A rate is forgotten at a larger debt: more than one step in six is not regular. A new rate has a
debt, so it is forgotten soon."""
LONGEST_PERIODS = 5
"""Samples are counted as missing in a step of this many periods, or up to the stream's gap."""
ROUNDING_NS = 1000
"""Error of the difference of two times in float64 seconds."""
NO_LIMIT_NS = 1 << 62


class Cadence:
    """The rate of one channel, or of samples of all channels.

    After each value in the order of time the caller sets `last_ns` if the step is from `low_ns` to
    `high_ns`, and calls `note` otherwise.
    """

    __slots__ = (
        "_before_ns", "_between", "_blocks", "_blocks_left", "_debt", "_has_extra", "_is_fixed",
        "_is_new", "_jitter_ns", "_likely_ns", "_longest_ns", "_open", "_prior_ns", "_shortest_ns",
        "_steps", "_suspect_from_ns", "high_ns", "last_ns", "low_ns", "period_ns", "suspect_ns",
    )  # fmt: skip

    def __init__(
        self, gap_ns: int | None, *, declared_ns: int | None = None, prior_ns: int | None = None
    ) -> None:
        """Wait for the first value.

        Args:
            gap_ns: The stream's largest gap; None: it has none.
            declared_ns: Time from one value to the next; 0: values come when they change, so none
                is missing; None: it is learnt.
            prior_ns: The model's sample period, if values at that rate show it soon.
        """
        self._longest_ns = gap_ns or NO_LIMIT_NS
        self._prior_ns = prior_ns
        self._is_fixed = declared_ns is not None
        self._steps: list[int] = []
        """What a rate is learnt from."""
        self._is_new = True
        """Whether these are the first ones."""
        self._likely_ns = 0
        """The period of the first steps, if they are regular so far, or of later ones; or 0."""
        self._blocks = self._blocks_left = BLOCKS_AGAIN
        """How many times 16 regular steps show a rate again, and how many of them are to come."""
        self._has_extra = False
        """Whether values came between those of the rate: such as changes between heartbeats."""
        self.last_ns = NEVER_NS
        """The newest time."""
        self.period_ns = 0
        """From one value to the next; 0: there is no rate."""
        self.low_ns = NO_LIMIT_NS
        self.high_ns = 0
        """A step from `low_ns` to `high_ns` is regular and needs no further look."""
        self._shortest_ns = 0
        self._debt = 0
        self._jitter_ns = 0
        """How much longer than the period a regular step was."""
        self._open = 0
        """Samples of the open hole that no late one has replaced."""
        self._before_ns = NEVER_NS
        """Time before the open hole."""
        self._between = 0
        """Values that came since then."""
        self.suspect_ns = self._suspect_from_ns = NEVER_NS
        """Newest and oldest time of values that came after a hole, or before older ones: they may
        be wrong."""
        if declared_ns:
            self._keep(declared_ns, 0)

    @property
    def hole_ns(self) -> int:
        """A step of this length or longer is a hole of at least one sample."""
        period_ns = self.period_ns or (self._likely_ns if self._is_new else 0)
        return int(HOLE_PERIODS * period_ns) if period_ns else NO_LIMIT_NS

    @property
    def due_ns(self) -> int:
        """At this age of a value, the next one is due."""
        period_ns = self.period_ns or (self._likely_ns if self._is_new else 0)
        return period_ns + self._jitter_ns - ROUNDING_NS if period_ns else NO_LIMIT_NS

    def note(self, time_ns: int) -> int:
        """Take the time of a value that is newer than the last one.

        Returns:
            How many samples are missing, as far as that became certain now.
        """
        last_ns, self.last_ns = self.last_ns, time_ns
        missing = self.settle(time_ns)
        step_ns = time_ns - last_ns
        if last_ns == NEVER_NS:
            pass
        elif not self.period_ns:
            missing += 0 if self._is_fixed else self._learn(step_ns)
        elif step_ns < self._shortest_ns:
            self._debt += ODD_DEBT
            self._has_extra = True
        elif step_ns < self.hole_ns:
            self._jitter_ns = max(self._jitter_ns, step_ns - self.period_ns)
            self._debt = max(0, self._debt - 1)
        else:
            self._debt += ODD_DEBT
            if step_ns <= max(self._longest_ns, LONGEST_PERIODS * self.period_ns):
                self._open = round(step_ns / self.period_ns) - 1
                self._before_ns, self._between = last_ns, 1
                self.suspect_ns = self._suspect_from_ns = time_ns
        if self._debt > MAX_DEBT and not self._is_fixed:
            missing += self.settle(None)
            self.period_ns = self._debt = self._likely_ns = 0
            self._is_new = False
            self._blocks = self._blocks_left = min(MAX_BLOCKS, 2 * self._blocks)
        self._watch()
        return missing

    def settle(self, next_ns: int | None) -> int:
        """Return how many samples of the open hole are missing, and close it.

        Args:
            next_ns: Time of the value after the one that showed the hole; None: there is none.
        """
        count, self._open = self._open, 0
        self.suspect_ns = NEVER_NS
        if not count or next_ns is None:
            return count
        expected = round((next_ns - self._before_ns) / self.period_ns) - 1
        return min(count, max(0, expected - self._between))

    def restart(self) -> int:
        """Wait for the first value after a gap, at the same rate; return what `settle` does."""
        self.last_ns = NEVER_NS
        return self.settle(None)

    def put_in_place(self, time_ns: int) -> None:
        """Note that a late value was put in its place: the newest one came before it."""
        if self._open:
            self._open -= 1
            self._between += 1
            if not self._open:
                self._debt = max(0, self._debt - ODD_DEBT)  # there was no hole
        before_ns = self.last_ns - (self._steps[-1] if self._steps else 0)
        if before_ns < time_ns < self.last_ns:
            self._steps[-1:] = [time_ns - before_ns, self.last_ns - time_ns]
        if self.suspect_ns == NEVER_NS:
            self._suspect_from_ns = time_ns + 1
        self._suspect_from_ns = min(self._suspect_from_ns, time_ns + 1)
        self.suspect_ns = self.last_ns
        self.low_ns, self.high_ns = NO_LIMIT_NS, 0  # `note` ends the doubt

    def drop_suspect(self, last_ns: int) -> None:
        """Note that a value in doubt was removed.

        Args:
            last_ns: The newest time now.
        """
        if last_ns < self._suspect_from_ns:
            self.suspect_ns = NEVER_NS
        self.last_ns = last_ns
        if last_ns == self._before_ns:
            self._open = 0  # the next value opens it again
        self._between = max(0, self._between - 1)
        if self._steps:
            self._steps.pop()

    def has_room(self, time_ns: int, before_ns: int, after_ns: int | None) -> bool:
        """Return whether a late value may be put between two others, by the rate."""
        half_ns = self.period_ns // 2
        if time_ns - before_ns < half_ns:
            return False
        if after_ns is None or not self.period_ns:
            return True
        return after_ns - time_ns >= half_ns and after_ns - before_ns >= self.hole_ns

    def doubts(self, time_ns: int) -> tuple[int, int]:
        """Return the times of values that would be wrong if there is a right one of this time.

        Two values that are so close cannot both be right by the rate. Those in doubt came after a
        hole, or too early.
        """
        near_ns = 0 if self._has_extra else max(0, self.period_ns // 2 - 1)
        return max(self._suspect_from_ns, time_ns - near_ns), min(
            self.suspect_ns, time_ns + near_ns
        )

    def _learn(self, step_ns: int) -> int:
        """Note a step while there is no rate; return how many samples were missing before."""
        steps = self._steps
        steps.append(step_ns)
        prior_ns = self._prior_ns
        if prior_ns is not None and len(steps) >= STEADY_STEPS:
            newest = steps[-STEADY_STEPS:]
            if prior_ns < HOLE_PERIODS * min(newest) and max(newest) < HOLE_PERIODS * prior_ns:
                return self._keep(prior_ns, max(newest) - prior_ns)
        if len(steps) < LEARNT_FROM:
            if self._is_new and len(steps) >= STEADY_STEPS:
                self._guess(steps)
            return 0
        period_ns, regular = _most_regular(steps)
        is_regular = len(regular) >= LEARNT_FROM - MAX_ODD_STEPS
        if not self._is_new:
            is_same = is_regular and abs(period_ns - self._likely_ns) <= period_ns / 8
            self._blocks_left = self._blocks_left - 1 if is_same else self._blocks
        if is_regular and (self._is_new or self._blocks_left <= 0):
            missing = self._keep(period_ns, max(regular) - period_ns)
            self._debt = FIRST_DEBT
            self._watch()
            return missing
        self._is_new, self._likely_ns = False, period_ns if is_regular else 0
        steps.clear()
        return 0

    def _guess(self, steps: list[int]) -> None:
        """Set the likely period by the first steps."""
        period_ns, regular = _most_regular(steps)
        holes = sum(step >= HOLE_PERIODS * period_ns for step in steps)
        is_likely = (
            len(regular) >= STEADY_STEPS
            and len(regular) + holes == len(steps)
            and holes <= min(MAX_ODD_STEPS, len(steps) // 4)
        )
        self._likely_ns = period_ns if is_likely else 0
        self._jitter_ns = max(regular) - period_ns

    def _keep(self, period_ns: int, jitter_ns: int) -> int:
        """Use a rate; return how many samples were missing while it was learnt."""
        self.period_ns, self._jitter_ns = period_ns, max(0, jitter_ns)
        self._shortest_ns = int(period_ns / HOLE_PERIODS)
        self._debt = 0
        self._has_extra = False
        self._watch()
        holes = [step for step in self._steps if step >= self.hole_ns]
        self._steps.clear()
        longest_ns = max(self._longest_ns, LONGEST_PERIODS * period_ns)
        return sum(round(step / period_ns) - 1 for step in holes if step <= longest_ns)

    def _watch(self) -> None:
        """Let `note` see every step while there is no rate, or a step was not regular."""
        if self.period_ns and not self._debt:
            self.low_ns, self.high_ns = self._shortest_ns, self.period_ns + self._jitter_ns
        else:
            self.low_ns, self.high_ns = NO_LIMIT_NS, 0


def _most_regular(steps: list[int]) -> tuple[int, list[int]]:
    """Return the median of some steps, and those that are about as long."""
    period_ns = sorted(steps)[(len(steps) - 1) // 2]
    low, high = period_ns / REGULAR_RATIO, period_ns * REGULAR_RATIO
    return period_ns, [step for step in steps if low <= step <= high]
