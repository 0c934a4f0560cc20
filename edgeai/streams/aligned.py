"""A stream whose samples are aligned to the model's grid."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgeai.streams.align import Aligner, SavedAligner, align_row
from edgeai.streams.clock import MAX_JUMPED_RUNS, LateRun, is_clock_ahead
from edgeai.streams.coarse import CoarseClock, Repeats, resolution_of
from edgeai.streams.holes import HOLE_PERIODS
from edgeai.streams.ring import MIN_KEPT_ROWS, SavedRing
from edgeai.streams.run import Run, block_times, equals
from edgeai.streams.seen import Seen, seen_samples
from edgeai.streams.settings import Emit, Floats, StreamSettings
from edgeai.streams.stream import Stream

STEADY_SAMPLES = 3
"""So many samples at the model's rate show that the sender keeps it."""
ROW = -1  # stands for a channel: all of them


class Arrival(NamedTuple):
    """One value of one channel, or one sample of all."""

    time_ns: int
    channel: int
    """ROW: the sample of all channels."""
    values: list[float]
    uncertain: bool
    arrived_ns: int


class Jump(NamedTuple):
    """A step ahead beyond the largest gap, and the state before it, as in `clock.Jump`."""

    first_ns: int
    newest_ns: int
    is_suspect: bool
    ring: SavedRing
    aligner: SavedAligner
    was_broken: bool
    arrivals: list[Arrival]
    gaps: int = 1


