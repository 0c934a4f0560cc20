"""Samples at any time to samples on the model's grid, by holding or by linear interpolation.

The grid is whole multiples of the model's sample period since 1970, so that it does not depend on
when edgeai was started, and a replay lands on the same points as the live run. A grid point is
given out once the watermark (the newest time seen, less the allowed lateness) has passed it: from
then on what is older is late.
"""

import math
from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True)
class AlignSettings:
    """How to align. Times in nanoseconds."""

    method: Literal["hold", "linear"]
    period_ns: int
    max_age_ns: int
    lateness_ns: int


GOOD, DOUBTFUL, LOST = 0, 1, 2
"""Of a value: measured; measured outside its valid range; not usable, the one before it stands."""


class GridRow(NamedTuple):
    """One sample on the grid."""

    time_ns: int
    values: list[float]
    """(C,) all finite."""
    substituted: int
    """How many of them were not measured: not usable since, or older than the maximum age."""
    doubtful: bool
    """Whether one of them comes of a value outside its valid range."""


class Aligner:
    """The alignment of one stream of C channels."""

    __slots__ = ("_channels", "_next_ns", "_settings", "newest_ns")

    def __init__(self, settings: AlignSettings, channels: int) -> None:
        self._settings = settings
        self._channels: list[deque[tuple[int, float, int]]] = [deque() for _ in range(channels)]
        """Of each channel: time, value and GOOD, DOUBTFUL or LOST, oldest first."""
        self._next_ns: int | None = None
        self.newest_ns: int | None = None
        """The newest time seen; None before the first sample."""

    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet."""
        return [index for index, queue in enumerate(self._channels) if not queue]

    def add(
        self, time_ns: int, channel: int, value: float, *, doubtful: bool = False
    ) -> Literal["late", "duplicate"] | None:
        """Take one value of one channel, or say why it was not placed.

        NaN says that the channel has no usable value from then on: the last one stands, marked.
        """
        if self.has_passed(time_ns):
            return "late"
        if self.newest_ns is None or time_ns > self.newest_ns:
            self.newest_ns = time_ns
        queue = self._channels[channel]
        if any(time_ns == at for at, _, _ in queue):
            return "duplicate"
        mark = DOUBTFUL if doubtful else GOOD
        if math.isnan(value):
            before = [held for at, held, _ in queue if at < time_ns]
            if not before:
                return None  # nothing to hold: the channel still waits for its first value
            value, mark = before[-1], LOST
        insort(queue, (time_ns, value, mark))
        if self._next_ns is None and len(queue) > 1:
            queue.popleft()  # until every channel has a value, only the newest matters
        return None

    def rows(self, *, everything: bool = False) -> list[GridRow]:
        """Return the grid points that the watermark has passed, oldest first.

        Args:
            everything: The stream ends or breaks here: also those up to the newest time.
        """
        if self.newest_ns is None:
            return []
        settings = self._settings
        if self._next_ns is None:
            if self.waiting_for():
                return []
            started = max(queue[0][0] for queue in self._channels)
            self._next_ns = -(-started // settings.period_ns) * settings.period_ns
        watermark = self.newest_ns + 1 if everything else self.newest_ns - settings.lateness_ns
        given = []
        while self._next_ns < watermark:
            row = self._row(self._next_ns, watermark, final=everything)
            if row is None:
                break
            given.append(row)
            self._next_ns += settings.period_ns
        return given

    def has_passed(self, time_ns: int) -> bool:
        """Whether the grid has been given out up to this time."""
        return self._next_ns is not None and time_ns <= self._next_ns - self._settings.period_ns

    def restart(self) -> None:
        """Forget the grid and the clock after a gap; the last value of each channel stays."""
        self._next_ns = None
        self.newest_ns = None
        for queue in self._channels:
            while len(queue) > 1:
                queue.popleft()

    def forget(self) -> None:
        """Forget everything: the clock went back, so that old values would look new."""
        self.restart()
        for queue in self._channels:
            queue.clear()

    def _row(self, at: int, watermark: int, *, final: bool) -> GridRow | None:
        """Return the values at a grid point, or None while an interpolation must wait."""
        settings = self._settings
        values = []
        substituted = 0
        doubtful = False
        for queue in self._channels:
            while len(queue) > 1 and queue[1][0] <= at:
                queue.popleft()
            since, value, mark = queue[0]
            if settings.method == "hold" or since == at:
                if at - since > settings.max_age_ns or mark == LOST:
                    substituted += 1
            elif len(queue) > 1 and queue[1][0] <= watermark:  # no nearer one can still come
                until, following, next_mark = queue[1]
                mark = max(mark, next_mark)
                if until - since > settings.max_age_ns or mark == LOST:
                    substituted += 1
                else:
                    value += (following - value) * ((at - since) / (until - since))
            elif final or watermark - since > settings.max_age_ns:
                substituted += 1
            else:
                return None
            values.append(value)
            doubtful = doubtful or mark == DOUBTFUL
        return GridRow(at, values, substituted, doubtful)


def align_row(
    aligner: Aligner, time_ns: int, values: Sequence[float], *, doubtful: bool
) -> str | None:
    """Take one sample of all channels; a NaN channel keeps its last value, marked."""
    outcome = None
    for channel, value in enumerate(values):
        outcome = aligner.add(time_ns, channel, value, doubtful=doubtful) or outcome
    return outcome
