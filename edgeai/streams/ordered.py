"""A stream that makes windows of the samples as they were sent, in the order of their times."""

import math
from collections.abc import Sequence

import numpy as np

from edgeai.streams.clock_steps import LEAST_PERIODS, NEAR_PERIODS, TICK_NS, resolution_of
from edgeai.streams.coarse import CoarseClock
from edgeai.streams.conditioning import Flags
from edgeai.streams.frame_clock import FrameClock
from edgeai.streams.holes import HOLE_PERIODS
from edgeai.streams.reorder import Reorder
from edgeai.streams.repeats import copies_in
from edgeai.streams.run import Run, equals
from edgeai.streams.settings import Emit, Floats, StreamSettings
from edgeai.streams.stream import Stream
from edgeai.streams.timeline import Timeline, nearest_step
from edgeai.streams.unproven import DOUBLED_PERIODS, Before, Verdict

FOREVER_NS = 1 << 62
NO_STEP = -1


class OrderedStream(Stream):
    """A stream whose samples are neither interpolated nor moved in time.

    With `lateness_ns` 0 a sample is appended as soon as it arrives. Otherwise samples wait until
    the watermark has reached them, and are appended in the order of their times.
    """

    __slots__ = (
        "_frame_clock", "_good_bytes", "_is_off_rate", "_is_plain", "_least_step_ns",
        "_max_step_ns", "_max_window_step_ns", "_min_step_ns", "_period_ns", "_plain_step_ns",
        "_reorder", "_span_ns", "_timeline", "_whole_windows",
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
        self._start_again()
        self._max_step_ns = self._longest_step(settings.period_ns or FOREVER_NS)
        """A longer step is a hole or a gap."""
        self._min_step_ns = nearest_step(settings.period_ns or 0)
        """After a shorter step the sample may be a copy of the newest one."""
        whole = self._reorder is None and settings.hop == settings.length
        whole = whole and not (settings.extras or settings.keeps_samples)
        self._whole_windows = settings.length if whole else 0
        """W if `push_window` can be used: windows share no sample, and samples do not wait."""
        self._period_ns = 0.0
        """Sample period of the last block that was a whole window."""
        self._span_ns = 0
        """Time from the first to the last sample of that block."""
        self._least_step_ns = self._max_window_step_ns = 0
        """Shortest and longest step from the end of that block to the next."""
        self._is_off_rate = False
        """Whether the rate of that block is not the model's."""

    def _start_again(self) -> None:
        """Forget all but the ring's samples."""
        settings = self._settings
        self._reorder = Reorder(settings.lateness_ns) if settings.lateness_ns else None
        self._timeline = Timeline(
            settings, self.ring, self.drops, self.resets, self.counts,
            set_backs=self.set_backs, newest=self._reorder,
        )  # fmt: skip
        self._timeline.before_restart = self._release
        self._good_bytes = self._timeline.values.last.data.cast("B")
        self._is_plain = False
        """Whether a sample that follows the newest needs no further look."""
        self._plain_step_ns = NO_STEP
        """Up to this step it needs none: `_max_step_ns`; NO_STEP: it needs one in any case."""
        self._frame_clock = FrameClock(settings.frame_resolution_ns)

    @property
    def newest_ns(self) -> int | None:
        """The time of the newest sample, also of one that waits; None before the first."""
        waiting = self._newest_waiting
        return super().newest_ns if waiting is None else waiting.last_ns

    @property
    def _newest_waiting(self) -> Run | None:
        """The newest of the samples that wait for others; None: none does."""
        runs = self._unproven.runs
        return runs[-1] if runs else self._timeline.doubts.newest

    @property
    def used_ns(self) -> int | None:
        """The time of the newest sample that is used, or waits and can be; None before the first.

        A sample after a silence waits for the next one, and shows already that it is over.
        """
        waiting = self._newest_waiting
        if waiting is None:
            return super().used_ns
        values = waiting.rows[:, : self._settings.signals]
        is_dropped = self._settings.invalid == "drop" and np.isnan(values).any()
        return super().used_ns if is_dropped else waiting.last_ns

    @property
    def has_undated(self) -> bool:
        """Whether samples without an arrival wait for the next ones to decide about their times."""
        return self._timeline.doubts.are_undated

    @property
    def newest_arrived_ns(self) -> int:
        """When the newest sample arrived, also one that waits."""
        waiting = self._newest_waiting
        return super().newest_arrived_ns if waiting is None else waiting.arrived_ns

    @property
    def end_ns(self) -> int:
        """The time of the newest sample that came, as `Stream.end_ns` says."""
        end_ns, reorder = super().end_ns, self._reorder
        return end_ns if reorder is None else max(end_ns, reorder.last_ns)

    def recover(self, after_ns: int | None, *, everything: bool) -> None:  # noqa: ARG002
        """Empty the stream as `Stream.recover` says; a sample has all values, so none is kept."""
        self._empty_after_failure(after_ns)
        self._start_again()

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a sample of this time would be late or a duplicate."""
        if self._coarse is not None:
            return self._coarse.has_passed(time_ns)
        if self._reorder is not None and self._reorder.has(time_ns):
            return True
        filled = self._timeline.holes.is_filled(time_ns, self._settings.period_ns or 0)
        if filled or self._timeline.is_return(time_ns):
            return False
        return time_ns <= self.ring.last_ns

    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet; without them there is no window."""
        self._timeline.values.update()
        last = self._timeline.values.last[: self._settings.signals]
        return [int(index) for index in np.flatnonzero(np.isnan(last))]

    def held_channels(self) -> list[int]:
        """Return the channels of which no good value came for a whole window or longer."""
        return self._timeline.values.held_channels()

    def push_rows(
        self,
        times: list[int],
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
        arrived: list[int] | None = None,
        *,
        absent: Flags | None = None,
    ) -> None:
        """Take samples as `Stream.push_rows` says."""
        if self._is_in_order(times):
            self._timeline.values.append(times, rows, invalid, uncertain)
            self.ring.arrived_ns = times[-1] if arrived is None else arrived[-1]
            return
        super().push_rows(times, rows, invalid, uncertain, arrived, absent=absent)

    def push_one(self, time_ns: int, row: Sequence[float]) -> bool:
        """Take one sample as `Stream.push_one` says: only one that follows without a hole."""
        ring = self.ring
        if self._min_step_ns <= time_ns - ring.last_ns <= self._plain_step_ns:
            ring.push_one(time_ns, row)
            return True
        return False

    def push_few(self, times: list[int], values: memoryview, begin: int, stop: int) -> bool:
        """Take samples as `Stream.push_few` says: all of them, or none."""
        if self._is_in_order(times):
            return self.ring.push_few(times, values, begin, stop)
        return False

    def push_block(self, run: Run) -> None:
        """Take a block of samples at one rate."""
        if run.is_timed:
            self._frame_clock.place(run, self.end_ns)
        gap_ns = self._settings.max_gap_ns
        if gap_ns is None or run.period_ns <= gap_ns:
            self._receive(run)
            return
        for index, time_ns in enumerate(map(int, run.times)):  # a gap after every sample
            flag = None if run.uncertain is None else run.uncertain[index : index + 1]
            row = run.rows[index : index + 1]
            self._receive(Run([time_ns], row, flag, run.arrived_ns, run.period_ns))

    def awaits_window_of(self, samples: int) -> bool:
        """Return whether `push_window` may take a block of this many samples."""
        return samples == self._whole_windows and self._is_plain

    def push_window(self, t0_ns: int, period_ns: float, window: Floats, block: memoryview) -> bool:
        """Take a window as `Stream.push_window` says: only one that follows without a hole."""
        ring = self.ring
        if period_ns != self._period_ns and not self._set_period(period_ns):
            return False
        if not self._least_step_ns < t0_ns - ring.last_ns <= self._max_window_step_ns:
            return False
        if ring.size:
            ring.clear()
        if ring.held is not None:
            ring.held = None
            ring.note_held()
        ring.last_ns = last_ns = t0_ns + self._span_ns
        self._good_bytes[:] = block[-len(self._good_bytes) :]
        ring.emit(window, last_ns, 0, self._is_off_rate)
        return True

    def flush(self) -> None:
        """Release the samples that wait for others: the stream ends here."""
        super().flush()
        self._release()
        self.ring.flush()
        self._update_plain()

    def _release(self) -> None:
        reorder, timeline = self._reorder, self._timeline
        if reorder is not None:
            for waiting in timeline.doubts.end():
                for run in waiting:
                    reorder.add(run)
            for run in reorder.release(None):
                timeline.take(run)
        timeline.flush()

    # ---------------------------------------------------------------------------------- fast roads

    def _longest_step(self, period_ns: float) -> int:
        """Return the longest step to the next sample that is neither a hole nor a gap."""
        gap_ns = self._settings.max_gap_ns or FOREVER_NS
        return min(gap_ns, math.ceil(HOLE_PERIODS * period_ns) - 1)

    def _set_period(self, period_ns: float) -> bool:
        """Store the period of blocks that are whole windows; return False if it is a gap."""
        if period_ns < 1 or period_ns > (self._settings.max_gap_ns or FOREVER_NS):
            return False
        steps, whole = self._settings.length - 1, int(period_ns)
        self._span_ns = steps * whole if whole == period_ns else round(steps * period_ns)
        self._is_off_rate = self.ring.is_off_rate(self._span_ns)
        self._least_step_ns = math.ceil(period_ns / 2) - 1
        self._max_window_step_ns = self._longest_step(period_ns)
        self._period_ns = period_ns
        return True

    def _is_in_order(self, times: list[int]) -> bool:
        """Return whether no sample needs a further look: all follow, without a hole or a gap."""
        previous = self.ring.last_ns
        min_step, max_step = self._min_step_ns, self._plain_step_ns
        for time_ns in times:
            if not min_step <= time_ns - previous <= max_step:
                return False
            previous = time_ns
        return True

    def _update_plain(self) -> None:
        waits = self._coarse is not None or self._reorder is not None or self._unproven.runs
        self._is_plain = not waits and self._timeline.is_plain
        self._plain_step_ns = self._max_step_ns if self._is_plain else NO_STEP

    # ---------------------------------------------------------------------------- the general road

    def _receive(self, run: Run) -> None:
        """Take samples with their final times; let them wait if late ones are waited for."""
        reorder = self._reorder
        if reorder is None or run.last_ns <= self.ring.last_ns:
            self._take(run)
        elif reorder.has(run.first_ns):
            self.drops["duplicate"] += len(run.times)
        else:
            self._timeline.doubts.ahead.is_watching = self._coarse is None
            for part in self._timeline.doubts.sift(run):
                for one in part:
                    for released in reorder.add(one):
                        self._take(released)
        self._update_plain()

    def _take(self, run: Run) -> None:
        """Append samples; if the sender's clock was set back, start again with them."""
        coarse = self._coarse
        self._timeline.doubts.ahead.is_watching = coarse is None
        if not self._timeline.take(run):
            placed: list[Run] | None = [run]
            if coarse is not None:
                coarse.restart()
                placed = coarse.place(run, self._settings.max_gap_ns)
            for one in placed or ():
                self._timeline.take(one)

    def _arrive(self, run: Run) -> None:
        """Take one sample as `Stream._arrive` does; its stamp may be that of a waiting one."""
        waiting = self._timeline.doubts.newest
        if waiting is not None and self._coarse is None and self._reorder is None:
            self._look_for_clock(run, waiting)
        super()._arrive(run)
        self._update_plain()

    def _look_for_clock(self, run: Run, waiting: Run) -> None:
        """Let no sample wait if the next one may show that the clock is coarse."""
        timeline, doubts, clock = self._timeline, self._timeline.doubts, self._unproven
        if run.first_ns == waiting.first_ns and doubts.ahead.shows_coarse(run, NEAR_PERIODS):
            if run.is_same(waiting) and not self._is_at_rest(run):
                return  # it was sent again
            is_near = not doubts.ahead.shows_coarse(run, LEAST_PERIODS)
            if is_near and self.ring.next_number >= DOUBLED_PERIODS:
                clock.note_doubled(run.first_ns)
                return
            doubts.ahead.is_watching = False
            timeline.take_all(*doubts.release())
        elif doubts.are_undated and clock.may_be_near(run.first_ns, self.newest_ns or 0):
            timeline.take_all(*doubts.release())

    def _is_at_rest(self, run: Run) -> bool:
        """Return whether the model's signals have the values of the newest sample."""
        ring, signals = self.ring, self._settings.signals
        return ring.size > 0 and equals(run.rows[0, :signals], ring.newest[:signals])

    def _look_at_clock(self, run: Run) -> Verdict:
        ring = self.ring
        if not ring.size or self._reorder is not None or not self._settings.period_ns:
            return "fine"
        previous = ring.recent[-2] if ring.size > 1 else None
        before = Before(ring.last_ns, ring.newest, previous, self._settings.signals, self._times)
        return self._unproven.look(run, before)

    def _times(self) -> list[int]:
        """Return the times of the samples in the ring, without those that were filled."""
        filled = self._timeline.holes.filled_times
        return [time_ns for time_ns in self.ring.recent_times.tolist() if time_ns not in filled]

    def _was_taken(self, run: Run) -> bool:
        return bool(self.ring.were_here(run.times, run.rows)[0])

    def _recognize(self, runs: list[Run]) -> list[Run]:
        """Set `_coarse` as `Stream._recognize` says, and take what the ring has again."""
        ring, period_ns, equal = self.ring, self._settings.period_ns, self._unproven.equal
        if period_ns is None:
            return runs
        saved, filled = ring.save(), self._timeline.holes.filled_times
        kept = [index for index, time_ns in enumerate(saved.times) if time_ns not in filled]
        times = [int(saved.times[index]) for index in kept]
        times += [run.first_ns for run in runs]
        found, near = resolution_of(times, period_ns), None
        if found is None:
            near = resolution_of(times, period_ns, NEAR_PERIODS)
        is_sure = not saved.flagged or not saved.substituted[kept].any()
        if ring.has_emitted or not is_sure:
            self._coarse = CoarseClock(period_ns, found or near, is_declared=False)
            rows = [row.tobytes() for row in saved.rows[kept]]
            earlier = zip(saved.times[kept].tolist()[:-1], rows, strict=False)
            self._coarse.start(
                ring.last_ns, ring.arrived_ns, ring.newest, earlier=earlier, equal=equal
            )
            return self._without_copies(runs)
        # No window was emitted. The step of the first stamp may have begun before the first
        # sample: the samples of this stamp wait until it ends.
        known = TICK_NS if found == TICK_NS else near  # two stamps do not show these
        self._coarse = CoarseClock(period_ns, known, is_declared=False)
        self._timeline.holes.take_back()
        self._timeline.values.empty()
        ring.forget()
        for index in kept:
            flags = saved.uncertain[index : index + 1] if saved.flagged else None
            row = saved.rows[index : index + 1]
            first = Run([int(saved.times[index])], row, flags, ring.arrived_ns, period_ns)
            self._take_stamped(first)
        return runs

    def _without_copies(self, runs: list[Run]) -> list[Run]:
        """Return samples, of which the first ones have the stamp of the newest, without copies."""
        ring = self.ring
        same = [run for run in runs if run.first_ns == ring.last_ns]
        following = runs[len(same)].rows.tobytes() if len(runs) > len(same) else None
        rows = [ring.newest.tobytes(), *(run.rows.tobytes() for run in same)]
        copies = copies_in(rows, following) or []
        self.drops["duplicate"] += len(copies)
        return [run for index, run in enumerate(runs, 1) if index not in copies]