class AlignedStream(Stream):
    """A stream that makes windows of samples on the model's grid."""

    __slots__ = (
        "_aligner", "_jump", "_late", "_overtook", "_repeats", "_row", "_seen", "_stamps",
        "_steady",
    )  # fmt: skip

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        emit: Emit,
    ) -> None:
        super().__init__(settings, drops, resets, counts, emit)
        assert settings.align is not None
        self._aligner = Aligner(settings.align, settings.channels)
        self._late = LateRun(settings.clock_back_ns)
        room = MIN_KEPT_ROWS * (settings.channels + 1)
        self._seen = Seen(max(room, seen_samples(settings.period_ns)))
        """What was taken last."""
        self._jump: Jump | None = None
        self._overtook: list[Arrival] = []
        """What came before older values, in the order of its times."""
        self._row: Floats | None = None
        """The last sample, to recognize a coarse clock."""
        self._repeats = Repeats()
        self._stamps: deque[int] = deque(maxlen=MIN_KEPT_ROWS)
        """The last different time stamps of samples."""
        self._steady = 0
        """Samples of all channels in a row that came at the model's rate."""

    @property
    def newest_ns(self) -> int | None:
        """The time of the newest value; None before the first."""
        return self._aligner.newest_ns

    def recover(self, after_ns: int | None, *, everything: bool) -> None:
        """Empty the stream as `Stream.recover` says; each channel keeps its last value at first.

        A tag that is sent when it changes may not come again for hours.
        """
        self._empty_after_failure(after_ns)
        self._late = LateRun(self._settings.clock_back_ns)
        self._jump = self._row = None
        self._overtook.clear()
        self._stamps.clear()
        if everything:
            self._aligner.clear()
        else:
            self._aligner.restart()

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a sample of this time would be late."""
        if self._coarse is not None:
            return self._coarse.has_passed(time_ns)
        return self._aligner.has_passed(time_ns)

    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet; without them there is no window."""
        return self._aligner.waiting_for()

    def push_one(self, _time_ns: int, _row: Sequence[float]) -> bool:
        """Take no sample: each must be aligned."""
        return False

    def push_few(self, _times: list[int], _values: memoryview, _begin: int, _stop: int) -> bool:
        """Take no sample: each must be aligned."""
        return False

    def push_block(self, run: Run) -> None:
        """Take a block of samples at one rate."""
        times = block_times(run.first_ns, run.period_ns, len(run.times))
        for index, time_ns in enumerate(map(int, times)):
            flag = None if run.uncertain is None else run.uncertain[index : index + 1]
            row = run.rows[index : index + 1]
            self._receive(Run([time_ns], row, flag, run.arrived_ns, run.period_ns))

    def awaits_window_of(self, _samples: int) -> bool:
        """Return False: windows are made of grid rows, not of blocks."""
        return False

    def push_window(
        self, _t0_ns: int, _period_ns: float, _window: Floats, _block: memoryview
    ) -> bool:
        """Take no window: windows are made of grid rows."""
        return False

    def push_tag(
        self,
        time_ns: int,
        channel: int,
        value: float,
        uncertain: bool,
        arrived_ns: int | None = None,
    ) -> None:
        """Take one value as `Stream.push_tag` says."""
        at_ns = time_ns if arrived_ns is None else arrived_ns
        self._take(Arrival(time_ns, channel, [value], uncertain, at_ns))

    def hold(self, channel: int, value: float, time_ns: int | None) -> bool:
        """Use a value of unknown age as `Stream.hold` says."""
        return self._aligner.hold(channel, value, time_ns)

    def flush(self) -> None:
        """Release the grid points up to the newest time: the stream ends here."""
        super().flush()
        self._confirm_jump()
        while self._overtook:
            self._take_next(self._overtook.pop(0))
        self._push_grid(everything=True)

    # ------------------------------------------------------------------------------- coarse clocks

    def _may_be_coarse(self, run: Run) -> bool:
        row, self._row = self._row, run.rows[0].copy()
        stamps = self._stamps
        if not stamps or run.first_ns != stamps[-1]:
            stamps.append(run.first_ns)
            return False
        if row is None:
            return False
        return not equals(run.rows[0], row) or self._repeats.is_sample(run, self.ring.arrived_ns)

    def _recognize(self, run: Run) -> None:
        """Set `_coarse` if all time stamps so far are those of a coarse clock."""
        period_ns = self._settings.period_ns
        if period_ns is None:
            return
        found = resolution_of(list(self._stamps), period_ns)
        if found is not None:
            self._coarse = CoarseClock(period_ns, found, is_declared=False)
            self._coarse.start(run.first_ns, self.ring.arrived_ns)

    # --------------------------------------------------------------------------------------- order

    def _receive(self, run: Run) -> None:
        """Take one sample with its final time."""
        flag = run.uncertain is not None and bool(run.uncertain[0])
        self._take(Arrival(run.first_ns, ROW, run.rows[0].tolist(), flag, run.arrived_ns))

    def _take(self, one: Arrival) -> None:
        """Take a value or a sample, and before it those that overtook it."""
        while self._overtook and self._overtook[0].time_ns <= one.time_ns:
            self._take_next(self._overtook.pop(0))
        self._take_next(one)

    def _take_next(self, one: Arrival) -> None:
        jump = self._jump
        if jump is not None and jump.newest_ns < one.time_ns < jump.first_ns:
            self._return(jump)
            self._take(one)
            return
        newest_ns = self._aligner.newest_ns
        if newest_ns is not None and self._is_gap(one.time_ns - newest_ns):
            self._jump_ahead(one, newest_ns)
        elif jump is not None and one.time_ns >= jump.first_ns:
            jump.arrivals.append(one)
            if len(jump.arrivals) > MAX_JUMPED_RUNS * (self._settings.channels + 1):
                self._confirm_jump()
        if one.channel == ROW and newest_ns is not None:
            self._count_missing(one.time_ns - newest_ns)
        refused = self._add(one)
        if refused is None:
            self.ring.arrived_ns = max(one.arrived_ns, self.ring.arrived_ns)
            self._seen.add(one.time_ns, one.channel, one.values)
        elif self._seen.has(one.time_ns, one.channel, one.values):
            self.drops["duplicate"] += 1
        elif refused == "late" and self._late.add(one.time_ns, one.arrived_ns, newest_ns or 0):
            self._restart(one)
            self._add(one)
        else:
            self.drops[refused] += 1
        self._push_grid()

    def _count_missing(self, step_ns: int) -> None:
        """Count the samples that are missing in a step, if they came at the model's rate before it.

        Other rates are no loss: the alignment exists for them.
        """
        period_ns = self._settings.period_ns
        if not period_ns or step_ns <= 0:
            return
        periods = step_ns / period_ns
        if periods < HOLE_PERIODS:
            self._steady = self._steady + 1 if periods > 1 / HOLE_PERIODS else 0
            return
        if self._steady >= STEADY_SAMPLES and not self._is_gap(step_ns):
            self.counts["missing"] += round(periods) - 1
        self._steady = 0

    def _add(self, one: Arrival) -> str | None:
        if one.channel == ROW:
            return align_row(self._aligner, one.time_ns, one.values, uncertain=one.uncertain)
        return self._aligner.add(one.time_ns, one.channel, one.values[0], uncertain=one.uncertain)

    # --------------------------------------------------------------------------------------- clock

    def _is_gap(self, step_ns: int) -> bool:
        return self._settings.max_gap_ns is not None and step_ns > self._settings.max_gap_ns

    def _jump_ahead(self, one: Arrival, newest_ns: int) -> None:
        """Empty the window, and keep what it was until the step ahead is certain."""
        before, ring = self._jump, self.ring
        if before is not None and before.is_suspect:
            self._push_grid(everything=True)
            before.arrivals.append(one)
            self._jump = before._replace(gaps=before.gaps + 1)
        else:
            max_gap_ns = self._settings.max_gap_ns or 0
            arrival_step_ns = one.arrived_ns - ring.arrived_ns
            suspect = is_clock_ahead(one.time_ns - newest_ns, arrival_step_ns, max_gap_ns)
            self._push_grid(everything=True)
            if not suspect:
                self.resets["gap"] += 1
            saved = ring.save(), self._aligner.save()
            self._jump = Jump(one.time_ns, newest_ns, suspect, *saved, ring.broken, [one])
        ring.clear()
        ring.broken = True
        self._aligner.restart()

    def _confirm_jump(self) -> None:
        """Note that the time really went on from the last step ahead."""
        if self._jump is not None and self._jump.is_suspect:
            self.resets["gap"] += self._jump.gaps
        self._jump = None

    def _return(self, jump: Jump) -> None:
        """Go on where the stream was before a step ahead."""
        self._jump = None
        self.ring.restore(jump.ring)
        self.ring.broken = jump.was_broken
        self._aligner.restore(jump.aligner)
        if jump.is_suspect:
            self.drops["implausible_time"] += len(jump.arrivals)
        else:
            waiting = self._overtook + jump.arrivals
            self._overtook = sorted(waiting, key=lambda one: one.time_ns)

    def _restart(self, one: Arrival) -> None:
        """Release the waiting samples, then start again: the sender's clock was set back."""
        self.flush()
        self.resets["clock_back"] += 1
        newest_ns = max(self._aligner.newest_ns or one.time_ns, self.ring.last_ns)
        self.set_backs.note(newest_ns, one.time_ns, "pace")
        self.ring.clear()
        self.ring.broken = True
        self._aligner.clear()
        if self._coarse is not None:
            self._coarse.restart()

    def _push_grid(self, *, everything: bool = False) -> None:
        for time_ns, values, substituted, uncertain in self._aligner.take_rows(
            everything=everything
        ):
            if substituted and self._settings.invalid == "drop":
                self.drops["invalid_value"] += 1
                continue
            row = np.array([values], np.float32)
            count = [substituted] if substituted else None
            self.ring.push([time_ns], row, count, [True] if uncertain else None)
