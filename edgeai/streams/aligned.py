"""A stream whose samples are aligned to the model's grid."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from edgeai.streams.align import Aligner
from edgeai.streams.aligned_timeline import AlignedTimeline
from edgeai.streams.clock_steps import TICK_NS, resolution_of
from edgeai.streams.coarse import CoarseClock
from edgeai.streams.conditioning import Flags
from edgeai.streams.grid import ROW, Arrival
from edgeai.streams.kept_samples import MIN_KEPT_ROWS
from edgeai.streams.run import Run, block_times
from edgeai.streams.settings import Emit, Floats, StreamSettings
from edgeai.streams.stream import Stream
from edgeai.streams.unproven import Before, Verdict

_new_arrival = tuple.__new__
"""Faster than `Arrival(...)`, which calls a function written in Python."""


class AlignedStream(Stream):
    """A stream that makes windows of samples on the model's grid."""

    __slots__ = ("_first", "_row", "_rows", "_stamps", "_timeline")

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        emit: Emit,
    ) -> None:
        super().__init__(settings, drops, resets, counts, emit)
        self._timeline = AlignedTimeline(
            settings, self.ring, drops, resets, counts, set_backs=self.set_backs
        )
        self._row = b""
        """Values of the last sample, to recognize a coarse clock."""
        self._rows: set[bytes] = set()
        """Those of all samples since the time stamp before it."""
        self._first: Run | None = None
        """The first sample, while there is no other time stamp."""
        self._stamps: deque[tuple[int, bytes]] = deque(maxlen=MIN_KEPT_ROWS)
        """The last different time stamps of samples, and the values of the first one of each."""

    @property
    def newest_ns(self) -> int | None:
        """The time of the newest value; None before the first."""
        return self._timeline.newest_ns

    @property
    def aligner(self) -> Aligner:
        """What aligns the samples to the model's grid; the same for as long as the stream."""
        return self._timeline.aligner

    def recover(self, after_ns: int | None, *, everything: bool) -> None:
        """Empty the stream as `Stream.recover` says; each channel keeps its last value at first.

        A tag that is sent when it changes may not come again for hours.
        """
        self._empty_after_failure(after_ns)
        self._row, self._first = b"", None
        self._rows.clear()
        self._stamps.clear()
        self._timeline.recover(everything=everything)

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a sample of this time would be late."""
        if self._coarse is not None:
            return self._coarse.has_passed(time_ns)
        return self._timeline.has_passed(time_ns)

    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet; without them there is no window."""
        return self._timeline.waiting_for()

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
        """Take samples as `Stream.push_rows` says.

        After a sample with an absent value the channels have rates of their own, as single values
        have: a signal that is sent when it changes lacks nothing.
        """
        if absent is not None and not self._timeline.has_split_rows:
            self._timeline.split_rows()
            if self._coarse is not None:  # it spreads whole samples
                for run in self._coarse.release(None):
                    self._receive(run)
                self._coarse = None
        if not self._timeline.has_split_rows:
            super().push_rows(times, rows, invalid, uncertain, arrived)
            return
        for index, time_ns in enumerate(times):
            flag = uncertain is not None and bool(uncertain[index])
            at_ns = time_ns if arrived is None else arrived[index]
            for channel, value in enumerate(rows[index].tolist()):
                if absent is None or not absent[index, channel]:
                    self.push_tag(time_ns, channel, value, flag, at_ns)

    def held_channels(self) -> list[int]:
        """Return the channels of which no good value came for a whole window or longer."""
        return self._timeline.held_channels()

    def push_block(self, run: Run) -> None:
        """Take a block of samples at one rate."""
        times = block_times(run.first_ns, run.period_ns, len(run.times))
        for index, time_ns in enumerate(map(int, times)):
            flag = None if run.uncertain is None else run.uncertain[index : index + 1]
            row = run.rows[index : index + 1]
            self._receive(Run([time_ns], row, flag, run.arrived_ns, run.period_ns))

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
        one = _new_arrival(Arrival, (time_ns, channel, [value], uncertain, at_ns))
        self._timeline.take(one)

    def push_tags(
        self,
        times: Sequence[int],
        channels: Sequence[int],
        values: Sequence[float],
        uncertain: Sequence[bool],
        arrived_ns: int,
    ) -> None:
        """Take values of one message as `Stream.push_tags` says, with less work for each."""
        self._timeline.take_values(times, channels, values, uncertain, arrived_ns)

    def hold(self, channel: int, value: float, time_ns: int | None) -> bool:
        """Use a value of unknown age as `Stream.hold` says."""
        return self._timeline.hold(channel, value, time_ns)

    def flush(self) -> None:
        """Release the grid points up to the newest time: the stream ends here."""
        super().flush()
        self._timeline.flush()
        self.ring.flush()

    def _receive(self, run: Run) -> None:
        """Take one sample with its final time."""
        timeline = self._timeline
        timeline.take(self._arrival_of(run))
        if timeline.has_restarted:
            timeline.has_restarted = False
            if self._coarse is not None:
                self._coarse.restart()

    @staticmethod
    def _arrival_of(run: Run) -> Arrival:
        flag = run.uncertain is not None and bool(run.uncertain[0])
        return Arrival(run.first_ns, ROW, run.rows[0].tolist(), flag, run.arrived_ns)

    # ------------------------------------------------------------------------------- coarse clocks

    def _look_at_clock(self, run: Run) -> Verdict:
        """Judge the clock as `Stream._look_at_clock` says; one of about a period needs no care."""
        clock, stamps = self._unproven, self._stamps
        if not clock.runs and (not stamps or run.first_ns != stamps[-1][0]):
            self._note_stamp(run)
            return "fine"
        if not self._settings.period_ns:
            return "fine"
        values = run.rows[0].tobytes()
        is_known = values in self._rows or (run.first_ns, values) in stamps
        row = np.frombuffer(values if is_known else self._row, np.float32)
        previous = np.frombuffer(stamps[-2][1], np.float32) if len(stamps) > 1 else None
        before = Before(
            stamps[-1][0], row, previous, self._settings.signals,
            lambda: [time_ns for time_ns, _ in stamps],
        )  # fmt: skip
        verdict = clock.look(run, before)
        if verdict == "fine":
            for one in clock.runs or [run]:
                self._note_stamp(one)
        return verdict

    def _note_stamp(self, run: Run) -> None:
        stamps, row = self._stamps, run.rows[0].tobytes()
        if not stamps or run.first_ns != stamps[-1][0]:
            if stamps and run.first_ns < stamps[-1][0] and (run.first_ns, row) in stamps:
                return  # it was sent again
            self._first = None if stamps else run.copy()
            stamps.append((run.first_ns, row))
            self._rows.clear()
        self._row = row
        self._rows.add(row)

    def _was_taken(self, run: Run) -> bool:
        return self._timeline.was_taken(self._arrival_of(run))

    def _recognize(self, runs: list[Run]) -> list[Run]:
        """Set `_coarse` as `Stream._recognize` says."""
        period_ns, times = self._settings.period_ns, [time_ns for time_ns, _ in self._stamps]
        found = None
        if period_ns is not None:
            found = resolution_of([*times, *(run.first_ns for run in runs)], period_ns)
        if period_ns is None or found is None:
            return runs
        if self._first is not None:
            # One stamp shows no step: its samples wait for the next one.
            known = TICK_NS if found == TICK_NS else None
            self._coarse = CoarseClock(period_ns, known, is_declared=False)
            self._coarse.place(self._first, self._settings.max_gap_ns)
            self._timeline.forget_first()
        else:
            self._coarse = CoarseClock(period_ns, found, is_declared=False)
            row = np.frombuffer(self._row, np.float32)
            self._coarse.start(
                times[-1], self.ring.arrived_ns, row, earlier=list(self._stamps)[:-1],
                in_doubt=times[-1] < max(times), equal=self._unproven.equal,
            )  # fmt: skip
        return runs
