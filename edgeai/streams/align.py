"""Align samples at any time to the model's grid, by holding values or by linear interpolation.

The grid points are whole multiples of the model's sample period since 1970. So they do not depend
on when edgeai was started, and a replay produces the same grid rows as the live run. A grid point
is complete once the watermark has passed it. The watermark is the newest time seen minus the
allowed lateness; a value at or before a grid point that was already returned is late.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Queue = deque[tuple[int, float, int]]
"""The values of one channel that are still needed, oldest first: time in nanoseconds, value, and
one of GOOD, UNCERTAIN, LOST."""


@dataclass(frozen=True)
class AlignSettings:
    """How to align samples to the grid. Times in nanoseconds."""

    method: Literal["hold", "linear"]
    """A key of `METHODS`."""
    period_ns: int
    """From one grid point to the next: the model's sample period."""
    max_age_ns: int
    """A value that is held or interpolated for longer counts as substituted."""
    lateness_ns: int
    """How long a grid point waits for values that arrive out of order."""


GOOD = 0  # measured, inside its valid range
UNCERTAIN = 1  # measured, outside its valid range
LOST = 2  # not usable: the value before it is held


class GridRow(NamedTuple):
    """One sample on the grid."""

    time_ns: int
    values: list[float]
    """(C,) all finite."""
    substituted: int
    """Number of values that were not measured, or are older than the maximum age."""
    uncertain: bool
    """Whether a value comes from one outside its valid range."""


def hold(
    queues: Sequence[Queue], at_ns: int, _watermark_ns: int, max_age_ns: int, _final: bool
) -> GridRow:
    """Return the last value of each channel at or before a grid point."""
    values = []
    substituted = 0
    uncertain = False
    for queue in queues:
        while len(queue) > 1 and queue[1][0] <= at_ns:
            queue.popleft()
        since_ns, value, mark = queue[0]
        if at_ns - since_ns > max_age_ns or mark == LOST:
            substituted += 1
        values.append(value)
        uncertain = uncertain or mark == UNCERTAIN
    return GridRow(at_ns, values, substituted, uncertain)


def interpolate(
    queues: Sequence[Queue], at_ns: int, watermark_ns: int, max_age_ns: int, final: bool
) -> GridRow | None:
    """Return each channel's value on the line between its neighbours of a grid point.

    A value is held and counted as substituted if its neighbours are more than `max_age_ns` apart.
    None if a channel must wait for its next value.
    """
    values = []
    substituted = 0
    uncertain = False
    for queue in queues:
        while len(queue) > 1 and queue[1][0] <= at_ns:
            queue.popleft()
        since_ns, value, mark = queue[0]
        if since_ns == at_ns:
            if mark == LOST:
                substituted += 1
        elif len(queue) > 1 and queue[1][0] <= watermark_ns:  # no closer value can still arrive
            until_ns, next_value, next_mark = queue[1]
            mark = max(mark, next_mark)
            if until_ns - since_ns > max_age_ns or mark == LOST:
                substituted += 1
            else:
                value += (next_value - value) * ((at_ns - since_ns) / (until_ns - since_ns))
        elif final or watermark_ns - since_ns > max_age_ns:
            substituted += 1
        else:
            return None
        values.append(value)
        uncertain = uncertain or mark == UNCERTAIN
    return GridRow(at_ns, values, substituted, uncertain)


Method = Callable[[Sequence[Queue], int, int, int, bool], GridRow | None]
"""Computes one grid row, or returns None to wait for more values.

Arguments: the queues of all channels, each with a value at or before the grid point; the grid
point, the watermark and the maximum age in nanoseconds; whether no more values will come."""

METHODS: dict[str, Method] = {
    "hold": hold,
    "linear": interpolate,
}
"""Alignment methods, by the name in the configuration."""


