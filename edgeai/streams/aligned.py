"""A stream whose samples are aligned to the model's grid."""

from collections import deque
from collections.abc import Sequence

from edgeai.streams.align import Aligner
from edgeai.streams.aligned_timeline import AlignedTimeline
from edgeai.streams.clock_steps import resolution_of
from edgeai.streams.coarse import CoarseClock
from edgeai.streams.conditioning import Flags
from edgeai.streams.grid import ROW, Arrival
from edgeai.streams.kept_samples import MIN_KEPT_ROWS
from edgeai.streams.repeats import Repeats
from edgeai.streams.run import Run, block_times, equals
from edgeai.streams.settings import Emit, Floats, StreamSettings
from edgeai.streams.stream import Stream

_new_arrival = tuple.__new__
"""Faster than `Arrival(...)`, which calls a function written in Python."""


class AlignedStream(Stream):
    """A stream that makes windows of samples on the model's grid."""

    __slots__ = ("_first", "_repeats", "_row", "_stamps", "_timeline")

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
        self._row: Floats | None = None
        """The last sample, to recognize a coarse clock."""
        self._first: Run | None = None
        """The first sample, while there is no other time stamp."""
        self._repeats = Repeats()
        self._stamps: deque[int] = deque(maxlen=MIN_KEPT_ROWS)
        """The last different time stamps of samples."""

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
        self._row = self._first = None
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
        flag = run.uncertain is not None and bool(run.uncertain[0])
        timeline = self._timeline
        timeline.take(Arrival(run.first_ns, ROW, run.rows[0].tolist(), flag, run.arrived_ns))
        if timeline.has_restarted:
            timeline.has_restarted = False
            if self._coarse is not None:
                self._coarse.restart()

    # ------------------------------------------------------------------------------- coarse clocks

    def _may_be_coarse(self, run: Run) -> bool:
        row, self._row = self._row, run.rows[0].copy()
        stamps = self._stamps
        if not stamps or run.first_ns != stamps[-1]:
            self._first = None if stamps else run.copy()
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
        if found is not None and self._first is not None:
            # One stamp shows no step: its samples wait for the next one.
            self._coarse = CoarseClock(period_ns, None, is_declared=False)
            self._coarse.place(self._first, self._settings.max_gap_ns)
            self._timeline.forget_first()
        elif found is not None:
            self._coarse = CoarseClock(period_ns, found, is_declared=False)
            is_back = run.first_ns < max(self._stamps)
            self._coarse.start(run.first_ns, self.ring.arrived_ns, in_doubt=is_back)
