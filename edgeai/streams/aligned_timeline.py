"""The values of one aligned stream in the order of their arrival: late, repeated, clocks ahead."""

from bisect import bisect_right
from collections.abc import Sequence

from edgeai.streams.align import Aligner, align_row
from edgeai.streams.clock import MAX_JUMPED_RUNS, LateRun, is_clock_ahead
from edgeai.streams.grid import ROW, Arrival, Grid, Jump
from edgeai.streams.grid_values import GOOD, UNCERTAIN
from edgeai.streams.kept_samples import MIN_KEPT_ROWS
from edgeai.streams.left_rows import seen_values
from edgeai.streams.ring import Ring
from edgeai.streams.seen import Seen
from edgeai.streams.set_back import SetBacks
from edgeai.streams.settings import NEVER_NS, Floats, StreamSettings

FOREVER_NS = 1 << 62


class AlignedTimeline:
    """Takes the values of one stream; each reaches the grid, or is counted by a reason."""

    __slots__ = (
        "_drops", "_emitted", "_grid", "_has_doubt", "_jump", "_late", "_max_doubted",
        "_max_step_ns", "_overtook", "_resets", "_ring", "_seen", "_set_backs",
        "_settings", "_started", "_torn", "has_restarted",
    )  # fmt: skip

    def __init__(
        self,
        settings: StreamSettings,
        ring: Ring,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        *,
        set_backs: SetBacks,
    ) -> None:
        self._settings = settings
        self._ring = ring
        self._drops, self._resets = drops, resets
        self._set_backs = set_backs
        self._grid = Grid(settings, ring, drops, counts)
        self._late = LateRun(settings.clock_back_ns)
        room = MIN_KEPT_ROWS * (settings.channels + 1)
        self._seen = Seen(room, seen_values(settings))
        """What was taken last."""
        self._max_doubted = MAX_JUMPED_RUNS * (settings.channels + 1)
        self._jump: Jump | None = None
        self._overtook: list[Arrival] = []
        """What came before older values, in the order of its times."""
        self._max_step_ns = FOREVER_NS if settings.max_gap_ns is None else settings.max_gap_ns
        """A longer step ahead empties the window."""
        self._started: list[Arrival] | None = []
        """The first values; None once they are no longer in doubt."""
        self._torn: set[int] = set()
        """Channels of which a value was dropped that belongs between the newest ones: the next one
        is marked."""
        self._has_doubt = True
        """Whether `_started`, `_jump` or `_torn` is to be looked at."""
        self._emitted: tuple[int, int] | None = None
        """First and last time of windows that the samples in `_overtook` made when they came."""
        self.has_restarted = False
        """Set when the stream has started again, because the sender's clock was set back."""

    @property
    def newest_ns(self) -> int | None:
        """The time of the newest value; None before the first."""
        return self._grid.aligner.newest_ns

    @property
    def aligner(self) -> Aligner:
        """What aligns the values."""
        return self._grid.aligner

    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet."""
        return self._grid.aligner.waiting_for()

    @property
    def has_split_rows(self) -> bool:
        """Whether the values of samples are taken one by one."""
        return self._grid.has_split_rows

    def split_rows(self) -> None:
        """Take the values of samples one by one from now on: some samples lack some."""
        self._grid.split_rows()

    def held_channels(self) -> list[int]:
        """Return the channels of which no value came for a whole window or longer."""
        return self._grid.held_channels()

    def hold(self, channel: int, value: float, time_ns: int | None) -> bool:
        """Use a value of unknown age as `Stream.hold` says."""
        return self._grid.aligner.hold(channel, value, time_ns)

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a value of this time would be late, whichever its channel."""
        if self._jump is not None and self._jump.is_return(time_ns):
            return False
        return self._grid.has_passed(time_ns)

    def recover(self, *, everything: bool) -> None:
        """Start again after an exception; each channel keeps its last value at first."""
        self._late = LateRun(self._settings.clock_back_ns)
        self._jump = self._started = None
        self._torn.clear()
        self._has_doubt = False
        self._overtook.clear()
        self._grid.recover(everything=everything)

    def forget_first(self) -> None:
        """Forget the only sample so far: it is to be taken again, with another time."""
        self._grid.forget()
        self._seen.clear()
        self._started = []

    def flush(self) -> None:
        """Release the grid points up to the newest time: the stream ends here."""
        jump = self._jump
        if jump is not None and jump.is_suspect and not self._goes_on(jump):
            self._return(jump)
        self._finish()

    def _finish(self) -> None:
        self._confirm_jump()
        while self._overtook:
            self._take_overtaking()
        self._grid.settle()
        self._grid.push(everything=True)

    # --------------------------------------------------------------------------------------- order

    def take(self, one: Arrival) -> None:
        """Take a value or a sample, and before it those that overtook it."""
        while self._overtook and self._overtook[0].time_ns <= one.time_ns:
            self._take_overtaking()
        self._take_next(one)

    def take_values(
        self,
        times: Sequence[int],
        channels: Sequence[int],
        values: Sequence[float],
        uncertain: Sequence[bool],
        arrived_ns: int,
    ) -> None:
        """Take values of one message, as `take` does with each of them.

        A value that is newer than all of its channel, while nothing is in doubt, takes a short way;
        the grid moves on once for all values of one time.

        Args:
            times: (n,) nanoseconds, rising.
            channels: (n,) of each value.
            values: (n,), NaN if a value cannot be used.
            uncertain: (n,) whether each is outside its valid range.
            arrived_ns: When they arrived.
        """
        start, count = 0, len(times)
        while start < count:
            time_ns = times[start]
            stop = count if times[-1] == time_ns else bisect_right(times, time_ns, start)
            part = channels[start:stop], values[start:stop], uncertain[start:stop]
            taken = self._take_newest(time_ns, *part, arrived_ns)
            for index in range(start + taken, stop):
                one = [values[index]]
                self.take(Arrival(time_ns, channels[index], one, uncertain[index], arrived_ns))
            start = stop

    def _take_newest(
        self,
        time_ns: int,
        channels: Sequence[int],
        values: Sequence[float],
        uncertain: Sequence[bool],
        arrived_ns: int,
    ) -> int:
        """Take values of one time that are the newest of their channels, while nothing is in doubt.

        Returns:
            How many of them were taken: all before the first one that needs a further look.
        """
        grid = self._grid
        cadences = grid.cadences
        queues = grid.aligner.queues_at(time_ns) if self._is_plain_at(time_ns) else None
        if queues is None:
            return 0
        taken = 0
        for channel, value, flag in zip(channels, values, uncertain, strict=True):
            queue, cadence = queues[channel], cadences[channel]
            is_newest = queue and queue[-1][0] < time_ns and value == value  # noqa: PLR0124
            if not is_newest or cadence.suspect_ns != NEVER_NS:
                break
            queue.append((time_ns, value, UNCERTAIN if flag else GOOD))
            if cadence.low_ns <= time_ns - cadence.last_ns <= cadence.high_ns:
                cadence.last_ns = time_ns
            else:
                grid.note_rate(channel, time_ns)
            taken += 1
        if taken:
            grid.aligner.newest_ns = time_ns
            self._seen.add_many(time_ns, channels[:taken], values[:taken])
            self._ring.arrived_ns = max(self._ring.arrived_ns, arrived_ns)
            grid.push()
        return taken

    def _is_plain_at(self, time_ns: int) -> bool:
        """Return whether a value of this time, its channel's newest, needs no further look."""
        newest_ns = self._grid.aligner.newest_ns
        if self._has_doubt or self._overtook or newest_ns is None:
            return False
        return 0 <= time_ns - newest_ns <= self._max_step_ns

    def _take_overtaking(self) -> None:
        """Take the first of the samples that came before older ones; emit no window again."""
        ring = self._ring
        emit = ring.emit

        def emit_new(window: Floats, time_ns: int, substituted: int, uncertain: bool) -> None:
            if self._emitted is None or not self._emitted[0] <= time_ns <= self._emitted[1]:
                emit(window, time_ns, substituted, uncertain)

        ring.emit = emit_new
        try:
            self._take_next(self._overtook.pop(0))
        finally:
            ring.emit = emit

    def _take_next(self, one: Arrival) -> None:
        time_ns, channel, values, uncertain, arrived_ns = one
        grid = self._grid
        aligner, cadence = grid.aligner, grid.cadences[channel]
        newest_ns = aligner.newest_ns
        doubts = self._has_doubt or newest_ns is None or time_ns - newest_ns > self._max_step_ns
        if doubts:
            if self._settle_doubt(one, newest_ns):
                return
            if self._jump is not None and self._jump.is_doubtful:
                uncertain = True
            if channel in self._torn and time_ns > cadence.last_ns:
                self._torn.remove(channel)
                uncertain = True
        if cadence.suspect_ns != NEVER_NS:
            self._replace_suspect(one)
        if channel == ROW:
            refused = align_row(aligner, time_ns, values, uncertain=uncertain)
        else:
            refused = aligner.add(time_ns, channel, values[0], uncertain=uncertain)
        if refused is not None:
            self._take_refused(one, refused, newest_ns or 0)
        else:
            if cadence.low_ns <= time_ns - cadence.last_ns <= cadence.high_ns:
                cadence.last_ns = time_ns
            else:
                grid.note_rate(channel, time_ns)
            if arrived_ns > self._ring.arrived_ns:  # noqa: PLR1730  `max` costs more
                self._ring.arrived_ns = arrived_ns
            self._seen.add(time_ns, channel, values)
        grid.push()

    def _take_refused(self, one: Arrival, reason: str, newest_ns: int) -> None:
        """Put a value that the grid refused in its place, or drop and count it."""
        time_ns, channel, values, *_ = one
        if self._seen.has(time_ns, channel, values):
            self._drops["duplicate"] += 1
            self._late.note_known(self._seen.remembers_one_of(time_ns))
        elif reason == "late" and self._grid.put_in_place(one):
            self._seen.add(time_ns, channel, values)
        elif reason == "late" and self._is_set_back(one, newest_ns):
            self._restart(one)
        else:
            self._drops[reason] += 1
            if reason == "duplicate":  # other values, as it was not seen
                self._ring.conflicts += 1
            if self._grid.reaches(time_ns):
                self._torn.add(channel)
                self._has_doubt = True

    def _is_set_back(self, one: Arrival, newest_ns: int) -> bool:
        one_of = self._seen.remembers_one_of(one.time_ns)
        return self._late.add(one.time_ns, one.arrived_ns, newest_ns, one_of)

    def _replace_suspect(self, one: Arrival) -> None:
        """Remove a value in doubt if this one shows that it is wrong, and is not itself again."""
        if not self.was_taken(one):
            self._grid.remove_suspect(one.channel, one.time_ns)

    def was_taken(self, one: Arrival) -> bool:
        """Return whether this value or sample was taken before."""
        return self._seen.has(one.time_ns, one.channel, one.values)

    # --------------------------------------------------------------------------------------- clock

    def _settle_doubt(self, one: Arrival, newest_ns: int | None) -> bool:
        """Judge the clock at the start and around a step ahead; True: the value was taken."""
        if newest_ns is not None:
            if self._started is not None:
                self._drop_first_ahead(self._started, one, newest_ns)
            if self._take_around_jump(one, newest_ns):
                return True
        if self._started is not None:
            if not self.was_taken(one):
                self._started.append(one)
            if len(self._started) > self._max_doubted or self._jump is not None:
                self._started = None
        self._has_doubt = bool(self._started is not None or self._jump or self._torn)
        return False

    def _drop_first_ahead(self, started: list[Arrival], one: Arrival, newest_ns: int) -> None:
        """Drop the first values if their clock was ahead, as an older value shows.

        Within the gap, only the second value of the same channel shows it, before the first window.
        """
        time_ns, channel, *_, arrived_ns = one
        if time_ns > newest_ns:
            return
        has_windows = self._ring.next_number >= self._settings.length
        is_second = not has_windows and sum(first.channel == channel for first in started) == 1
        skew_ns = max(0, time_ns - arrived_ns)
        gap_ns, half_ns = self._max_step_ns, (self._settings.period_ns or 0) // 2
        ahead = []
        for first in started:
            step_ns, first_skew_ns = first.time_ns - time_ns, first.time_ns - first.arrived_ns
            is_far = step_ns > gap_ns and first_skew_ns > gap_ns + skew_ns
            is_older = is_second and first.channel == channel and step_ns >= 0
            is_near = is_older and first.values != one.values
            if is_far or (is_near and first_skew_ns > half_ns + skew_ns):
                ahead.append(first)
        if not ahead or self._seen.has(time_ns, channel, one.values):
            return
        self._drops["implausible_time"] += len(ahead)
        self._note_used(self._grid.windows_since_start())
        self._grid.forget()
        self._started = []
        for first in started:
            if first not in ahead:
                self._take_next(first)

    def _take_around_jump(self, one: Arrival, newest_ns: int) -> bool:
        """Begin a step ahead, or note what comes after it; True: it went on before the step."""
        jump = self._jump
        if jump is not None and jump.is_return(one.time_ns):
            self._return(jump)
            self.take(one)
            return True
        if one.time_ns - newest_ns > self._max_step_ns:
            self._jump_ahead(one, newest_ns)
        elif jump is not None and one.time_ns >= jump.first_ns:
            if not self.was_taken(one):
                jump.arrivals.append(one)
            if len(jump.arrivals) > self._max_doubted:
                self._confirm_jump()
        return False

    def _jump_ahead(self, one: Arrival, newest_ns: int) -> None:
        """Empty the window, and keep what it was until the step ahead is certain."""
        before = self._jump
        if before is not None and before.is_suspect:
            self._grid.push(everything=True)
            before.arrivals.append(one)
            self._jump = before._replace(gaps=before.gaps + 1)
        else:
            arrival_step_ns = one.arrived_ns - self._ring.arrived_ns
            step_ns = one.time_ns - newest_ns
            suspect = is_clock_ahead(step_ns, arrival_step_ns, self._max_step_ns)
            self._grid.push(everything=True)
            if not suspect:
                self._resets["gap"] += 1
            # What comes from a backlog is older than a gap, or in a burst.
            is_live = one.arrived_ns - one.time_ns <= self._max_step_ns
            is_live = is_live or arrival_step_ns >= (self._settings.period_ns or 0) / 4
            self._jump = Jump(
                one.time_ns, newest_ns, suspect, self._grid.save(), [one],
                is_doubtful=suspect and is_live,
            )  # fmt: skip
        self._grid.restart()

    def _goes_on(self, jump: Jump) -> bool:
        """Return whether the time went on from a step ahead that is in doubt."""
        return jump.arrivals[-1].time_ns - jump.first_ns >= (self._settings.period_ns or 1)

    def _confirm_jump(self) -> None:
        """Note that the time really went on from the last step ahead."""
        if self._jump is not None and self._jump.is_suspect:
            self._resets["gap"] += self._jump.gaps
        self._jump = None

    def _return(self, jump: Jump) -> None:
        """Go on where the stream was before a step ahead."""
        self._jump = None
        if jump.is_suspect:
            self._ring.implausible_ns = jump.first_ns
        emitted, last_ns = self._grid.windows_since_start(), self._ring.last_ns
        self._grid.restore(jump.saved)
        if jump.is_suspect:
            self._drops["implausible_time"] += len(jump.arrivals)
            self._note_used((jump.first_ns, last_ns) if jump.gaps > 1 else emitted)
        else:
            self._emitted = emitted
            waiting = self._overtook + jump.arrivals
            self._overtook = sorted(waiting, key=lambda one: one.time_ns)

    def _note_used(self, windows: tuple[int, int] | None) -> None:
        """Note the times of windows that have left, and whose values are dropped now, if any."""
        if windows is not None and windows[0] <= windows[1]:
            self._set_backs.note_used(*windows)
            self._ring.broken = True

    def _restart(self, one: Arrival) -> None:
        """Release the waiting samples, then start again: the sender's clock was set back."""
        self._finish()
        self._resets["clock_back"] += 1
        newest_ns = max(self._grid.aligner.newest_ns or one.time_ns, self._ring.last_ns)
        self._set_backs.note(newest_ns, self._late.first_ns, "pace")
        self._grid.clear()
        self.has_restarted = True
        self._take_next(one)