class Aligner:
    """Aligns one stream of C channels."""

    __slots__ = ("_compute_row", "_held", "_next_ns", "_queues", "_settings", "newest_ns")

    def __init__(self, settings: AlignSettings, channels: int) -> None:
        self._settings = settings
        self._compute_row = METHODS[settings.method]
        self._queues: list[Queue] = [deque() for _ in range(channels)]
        self._next_ns: int | None = None
        """The next grid point; None until every channel has a value."""
        self._held: dict[int, float] = {}
        """Values without a time by channel, while no sample has come: they are as of the first."""
        self.newest_ns: int | None = None
        """The newest time seen; None before the first sample."""

    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet."""
        return [
            index
            for index, queue in enumerate(self._queues)
            if not queue and index not in self._held
        ]

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
        if self.has_passed(at_ns):
            return False
        if queue and queue[-1][0] == at_ns:
            queue.pop()
        self._append(queue, at_ns, value, UNCERTAIN, len(queue))
        return True

    def _append(self, queue: Queue, time_ns: int, value: float, mark: int, place: int) -> None:
        queue.insert(place, (time_ns, value, mark))
        if self._next_ns is None and len(queue) > 1:
            queue.popleft()  # until every channel has a value, only the newest is needed

    def add(
        self, time_ns: int, channel: int, value: float, *, uncertain: bool = False
    ) -> Literal["late", "duplicate"] | None:
        """Add one value of one channel; return the reason if it was refused.

        NaN means that the channel has no usable value from this time on: its last value is held
        and counted as substituted.
        """
        if self.has_passed(time_ns):
            return "late"
        if self.newest_ns is None or time_ns > self.newest_ns:
            self.newest_ns = time_ns
            if self._held:
                self._place_held(time_ns)
        queue = self._queues[channel]
        place = len(queue)
        if queue and time_ns <= queue[-1][0]:  # seldom: a search costs more than most values
            place = bisect_left(queue, (time_ns,))
            if queue[place][0] == time_ns:
                return "duplicate"
        mark = UNCERTAIN if uncertain else GOOD
        if math.isnan(value):
            if not place:
                return None  # no value to hold: the channel still waits for its first value
            value, mark = queue[place - 1][1], LOST
        self._append(queue, time_ns, value, mark, place)
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
            started_ns = max(queue[0][0] for queue in self._queues)
            self._next_ns = -(-started_ns // settings.period_ns) * settings.period_ns
        watermark_ns = self.newest_ns + 1 if everything else self.newest_ns - settings.lateness_ns
        rows = []
        while self._next_ns < watermark_ns:
            row = self._compute_row(
                self._queues, self._next_ns, watermark_ns, settings.max_age_ns, everything
            )
            if row is None:
                break
            rows.append(row)
            self._next_ns += settings.period_ns
        return rows

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a grid point at or after this time was already returned."""
        return self._next_ns is not None and time_ns <= self._next_ns - self._settings.period_ns

    def save(self) -> "SavedAligner":
        """Return a copy of its state."""
        return SavedAligner([deque(queue) for queue in self._queues], self._next_ns, self.newest_ns)

    def restore(self, saved: "SavedAligner") -> None:
        """Go on from a copy of its state."""
        self._queues, self._next_ns, self.newest_ns = saved

    def restart(self) -> None:
        """Restart the grid and the clock after a gap; each channel keeps its last value."""
        self._next_ns = None
        self.newest_ns = None
        for queue in self._queues:
            while len(queue) > 1:
                queue.popleft()

    def clear(self) -> None:
        """Remove everything: after the clock went back, old values would look new."""
        self.restart()
        self._held.clear()
        for queue in self._queues:
            queue.clear()


class SavedAligner(NamedTuple):
    """What an aligner was: values that are still needed, next grid point, newest time."""

    queues: list[Queue]
    next_ns: int | None
    newest_ns: int | None


def align_row(
    aligner: Aligner, time_ns: int, values: Sequence[float], *, uncertain: bool
) -> Literal["late", "duplicate"] | None:
    """Add one sample of all channels; return the reason if a value was refused."""
    refused = None
    for channel, value in enumerate(values):
        refused = aligner.add(time_ns, channel, value, uncertain=uncertain) or refused
    return refused
