"""The streams of a source whose samples are joined with those of others.

`SideStream` keeps the samples of all channels of one source, `TagStreams` one `SideStream` for each
channel, because tags have times of their own. Both put samples in order, drop those that they know,
and keep the newest in their rings; they emit no windows. `Track` reads them.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgeai.streams.cadence import Cadence
from edgeai.streams.clock import is_clock_ahead
from edgeai.streams.conditioning import Flags
from edgeai.streams.ordered import OrderedStream
from edgeai.streams.run import Run
from edgeai.streams.settings import NEVER_NS, Floats, StreamSettings

NOW_NS = 10 * 10**9
"""A time stamp that is this near to its arrival is plausible, whatever came before: after a value
that the broker had kept for hours, the next one is a long step ahead."""


def emit_nothing(*_window: object) -> None:
    """Take a window and do nothing: the samples are read when they are joined."""


Mark = Literal["missing", "late", "old", "changed"]
"""What is wrong with a signal in a window. `missing`: a value did not come, or could not be used;
`late`: a value is due and was not there when the window was made; `old`: the value is older than
`max_age_seconds`; `changed`: a value of the context changed within the window."""


class Unusable:
    """When each channel of a source had its last unusable value."""

    __slots__ = ("last_ns",)

    def __init__(self) -> None:
        self.last_ns: dict[int, int] = {}
        """Time of the last one by channel."""

    def note(self, times: Sequence[int], invalid: Flags) -> None:
        """Note the unusable values of some samples.

        Args:
            times: (n,) nanoseconds.
            invalid: (n, k).
        """
        for channel in np.flatnonzero(invalid.any(axis=0)).tolist():
            newest = times[int(np.flatnonzero(invalid[:, channel])[-1])]
            self.last_ns[channel] = max(newest, self.last_ns.get(channel, NEVER_NS))

    def since(self, time_ns: int) -> list[int]:
        """Return the channels with an unusable value at or after a time."""
        return [channel for channel, last_ns in self.last_ns.items() if last_ns >= time_ns]


class SideStream(OrderedStream):
    """The samples of one source, or the values of one tag.

    A single time stamp that is ahead of its arrival would make all later samples late: it waits for
    the next sample, which shows whether it was wrong.
    """

    __slots__ = ("_ahead_ns", "_waiting", "cadence", "unusable")

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        *,
        max_age_ns: int,
        interval_ns: int | None = None,
    ) -> None:
        """Start empty.

        Args:
            settings: Of the source. It has no largest gap: a value is held for however long.
            drops: Counts dropped samples by reason.
            resets: Counts emptied windows by reason.
            counts: Counts samples that are missing by the rate, and others.
            max_age_ns: Age at which a value is too old. A time stamp that is further ahead than
                this waits.
            interval_ns: Time from one sample to the next, as declared; 0: samples come when
                values change; None: it is learnt.
        """
        super().__init__(settings, drops, resets, counts, emit_nothing)
        self.cadence = Cadence(None, declared_ns=interval_ns)
        """The rate, which says when the next sample is due."""
        self.unusable = Unusable()
        self._ahead_ns = max_age_ns
        self._waiting: Run | None = None
        """A sample whose time is ahead of its arrival."""

    @property
    def newest_ns(self) -> int | None:
        """The time of the newest sample that is in its place; None before the first.

        One that waits does not count: windows must not wait for its time.
        """
        return None if self.ring.last_ns == NEVER_NS else self.ring.last_ns

    def push_one(self, _time_ns: int, _row: Sequence[float]) -> bool:
        """Take no sample: each is looked at."""
        return False

    def push_few(self, _times: list[int], _values: memoryview, _begin: int, _stop: int) -> bool:
        """Take no sample: each is looked at."""
        return False

    def awaits_window_of(self, _samples: int) -> bool:
        """Return False: a window is made of several sources."""
        return False

    def push_rows(
        self,
        times: list[int],
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
        arrived: list[int] | None = None,
        *,
        absent: Flags | None = None,  # noqa: ARG002  rows of several sources lack no value
    ) -> None:
        """Take samples as `Stream.push_rows` says, unless their time is ahead."""
        if invalid is not None:
            self.unusable.note(times, invalid)
        period_ns = self._settings.period_ns or 0
        for index, time_ns in enumerate(times):
            run = Run(
                [time_ns],
                rows[index : index + 1],
                None if uncertain is None else uncertain[index : index + 1],
                time_ns if arrived is None else arrived[index],
                period_ns,
            )
            self._guard(run)

    def push_block(self, run: Run) -> None:
        """Take a block of samples at one rate, unless its time is ahead."""
        if not run.is_clean:
            invalid = np.isnan(run.rows)
            if invalid.any():
                self.unusable.note(list(map(int, run.times)), invalid)
        self._guard(run)

    def flush(self) -> None:
        """Release the samples that wait; one whose time is ahead counts as wrong."""
        self._drop_waiting()
        super().flush()

    def _guard(self, run: Run) -> None:
        """Let a sample wait whose time is ahead of its arrival, and decide about the one before."""
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            if run.first_ns >= waiting.first_ns:
                self._place(waiting)  # the time goes on from there
            else:
                self._waiting = waiting
                self._drop_waiting()
        ring = self.ring
        if ring.last_ns != NEVER_NS:
            if ring.size == ring.next_number == 1 and self._was_first_ahead(run):
                self.drops["implausible_time"] += 1
                ring.implausible_ns = ring.last_ns
                ring.clear()
                ring.last_ns = NEVER_NS
                self._start_again()
                self._place(run)
                return
            step_ns, arrival_ns = run.first_ns - ring.last_ns, run.arrived_ns - ring.arrived_ns
            is_now = abs(run.first_ns - run.arrived_ns) <= min(self._ahead_ns, NOW_NS)
            if not is_now and is_clock_ahead(step_ns, arrival_ns, self._ahead_ns):
                self._waiting = run.copy()
                return
        self._place(run)

    def _was_first_ahead(self, run: Run) -> bool:
        """Return whether the only sample so far was ahead of its arrival, as an older one shows."""
        ring = self.ring
        ahead_ns = ring.last_ns - ring.arrived_ns - (run.first_ns - run.arrived_ns)
        return run.first_ns < ring.last_ns and ahead_ns > self._ahead_ns

    def _drop_waiting(self) -> None:
        if self._waiting is not None:
            self.drops["implausible_time"] += len(self._waiting.times)
            self.ring.implausible_ns = self._waiting.first_ns
            self._waiting = None

    def _place(self, run: Run) -> None:
        """Take samples whose time is plausible, and note their rate."""
        before_ns = self.ring.last_ns
        if run.is_block:
            super().push_block(run)
        elif self._is_in_order([run.first_ns]):
            found = np.isnan(run.rows)
            invalid = found if found.any() else None
            self._timeline.values.append(run.times, run.rows, invalid, run.uncertain)
            self.ring.arrived_ns = run.arrived_ns
        else:
            self._arrive(run)
        last_ns, cadence = self.ring.last_ns, self.cadence
        if last_ns <= before_ns:
            if last_ns < before_ns:  # the clock was set back
                self.counts["missing"] += cadence.restart()
                cadence.last_ns = last_ns
            return
        if run.is_block:
            self._note_block(run, last_ns)
        elif cadence.low_ns <= last_ns - cadence.last_ns <= cadence.high_ns:
            cadence.last_ns = last_ns
        else:
            missing = cadence.note(last_ns)
            if not self._settings.period_ns:  # else the holes are counted where they are filled
                self.counts["missing"] += missing

    def _note_block(self, run: Run, last_ns: int) -> None:
        """Use the rate of a block."""
        period_ns = round(run.period_ns)
        if period_ns != self.cadence.period_ns:
            self.cadence = Cadence(None, declared_ns=period_ns)
        self.cadence.last_ns = last_ns
