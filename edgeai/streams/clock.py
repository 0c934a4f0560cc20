"""Judge a sender's clock: one time stamp proves nothing, late samples over seconds do."""

from dataclasses import dataclass, field

from edgeai.streams.ring import SavedRing
from edgeai.streams.run import Run
from edgeai.streams.settings import Floats

RUNS_OF_NEW = 3
"""Where one of n samples is remembered, at least so many times n late samples must be new."""
PACE_TOLERANCE = 2.0
"""Largest ratio of the pace of late samples to that of their arrival, and of its inverse. A backlog
or a file that is sent again comes faster than it was measured."""
MAX_JUMPED_RUNS = 16
"""Samples or blocks after a jump ahead, during which the time before the jump may go on."""
MAX_JUMPED_BYTES = 1 << 20
"""Of their values, as many as are kept."""


class LateRun:
    """Late samples in a row, which may show that a sender's clock was set back."""

    __slots__ = (
        "_arrived_ns", "_count", "_known", "_least_ns", "_newest_ns", "_previous_ns",
        "first_ns",
    )  # fmt: skip

    def __init__(self, least_ns: int) -> None:
        """Wait for the first late sample.

        Args:
            least_ns: How long the samples must keep pace with their arrival.
        """
        self._least_ns = least_ns
        self._count = self._known = 0
        self._newest_ns = self._arrived_ns = self._previous_ns = 0
        self.first_ns = 0
        """Time of the first of them."""

    def note_known(self, one_of: int) -> None:
        """Note a late sample that was seen before: it and its neighbors may be sent again.

        Args:
            one_of: Of so many samples of its time, one is remembered.
        """
        self._known += one_of

    def add(self, time_ns: int, arrived_ns: int, newest_ns: int, one_of: int = 1) -> bool:
        """Note a late sample that was not seen before; return whether the clock was set back.

        That is so if late samples rise at about the pace of their arrival, over the time that was
        given to the constructor, with no sample in order between them; and if they are not older
        ones that are sent again. Of these, more would be known than are new. A few values may
        equal those of the same time by chance.

        Args:
            time_ns: Its time.
            arrived_ns: When it arrived.
            newest_ns: Time of the newest sample of the stream, which moves with samples in order.
            one_of: Of so many samples of its time, one is remembered. `RUNS_OF_NEW` times as many
                must be new.
        """
        if not self._count or newest_ns != self._newest_ns or time_ns < self._previous_ns:
            self._start(time_ns, arrived_ns, newest_ns)
            return False
        self._count += 1
        self._previous_ns = time_ns
        waited_ns = arrived_ns - self._arrived_ns
        if waited_ns < self._least_ns:
            return False
        passed_ns = time_ns - self.first_ns
        if not waited_ns / PACE_TOLERANCE <= passed_ns <= waited_ns * PACE_TOLERANCE:
            self._start(time_ns, arrived_ns, newest_ns)
            return False
        if self._count < RUNS_OF_NEW * one_of:
            return False
        if self._count <= self._known + one_of:
            self._start(time_ns, arrived_ns, newest_ns)
            return False
        self._count = 0
        return True

    def _start(self, time_ns: int, arrived_ns: int, newest_ns: int) -> None:
        self._count, self._known = 1, 0
        self.first_ns = self._previous_ns = time_ns
        self._arrived_ns, self._newest_ns = arrived_ns, newest_ns


@dataclass
class Jump:
    """A step ahead beyond the largest gap, and the state before it, to which samples may return."""

    first_ns: int
    """Time of the first sample after the step."""
    is_suspect: bool
    """Whether the clock of the first sample is further ahead of its arrival than the samples before
    it were: then its time is wrong. Otherwise time has really passed."""
    saved: SavedRing
    kept: Floats
    """The last good values before the step."""
    was_broken: bool
    arrived_ns: int
    """When the newest sample before the step arrived."""
    is_doubtful: bool = False
    """Whether all samples since the step are uncertain, because its time may be wrong."""
    gaps: int = 1
    """Steps beyond the largest gap since the state was kept; counted when they are certain."""
    runs: list[Run] = field(default_factory=list)
    """What came since the step, if the time may have passed: it is taken again after a return."""
    count: int = 0
    """Samples or blocks since the step."""
    samples: int = 0
    """Samples since the step."""

    def is_return(self, time_ns: int) -> bool:
        """Return whether a sample of this time continues the time before the step."""
        return self.saved.last_ns < time_ns < self.first_ns

    def add(self, run: Run) -> None:
        """Note what came since the step."""
        self.count += 1
        self.samples += len(run.times)
        if not self.is_suspect:
            self.runs.append(run.copy())

    @property
    def is_over(self) -> bool:
        """Return whether too much came for a return to the time before the step."""
        if self.count > MAX_JUMPED_RUNS:
            return True
        return sum(run.rows.nbytes for run in self.runs) > MAX_JUMPED_BYTES


def is_clock_ahead(step_ns: int, arrival_step_ns: int, max_gap_ns: int) -> bool:
    """Return whether a step in time is longer than the step of the arrivals by more than a gap."""
    return step_ns - max(0, arrival_step_ns) > max_gap_ns
