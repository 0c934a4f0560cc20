"""Samples that were sent again, where stamps and values cannot tell."""

from edgeai.streams.run import Run
from edgeai.streams.settings import NEVER_NS

MANY_REPEATS = 3
"""After this many stamps that came again, the sender collects its samples: none is a repeat."""


def is_burst(run: Run, before_ns: int) -> bool:
    """Return whether a sample arrived much sooner after the one before than it was measured.

    Args:
        run: The sample. If its arrival is its time, the arrival is not known.
        before_ns: When the sample before it arrived.
    """
    if run.arrived_ns == run.first_ns:
        return False
    return run.arrived_ns - before_ns < run.period_ns / 4


class Repeats:
    """Tells a second sample of a stamp from one that was sent again, before the clock is known."""

    __slots__ = ("_count", "_stamp_ns")

    def __init__(self) -> None:
        self._count = 0
        """Stamps that came again with equal values."""
        self._stamp_ns = NEVER_NS
        """The last of them."""

    def is_sample(self, run: Run, before_ns: int) -> bool:
        """Return whether a sample with stamp and values of the one before is a new one.

        Equal values are no sign of a repeat: the machine may stand still. A burst is one, but not
        where each stamp comes again: the sender collects its samples.

        Args:
            run: The sample.
            before_ns: When the sample before it arrived.
        """
        if run.first_ns != self._stamp_ns:
            self._stamp_ns = run.first_ns
            self._count += 1
        return self._count >= MANY_REPEATS or not is_burst(run, before_ns)
