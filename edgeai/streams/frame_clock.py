"""Times of blocks whose clock is coarser than the sample period: milliseconds at 25.6 kHz.

    stamp, ms     0        39       78       117        blocks of 1000 samples, 39.0625 ms
    start, ms     0        39.0625  78.125   117.1875

A block continues the one before it if that is possible by its stamp and the step of the clock.
Where whole blocks are missing, it starts after as many of them: by the sequence number if there is
one, so that a step may be longer than a block.
"""

from collections import deque

from edgeai.streams.clock_steps import RESOLUTIONS_NS, ROUNDING_NS, is_multiple
from edgeai.streams.run import Run, block_times
from edgeai.streams.settings import NEVER_NS

FOLLOWED_SHARE = 0.005
"""The sender's pace is followed up to such a difference."""
MIN_STAMPS = 2
KEPT_STAMPS = 16
"""A clock is recognized by so many of the last stamps."""


class FrameClock:
    """Gives the blocks of one stream their times."""

    __slots__ = ("_declared_ns", "_stamps")

    def __init__(self, resolution_ns: int | None) -> None:
        """Wait for the first block.

        Args:
            resolution_ns: Step of the clock, as declared; None: it is recognized.
        """
        self._declared_ns = resolution_ns
        self._stamps: deque[int] = deque(maxlen=KEPT_STAMPS)

    def place(self, run: Run, last_ns: int) -> None:
        """Set the times of a block whose stamp does not say where it starts exactly.

        Args:
            run: The block, with the stamp as the time of its first sample.
            last_ns: Time of the newest sample; NEVER_NS: there is none.
        """
        stamp_ns, period_ns = run.first_ns, run.period_ns
        self._stamps.append(stamp_ns)
        if last_ns == NEVER_NS:
            return
        off_ns = stamp_ns - last_ns - period_ns
        is_next = run.steps is None or run.steps == 1
        if is_next and abs(off_ns) <= period_ns / 2:
            return
        span_ns = len(run.times) * period_ns
        step_ns = self._declared_ns or self._recognized(period_ns, span_ns)
        if not step_ns:
            return
        margin_ns = min(period_ns, span_ns / 2)
        lost = max(0, round(off_ns / span_ns)) if step_ns <= span_ns / 2 else 0
        if not is_next and run.steps is not None:
            by_number = run.steps - 1
            if -step_ns - margin_ns < off_ns - by_number * span_ns < step_ns:
                lost, run.is_placed = by_number, True
        if lost == 0 and off_ns >= step_ns - 2 * ROUNDING_NS:
            return  # such a clock shows less than one step
        off_ns -= lost * span_ns
        # Less than one step ahead: samples that are missing between regular stamps are a hole. A
        # block that comes twice is as far back as it is long, and must not be taken for a new one.
        if not -step_ns - margin_ns < off_ns < step_ns:
            return
        # The start is never before the stamp, and less than one step after it.
        late_ns = off_ns + max(step_ns - period_ns, step_ns / 2)
        moved_ns = max(0.0, off_ns) + min(0.0, late_ns)
        most_ns = FOLLOWED_SHARE * span_ns
        moved_ns = max(-most_ns, min(moved_ns, most_ns)) / len(run.times)
        first_ns = last_ns + round(period_ns + lost * span_ns + moved_ns)
        run.times = block_times(first_ns, period_ns + moved_ns, len(run.times))

    def _recognized(self, period_ns: float, span_ns: float) -> int | None:
        """Return the step that all kept stamps show, if a missing block cannot hide in it."""
        if len(self._stamps) < MIN_STAMPS:
            return None
        for step_ns in RESOLUTIONS_NS:
            if 2 * step_ns <= span_ns and all(is_multiple(one, step_ns) for one in self._stamps):
                return step_ns if 2 * step_ns >= period_ns else None
        return None
