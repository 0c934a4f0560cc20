"""Samples after a hole in a recording without arrival times: the order alone shows who is wrong.

A sample after a hole or a gap waits for a few more. If older ones come, it came too early, or its
time is wrong. Timelines in periods, in the order of the recording:

    1 2 5.7 4 5 6 7      there is no room for 5.7, and 3 is missing: its time was wrong
    1 2 4 3 5 6 7        with 3 nothing is missing: 4 had only overtaken it
    1 2 5 6 7 8          3 and 4 are missing

Where samples arrive, `ahead` knows more.
"""

from itertools import pairwise

from edgeai.streams.holes import HOLE_PERIODS
from edgeai.streams.ring import Ring
from edgeai.streams.run import Newest, Run
from edgeai.streams.settings import NEVER_NS, StreamSettings

CONFIRMING = 4
"""So many samples that follow each other without a hole show that the time went on from there."""
MAX_WAITING = 32
MISSING_PERIODS = 2.5
"""From one sample to the next but one: a sample is missing between them."""


class Undated:
    """The waiting samples of one stream."""

    __slots__ = (
        "_counts",
        "_drops",
        "_is_undated",
        "_max_gap_ns",
        "_newest",
        "_ring",
        "_rising",
        "runs",
    )

    def __init__(
        self,
        settings: StreamSettings,
        ring: Ring,
        newest: Newest,
        drops: dict[str, int],
        counts: dict[str, int],
    ) -> None:
        """Start without a waiting sample.

        Args:
            settings: The stream's.
            ring: The stream's.
            newest: The newest sample that waits no longer.
            drops: Counts dropped samples by reason.
            counts: Counts samples that were put in their place.
        """
        self._is_undated, self._max_gap_ns = settings.is_undated, settings.max_gap_ns
        self._ring, self._newest = ring, newest
        self._drops, self._counts = drops, counts
        self._rising = 0
        """Samples up to the last one of which each follows the one before."""
        self.runs: list[Run] = []
        """In the order of the recording."""

    def is_first(self, run: Run) -> bool:
        """Return whether a sample is to wait: it comes after a hole, and no arrival is known."""
        if not self._is_undated or run.is_block or run.arrived_ns != run.first_ns:
            return False
        newest = self._newest
        if newest.last_ns == NEVER_NS or newest.arrived_ns != newest.last_ns:
            return False
        return run.first_ns - newest.last_ns >= self._hole_ns(run)

    def judge(self, run: Run) -> tuple[list[Run], list[Run]]:
        """Decide about the waiting samples by the next one, which waits itself.

        Returns:
            What is to be taken now, in the order of the times; and what came before older samples
            that are still to come.
        """
        runs = self.runs
        if any(run.is_same(one) for one in runs):
            self._drops["duplicate"] += 1
            return [], []
        if run.first_ns <= self._newest.last_ns:
            return [run], []
        step_ns = run.first_ns - runs[-1].first_ns if runs else -1
        self._rising = self._rising + 1 if 0 <= step_ns < self._hole_ns(run) else 1
        runs.append(run.copy())
        if self._rising < CONFIRMING and len(runs) < MAX_WAITING:
            return [], []
        return self.release()

    def release(self) -> tuple[list[Run], list[Run]]:
        """Return the waiting samples as `judge` does; none waits any more."""
        runs, self.runs = self.runs, []
        in_order, early = self._split(runs)
        self._mark_doubtful(runs, in_order)
        overtaking = []
        for run, has_hole in sorted(early, key=lambda one: one[0].first_ns):
            after = next((n for n, one in enumerate(in_order) if one.first_ns >= run.first_ns), -1)
            if after < 0 and not has_hole:
                run.mark()  # or its time is wrong, and its true place is that of one before it
                _mark_before(run, runs)
                overtaking.append(run)
                continue
            if after < 0 or not self._has_room(run, in_order, after):
                self._drops["implausible_time"] += 1
                self._ring.implausible_ns = run.first_ns
                if not has_hole:  # its true place is that of one before it
                    _mark_before(run, runs)
                continue
            if has_hole:  # its time may be wrong all the same
                run.mark()
            in_order.insert(after, run)
            self._counts["reordered"] += 1
        return in_order, overtaking

    def _mark_doubtful(self, runs: list[Run], in_order: list[Run]) -> None:
        """Mark samples whose time agrees with the others' by the order, but not by the rate."""
        for index in range(1, len(runs)):
            if runs[index].first_ns == runs[index - 1].first_ns:
                _mark_before(runs[index], runs)
        before_ns = self._newest.last_ns
        for run, after in pairwise(in_order):
            is_near = after.first_ns - run.first_ns < run.period_ns / 2
            if is_near and after.first_ns - before_ns >= MISSING_PERIODS * run.period_ns:
                run.mark()
            before_ns = run.first_ns

    def _has_room(self, run: Run, in_order: list[Run], after: int) -> bool:
        """Return whether a sample is missing between others, where this one is."""
        before_ns = in_order[after - 1].first_ns if after else self._newest.last_ns
        after_ns, half_ns = in_order[after].first_ns, run.period_ns / 2
        if after_ns == run.first_ns or after_ns - before_ns < self._hole_ns(run):
            return False
        return before_ns + half_ns <= run.first_ns <= after_ns - half_ns

    def _split(self, runs: list[Run]) -> tuple[list[Run], list[tuple[Run, bool]]]:
        """Return the samples with no older one after them, and the others.

        Of these, also whether a sample is missing where they came.
        """
        in_order: list[Run] = []
        early: list[tuple[Run, bool]] = []
        for index in range(len(runs) - 1, -1, -1):
            run = runs[index]
            before_ns = runs[index - 1].first_ns if index else self._newest.last_ns
            follows_hole = run.first_ns - before_ns >= self._hole_ns(run)
            least_ns = in_order[-1].first_ns if in_order else run.first_ns + 1
            if run.first_ns < least_ns or (run.first_ns == least_ns and not follows_hole):
                in_order.append(run)
                continue
            earlier = [one.first_ns for one in runs[:index] if one.first_ns < least_ns]
            before_ns = max([*earlier, self._newest.last_ns])
            early.append((run, least_ns - before_ns >= self._hole_ns(run)))
        return in_order[::-1], early

    def _hole_ns(self, run: Run) -> float:
        if run.period_ns:
            return HOLE_PERIODS * run.period_ns
        return float("inf") if self._max_gap_ns is None else self._max_gap_ns + 1


def _mark_before(run: Run, runs: list[Run]) -> None:
    for one in runs:
        if one is run:
            return
        one.mark()
