"""A stream whose messages are cycles: each block of samples is one, of any length."""

import numpy as np
import numpy.typing as npt

from edgeai.streams.clock import LateRun
from edgeai.streams.conditioning import Flags
from edgeai.streams.cycles.fitting import Samples
from edgeai.streams.cycles.settings import Cycle, CycleSettings, Outcome
from edgeai.streams.cycles.windows import CycleWindows
from edgeai.streams.run import Run
from edgeai.streams.settings import NEVER_NS, Emit, Floats, StreamSettings
from edgeai.streams.stream import Stream


class MessageCycleStream(Stream):
    """A stream that makes one window of each block. Blocks do not continue each other."""

    __slots__ = ("_count", "_cycle", "_late", "_windows")

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        emit: Emit,
    ) -> None:
        super().__init__(settings, drops, resets, counts, emit)
        assert settings.cycle is not None
        assert self.cycles is not None
        self._cycle: CycleSettings = settings.cycle
        self._windows: CycleWindows = self.cycles
        self._late = LateRun(settings.clock_back_ns)
        self._count = 0

    def push_block(self, run: Run) -> None:
        """Take a block as one cycle."""
        newest_ns = self.ring.last_ns
        if newest_ns != NEVER_NS and run.first_ns <= newest_ns:
            if not (run.follows or self._late.add(run.first_ns, run.arrived_ns, newest_ns)):
                self.drops["late"] += len(run.times)
                return
            self.resets["clock_back"] += 1
            to_ns = run.first_ns if run.follows else self._late.first_ns
            self.set_backs.note(newest_ns, to_ns, "sequence" if run.follows else "pace")
            self.ring.broken = True
            self._windows.forget()
        self.ring.last_ns = run.last_ns
        self.ring.arrived_ns = run.arrived_ns
        self._count += 1
        samples, is_whole = self._usable(run)
        end_ns = run.first_ns + round(len(run.times) * run.period_ns)
        number = self._count if run.sequence is None else run.sequence
        outcome = self._outcome(len(run.times), end_ns - run.first_ns, is_whole=is_whole)
        cycle = Cycle(number, run.first_ns, end_ns, outcome, len(run.times))
        made = self._windows.make(cycle, samples)
        if made is not None:
            self.ring.emit(*made)

    def _outcome(self, count: int, duration_ns: int, *, is_whole: bool) -> Outcome:
        settings = self._cycle
        if not is_whole:
            return "broken"
        if duration_ns > settings.max_ns or count > settings.max_samples:
            return "overlong"
        return "too_short" if duration_ns < settings.min_ns else "complete"

    def _usable(self, run: Run) -> tuple[Samples, bool]:
        """Return the samples of a block with a usable value in each place.

        An unusable value is the last good one of its signal in the cycle, or the first one.

        Returns:
            The samples, and whether they are all samples of the cycle: none was dropped, and each
            signal has a usable value.
        """
        times = np.asarray(run.times, np.int64)
        rows = run.rows
        invalid = np.zeros(rows.shape, np.bool_) if run.is_clean else np.isnan(rows)
        if not invalid.any():
            return Samples(times, rows, None, run.uncertain), True
        kept = ~invalid.any(axis=1)
        if self._settings.invalid == "drop" or invalid.all(axis=0).any():
            self.drops["invalid_value"] += int((~kept).sum())
            marks = None if run.uncertain is None else run.uncertain[kept]
            return Samples(times[kept], rows[kept], None, marks), False
        return Samples(times, _filled(rows, invalid), _counts(invalid), run.uncertain), True

    def recover(self, after_ns: int | None, *, everything: bool) -> None:  # noqa: ARG002
        """Go on after an exception: no cycle depends on the one before."""
        self._empty_after_failure(after_ns)

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a block that ends at this time would be late."""
        return time_ns <= self.ring.last_ns

    def waiting_for(self) -> list[int]:
        """Return no channel: each cycle has its own values."""
        return []

    def _receive(self, run: Run) -> None:
        self.push_block(run)


def _counts(invalid: Flags) -> npt.NDArray[np.int32]:
    counts: npt.NDArray[np.int32] = invalid.sum(axis=1).astype(np.int32)
    return counts


def _filled(rows: Floats, invalid: Flags) -> Floats:
    """Return rows whose unusable values are the last good one of their column, or the first."""
    places = np.where(invalid, -1, np.arange(len(rows))[:, np.newaxis])
    np.maximum.accumulate(places, axis=0, out=places)
    first = np.argmax(~invalid, axis=0)
    places = np.where(places < 0, first, places)
    filled: Floats = np.take_along_axis(rows, places, axis=0)
    return filled
