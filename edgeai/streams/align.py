"""Align samples at any time to the model's grid, by holding values or by linear interpolation.

The grid points are whole multiples of the model's sample period since 1970. So they do not depend
on when edgeai was started, and a replay produces the same grid rows as the live run. A grid point
is complete once the watermark has passed it. The watermark is the newest time seen minus the
allowed lateness; a value at or before a grid point that was already returned is late. `values` lets
late ones be put in their places, and `revise` computes again what they change.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import Literal, NamedTuple

from edgeai.streams.channel_values import KEPT_VALUES, ChannelValues
from edgeai.streams.grid_values import (
    GOOD,
    LOST,
    METHODS,
    UNCERTAIN,
    AlignSettings,
    GridRow,
    Limits,
    Queue,
    held_extra,
)  # fmt: skip

NO_LIMIT_NS = 1 << 62


class Aligner:
    """Aligns one stream of C channels.

    The values of extra signals are held by every method, because a value between two codes means
    nothing. They are held until the next value comes, unless a rate says when it is due. No grid
    point waits for them: where they have no value they are NaN.
    """

    __slots__ = (
        "_compute_row", "_extra_ages_ns", "_extra_queues", "_floor_ns", "_held", "_is_started",
        "_next_ns", "_past", "_queues", "_settings", "_signal_queues", "limits",
        "newest_ns", "signals",
    )  # fmt: skip

    def __init__(self, settings: AlignSettings, channels: int, extras: int = 0) -> None:
        self._settings = settings
        self.signals = channels - extras
        """Channels of the model, the first ones."""
        self._compute_row = METHODS[settings.method]
        self._queues: list[Queue] = [deque() for _ in range(channels)]
        """The values of each channel that are still needed; once there are grid points, the first
        is the last value at or before the newest of them."""
        self._split_queues()
        self._past: list[Queue] = [deque(maxlen=KEPT_VALUES) for _ in range(channels)]
        """The values of each channel before those."""
        self._next_ns: int | None = None
        """The next grid point; None until every channel has a value."""
        self._is_started = False
        """Whether a grid point was returned."""
        self._floor_ns = -NO_LIMIT_NS
        """Values up to this time are late: they are from before a gap."""
        self._held: dict[int, float] = {}
        """Values without a time by channel, while no sample has come: they are as of the first."""
        self.newest_ns: int | None = None
        """The newest time seen; None before the first sample."""
        age_ns, hole_ns = [settings.max_age_ns] * self.signals, [NO_LIMIT_NS] * self.signals
        self.limits = Limits(settings.max_age_ns, age_ns, hole_ns)
        self._extra_ages_ns = [NO_LIMIT_NS] * extras
        """Age from which a value of an extra signal is not known any more."""

    def _split_queues(self) -> None:
        self._signal_queues = self._queues[: self.signals]
        self._extra_queues = self._queues[self.signals :]

    def waiting_for(self) -> list[int]:
        """Return the model's channels that have not had a value yet."""
        return [
            index
            for index, queue in enumerate(self._signal_queues)
            if not queue and index not in self._held
        ]

    def set_limits(self, channel: int, due_ns: int, hole_ns: int) -> None:
        """Set what the rate of a channel says.

        Args:
            channel: Its index.
            due_ns: Age of a value at which the next one is due.
            hole_ns: A step of this length or longer is a hole.
        """
        max_age_ns = self._settings.max_age_ns
        if channel >= self.signals:
            self._extra_ages_ns[channel - self.signals] = max(max_age_ns, due_ns)
            return
        self.limits.age_ns[channel] = min(max_age_ns, due_ns)
        self.limits.hole_ns[channel] = hole_ns

    def hold(self, channel: int, value: float, time_ns: int | None) -> bool:
        """Use a value of unknown age until the channel has a newer one; it counts as uncertain.

        It does not change the newest time, so no grid point becomes complete.

        Args:
            channel: Index of the channel.
            value: Finite.
            time_ns: Its time; None if it is not known. It is then as of the newest sample.

        Returns:
            Whether it is used; False if the channel has this value, or a newer one.
        """
        queue = self._queues[channel]
        if time_ns is None and self.newest_ns is None and not queue:
            is_new = self._held.get(channel) != value
            self._held[channel] = value
            return is_new
        at_ns = time_ns if time_ns is not None else (self.newest_ns or 0) + 1
        if queue and (queue[-1][1] == value or at_ns < queue[-1][0]):
            return False
        if self.has_passed(at_ns) and not self._is_new_extra(channel, at_ns):
            return False
        if queue and queue[-1][0] == at_ns:
            queue.pop()
        self._append(queue, at_ns, value, UNCERTAIN)
        return True

    def _append(self, queue: Queue, time_ns: int, value: float, mark: int) -> None:
        if self._next_ns is None:
            queue.clear()  # until every channel has a value, only the newest is needed
        queue.append((time_ns, value, mark))

    def add(
        self, time_ns: int, channel: int, value: float, *, uncertain: bool = False
    ) -> Literal["late", "duplicate"] | None:
        """Add one value of one channel; return the reason if it was refused.

        NaN means that the channel has no usable value from this time on: its last value is held
        and counted as substituted.
        """
        newest_ns = self.newest_ns
        if newest_ns is None or time_ns > newest_ns:
            self.newest_ns = time_ns
            if self._held:
                self._place_held(time_ns)
        elif self.has_passed(time_ns) and not self._is_new_extra(channel, time_ns):
            return "late"
        queue = self._queues[channel]
        mark = UNCERTAIN if uncertain else GOOD
        if queue and time_ns <= queue[-1][0]:  # seldom: a search costs more than most values
            return self._add_between(queue, time_ns, value, mark)
        if math.isnan(value):
            if not queue:
                return None  # no value to hold: the channel still waits for its first value
            value, mark = queue[-1][1], LOST
        self._append(queue, time_ns, value, mark)
        return None

    def queues_at(self, time_ns: int) -> list[Queue] | None:
        """Return the queues, to append values of a time to that are their channels' newest.

        The caller sets `newest_ns`. None if there is no grid point yet, or the time is not newer
        than all that are needed for a grid point that was returned: such values need `add`.
        """
        newest_ns = self.newest_ns
        if self._next_ns is None or self._held or newest_ns is None or time_ns < newest_ns:
            return None
        return self._queues

    def _is_new_extra(self, channel: int, time_ns: int) -> bool:
        """Return whether a late value is the newest of an extra signal.

        It holds for the grid points to come: it may be the only one for hours.
        """
        queue = self._queues[channel]
        return channel >= self.signals and (not queue or time_ns > queue[-1][0])

    def _add_between(
        self, queue: Queue, time_ns: int, value: float, mark: int
    ) -> Literal["late", "duplicate"] | None:
        """Add a value that is older than another of its channel."""
        if not self._is_started and time_ns < queue[-1][0] - self._settings.max_age_ns:
            return "late"
        place = bisect_left(queue, (time_ns,))
        if queue[place][0] == time_ns:
            return "duplicate"
        if math.isnan(value):
            if not place:
                return None
            value, mark = queue[place - 1][1], LOST
        if self._next_ns is None and len(queue) > KEPT_VALUES:
            queue.popleft()
            place -= 1
        queue.insert(max(0, place), (time_ns, value, mark))
        if not self._is_started:
            self._next_ns = None  # the grid may begin earlier
        return None

    def _place_held(self, time_ns: int) -> None:
        """Give the values without a time that of the first sample."""
        held, self._held = self._held, {}
        for channel, value in held.items():
            if not self._queues[channel]:
                # Before the sample itself, so that a value of the same time replaces it.
                self._queues[channel].append((time_ns - 1, value, UNCERTAIN))

    def take_rows(self, *, everything: bool = False) -> list[GridRow]:
        """Return the grid points that the watermark has passed since the last call, oldest first.

        Args:
            everything: Also return the grid points up to the newest time: no more values will come.
        """
        if self.newest_ns is None:
            return []
        settings = self._settings
        if self._next_ns is None:
            if self.waiting_for():
                return []
            started_ns = max(queue[0][0] for queue in self._signal_queues)
            self._next_ns = -(-started_ns // settings.period_ns) * settings.period_ns
        watermark_ns = self.newest_ns + 1 if everything else self.newest_ns - settings.lateness_ns
        rows: list[GridRow] = []
        while self._next_ns < watermark_ns:
            next_ns = self._next_ns
            for queue, past in zip(self._queues, self._past, strict=True):
                while len(queue) > 1 and queue[1][0] <= next_ns:
                    past.append(queue.popleft())
            row = self._compute_row(
                self._signal_queues, next_ns, watermark_ns, self.limits, everything
            )
            if row is None:
                break
            if self._extra_queues:
                times = repeat(next_ns)
                row.values.extend(map(held_extra, self._extra_queues, times, self._extra_ages_ns))
            rows.append(row)
            self._next_ns = next_ns + settings.period_ns
            self._is_started = True
        return rows

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a grid point at or after this time was already returned."""
        if self._is_started:
            return time_ns <= (self._next_ns or 0) - self._settings.period_ns
        return time_ns <= self._floor_ns

    # ------------------------------------------------------------------------------ late values

    @property
    def returned_ns(self) -> int:
        """The newest grid point that was returned, if there is one."""
        return (self._next_ns or 0) - self._settings.period_ns

    def values(self, channel: int) -> ChannelValues:
        """Return the known values of a channel, to look at and to change."""
        return ChannelValues(self._past[channel], self._queues[channel])

    def neighbors(self, channel: int, time_ns: int) -> tuple[int, int | None] | None:
        """Return what `ChannelValues.neighbors` does; None before the first grid point."""
        return self.values(channel).neighbors(time_ns) if self._is_started else None

    def revise(
        self, channel: int, after_ns: int, before_ns: int, oldest_ns: int
    ) -> list[tuple[int, float, bool, bool]]:
        """Compute the values of grid points that were returned again.

        Args:
            channel: Whose values.
            after_ns: Of the grid points after this time,
            before_ns: and before this one,
            oldest_ns: and not before this one.

        Returns:
            Time of the grid point, value, whether it counts as substituted, and whether it is
            uncertain.
        """
        period_ns = self._settings.period_ns
        first_ns = max(oldest_ns, (after_ns // period_ns + 1) * period_ns)
        values, limits = self.values(channel), self.limits
        grid = range(first_ns, min(self.returned_ns + 1, before_ns), period_ns)
        if channel >= self.signals:
            age_ns = self._extra_ages_ns[channel - self.signals]
            extras = [held_extra(values.around(at_ns), at_ns, age_ns) for at_ns in grid]
            return [(at_ns, value, False, False) for at_ns, value in zip(grid, extras, strict=True)]
        mine = Limits(limits.max_age_ns, [limits.age_ns[channel]], [limits.hole_ns[channel]])
        found = []
        for at_ns in grid:
            pair = values.around(at_ns)
            if pair:
                row = self._compute_row([pair], at_ns, self.newest_ns or 0, mine, True)
                assert row is not None  # nothing is waited for
                found.append((at_ns, row.values[0], bool(row.held), row.uncertain))
        return found

    # ---------------------------------------------------------------------------------- its state

    def save(self) -> "SavedAligner":
        """Return a copy of its state."""
        queues = [deque(queue) for queue in self._queues]
        past = [queue.copy() for queue in self._past]
        return SavedAligner(
            queues, past, self._next_ns, self._is_started, self._floor_ns, self.newest_ns
        )

    def restore(self, saved: "SavedAligner") -> None:
        """Go on from a copy of its state."""
        (
            self._queues, self._past, self._next_ns, self._is_started, self._floor_ns,
            self.newest_ns,
        ) = saved  # fmt: skip
        self._split_queues()

    def restart(self) -> None:
        """Restart the grid and the clock after a gap; each channel keeps its last value."""
        self._next_ns = None
        self._is_started = False
        if self.newest_ns is not None:
            self._floor_ns = self.newest_ns
        self.newest_ns = None
        for queue in self._queues:
            while len(queue) > 1:
                queue.popleft()
        for past in self._past:
            past.clear()

    def clear(self) -> None:
        """Remove everything: after the clock went back, old values would look new."""
        self.restart()
        self._floor_ns = -NO_LIMIT_NS
        self._held.clear()
        for queue in self._queues:
            queue.clear()


class SavedAligner(NamedTuple):
    """What an aligner was: values, next grid point, newest time."""

    queues: list[Queue]
    past: list[Queue]
    next_ns: int | None
    is_started: bool
    floor_ns: int
    newest_ns: int | None


def align_row(
    aligner: Aligner, time_ns: int, values: Sequence[float], *, uncertain: bool
) -> Literal["late", "duplicate"] | None:
    """Add one sample of all channels; return the reason if a value was refused.

    Then its extra values are refused too: they are of the same sample.
    """
    refused = None
    signals = aligner.signals
    for channel, value in enumerate(values):
        if channel == signals and refused is not None:
            break
        refused = aligner.add(time_ns, channel, value, uncertain=uncertain) or refused
    return refused
