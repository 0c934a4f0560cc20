"""Where cycles start and end in the samples of one stream.

Timelines; `(` is a sample at which a cycle starts, `)` one at which it ends, `x` one with both:

    samples   . . ( . . . ) . .      a cycle holds the sample of its start, and not that of its end
    cycle         [-------]

    samples   . . ( . ) ( . . ) .    within `bounce_ns` after an end: the end was none
    cycle         [-----------]

    samples   . . ( . . ( . . ) .    `overlapping`: the end of the first one was not seen
    cycles        [-----[-----]

    samples   ( . . . . . . . . )    `overlong`: its end came after `max_ns`
    cycle     [---------]

The result does not depend on how the samples are divided into calls.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.streams.cycles.settings import CycleSettings, Outcome, Times

IDLE, OPEN, ENDING, OVER = range(4)
"""Between cycles; in a cycle; its end was seen, and a start within `bounce_ns` takes it back; in a
cycle that was given up as overlong."""


class Segment(NamedTuple):
    """A cycle that has ended, by the numbers of its samples in the stream."""

    first: int
    """Number of its first sample."""
    end: int
    """Number of the first sample after it."""
    start_ns: int
    end_ns: int
    outcome: Outcome
    started: int
    """How many cycles have started up to it."""


@dataclass(slots=True)
class Segments:
    """Finds the cycles of one stream."""

    settings: CycleSettings
    phase: int = IDLE
    count: int = 0
    first: int = 0
    start_ns: int = 0
    end: int = 0
    end_ns: int = 0
    is_broken: bool = False
    """Whether samples of the open cycle are missing."""
    is_torn: bool = False
    """Whether samples before the next one are missing."""
    has_started: bool = False
    """Whether a start was seen, or an end without one was told."""

    def copy(self) -> "Segments":
        """Return segments that go on from here on their own."""
        return replace(self)

    def feed(
        self,
        number: int,
        times: Times,
        starts: npt.NDArray[np.bool_],
        ends: npt.NDArray[np.bool_] | None,
    ) -> list[Segment]:
        """Take the next samples; return the cycles that have ended with them, oldest first.

        Args:
            number: Number of the first of these samples.
            times: (n,) nanoseconds, rising.
            starts: (n,) at which samples a cycle starts.
            ends: (n,) at which one ends; None: at the next start.
        """
        found: list[Segment] = []
        total = len(times)
        marked = starts if ends is None else starts | ends
        events = np.flatnonzero(marked).tolist()
        at = place = 0
        while True:
            event = events[place] if place < len(events) else total
            deadline = self._deadline(number, times, at)
            at = min(event, deadline)
            if at >= total:
                break
            time_ns = int(times[at])
            if deadline <= event:  # what happens at the same sample comes after it
                self._pass_deadline(number + at, time_ns, found)
                continue
            place += 1
            is_end = ends is not None and bool(ends[at])
            is_first = at == 0 and self.is_torn
            self._take_event(number + at, time_ns, bool(starts[at]), is_end, found)
            if is_first and self.first == number and self.phase == OPEN:
                self.is_broken = True  # it may have started before
        if total:
            self.is_torn = False
        return found

    def interrupt(self) -> list[Segment]:
        """Note that samples are missing after the last one; return the cycle that has ended."""
        found: list[Segment] = []
        if self.phase == ENDING:
            self._finish("complete", found)
        if self.phase == OPEN:
            self.is_broken = True
        self.is_torn = True
        return found

    def give_up(self, outcome: Outcome, end: int, end_ns: int) -> list[Segment]:
        """End the open cycle, because its end cannot come.

        Args:
            outcome: What becomes of it, unless samples of it are missing.
            end: Number of the first sample that is not its own.
            end_ns: About its time.
        """
        found: list[Segment] = []
        if self.phase == ENDING:
            self._finish("complete", found)
        if self.phase == OPEN:
            self.end, self.end_ns = end, end_ns
            self._finish(outcome, found)
            self.phase = OVER
        return found

    @property
    def is_open(self) -> bool:
        """Whether samples to come may belong to a cycle that has started."""
        return self.phase in {OPEN, ENDING}

    @property
    def is_ending(self) -> bool:
        """Whether the end of the open cycle was seen, and may be taken back."""
        return self.phase == ENDING

    def _deadline(self, number: int, times: Times, at: int) -> int:
        """Return at which sample, from `at` on, the open cycle ends by itself."""
        settings = self.settings
        if self.phase == OPEN:
            by_time = bisect_right(times, self.start_ns + settings.max_ns, at)
            by_count = self.first + settings.max_samples + 1 - number
            return max(at, min(by_time, by_count))
        if self.phase == ENDING:
            return bisect_left(times, self.end_ns + settings.bounce_ns, at)
        return len(times)

    def _pass_deadline(self, number: int, time_ns: int, found: list[Segment]) -> None:
        if self.phase == ENDING:
            self._finish("complete", found)
            return
        self.end, self.end_ns = number, time_ns
        self._finish("overlong", found)
        self.phase = OVER

    def _take_event(
        self, number: int, time_ns: int, is_start: bool, is_end: bool, found: list[Segment]
    ) -> None:
        if self.phase == ENDING:
            if is_start:
                self.phase = OPEN
            return
        if self.phase == OPEN:
            has_end = self.settings.has_end
            if not is_end and time_ns - self.start_ns < self.settings.bounce_ns:
                return
            self.end, self.end_ns = number, time_ns
            if is_end and not is_start and self.settings.bounce_ns:
                self.phase = ENDING
                return
            self._finish("overlapping" if has_end and not is_end else "complete", found)
        elif (is_end or not self.settings.has_end) and not self.has_started:
            found.append(Segment(number, number, time_ns, time_ns, "start_unseen", self.count))
            self.has_started = True
        elif is_end:
            self.phase = IDLE
        if is_start:
            self.phase, self.first, self.start_ns = OPEN, number, time_ns
            self.is_broken = False
            self.has_started = True
            self.count += 1

    def _finish(self, kind: Outcome, found: list[Segment]) -> None:
        """End the open cycle where `end` says."""
        outcome = kind
        if self.is_broken:
            outcome = "broken"
        elif kind == "complete" and self.end_ns - self.start_ns < self.settings.min_ns:
            outcome = "too_short"
        found.append(Segment(self.first, self.end, self.start_ns, self.end_ns, outcome, self.count))
        self.phase = IDLE
        self.is_broken = False
