"""The grid rows of one aligned stream: from values at any time to the samples of its ring.

A value that is late by the grid is put in its place if the rate of its channel leaves room for one,
and the newest grid rows are computed again, for the windows to come:

    arrives   1 2 4 3 5        3 is missing at 4, and held
    rows      1 2 2 4          at 3: 1 2 3 4

    arrives   1 2 6 4 5 6      the first 6 had a wrong time: the last one replaces it
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgeai.streams.align import Aligner, SavedAligner
from edgeai.streams.cadence import Cadence
from edgeai.streams.grid_values import GridRow
from edgeai.streams.ring import Ring, SavedRing
from edgeai.streams.settings import NEVER_NS, StreamSettings

ROW = -1  # stands for a channel: all of them
SLIGHTLY_PERIODS = 2
"""Without a rate of its own, a value that is late by this many sample periods is put in place."""


class Arrival(NamedTuple):
    """One value of one channel, or one sample of all."""

    time_ns: int
    channel: int
    """ROW: the sample of all channels."""
    values: Sequence[float]
    uncertain: bool
    arrived_ns: int


class SavedGrid(NamedTuple):
    """What a grid was: samples, values, and the newest time of each rate."""

    ring: SavedRing
    was_broken: bool
    aligner: SavedAligner
    last_times: list[int]
    lacking: tuple[dict[int, int], int]


class Jump(NamedTuple):
    """A step ahead beyond the largest gap, and the state before it, as in `clock.Jump`."""

    first_ns: int
    newest_ns: int
    is_suspect: bool
    saved: SavedGrid
    arrivals: list[Arrival]
    gaps: int = 1
    is_doubtful: bool = False
    """Whether all values since the step are uncertain."""

    def is_return(self, time_ns: int) -> bool:
        """Return whether a value of this time goes on before the step."""
        return self.newest_ns < time_ns < self.first_ns


class Grid:
    """The grid rows of one stream, and the rates of its channels."""

    __slots__ = (
        "_channels", "_counts", "_drops", "_held_rows", "_lacking", "_lacking_to", "_ring",
        "_settings", "aligner", "cadences",
    )  # fmt: skip

    def __init__(
        self,
        settings: StreamSettings,
        ring: Ring,
        drops: dict[str, int],
        counts: dict[str, int],
    ) -> None:
        self._settings = settings
        self._channels = range(settings.channels)
        self._ring = ring
        self._drops, self._counts = drops, counts
        assert settings.align is not None
        self.aligner = Aligner(settings.align, settings.channels, settings.extras)
        self.cadences = self._new_cadences()
        """The rate of each channel, and last that of samples of all channels, which is at ROW."""
        self._held_rows: dict[int, tuple[int, ...]] = {}
        """Channels that count as substituted, by the time of the grid row, where there are any."""
        self._lacking: dict[int, int] = {}
        """Number of the first row from which on a channel counts as substituted, up to now."""
        self._lacking_to = 0
        """Number of the row after the last one that was looked at for that."""

    def _new_cadences(self) -> list[Cadence]:
        settings = self._settings
        gap_ns = settings.max_gap_ns
        declared = settings.intervals_ns or [*[None] * settings.signals, *[0] * settings.extras]
        cadences = [Cadence(gap_ns, declared_ns=interval_ns) for interval_ns in declared]
        for channel, cadence in enumerate(cadences):
            self.aligner.set_limits(channel, cadence.due_ns, cadence.hole_ns)
        return [*cadences, Cadence(gap_ns, prior_ns=settings.period_ns)]

    def channels_of(self, channel: int) -> range:
        """Return the channels of a value; of a sample of all channels, all."""
        return self._channels if channel == ROW else range(channel, channel + 1)

    def note_rate(self, channel: int, time_ns: int) -> None:
        """Note a step that is not regular; count what is missing."""
        cadence = self.cadences[channel]
        if time_ns <= cadence.last_ns:  # a newer value overtook it
            cadence.put_in_place(time_ns)
            return
        self._counts["missing"] += cadence.note(time_ns)
        for each in self.channels_of(channel):
            self.aligner.set_limits(each, cadence.due_ns, cadence.hole_ns)

    def push(self, *, everything: bool = False) -> None:
        """Push the grid rows that are complete to the ring; or all, because no value will come."""
        for row in self.aligner.take_rows(everything=everything):
            if row.held or row.uncertain:
                self._push_flagged(row)
            else:
                self._ring.push_one(row.time_ns, row.values)

    def _push_flagged(self, row: GridRow) -> None:
        """Push a grid row with values that were not measured as they should be."""
        time_ns, values, held, uncertain, unusable = row
        if unusable and self._settings.invalid == "drop":
            self._drops["invalid_value"] += 1
            return
        if held:
            self._held_rows[time_ns] = held
            while len(self._held_rows) > self._settings.length:
                del self._held_rows[next(iter(self._held_rows))]
        count = [len(held)] if held else None
        flag = [True] if uncertain else None
        self._note_lacking(held)
        self._ring.push([time_ns], np.array([values], np.float32), count, flag)

    def _note_lacking(self, held: tuple[int, ...]) -> None:
        """Note the channels that count as substituted in the next row; others have come again."""
        number, lacking = self._ring.next_number, self._lacking
        if number != self._lacking_to:
            lacking.clear()
        for channel in [one for one in lacking if one not in held]:
            del lacking[channel]
        for channel in held:
            lacking.setdefault(channel, number)
        self._lacking_to = number + 1
        is_whole = any(self._lacks_window(first) for first in lacking.values())
        self._ring.lacking = self._lacking_to if is_whole else -1

    def _lacks_window(self, first: int) -> bool:
        return self._lacking_to - first >= self._settings.length

    def held_channels(self) -> list[int]:
        """Return the channels of which no value came for a whole window or longer."""
        if self._lacking_to != self._ring.next_number:
            return []
        found = self._lacking.items()
        return sorted(channel for channel, first in found if self._lacks_window(first))

    # ---------------------------------------------------------------------------------- late values

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a value of this time is late and has no place, whichever its channel."""
        if not self.aligner.has_passed(time_ns):
            return False
        if self.cadences[ROW].last_ns != NEVER_NS:
            return not self._has_place(0, time_ns, self.cadences[ROW])
        pairs = zip(self._channels, self.cadences, strict=False)
        return not any(self._has_place(channel, time_ns, cadence) for channel, cadence in pairs)

    def _has_place(self, channel: int, time_ns: int, cadence: Cadence) -> bool:
        """Return whether a late value of a channel has a place that changes windows to come."""
        aligner = self.aligner
        neighbors = aligner.neighbors(channel, time_ns)
        if neighbors is None or not cadence.has_room(time_ns, *neighbors):
            return False
        period_ns = self._settings.period_ns or 1
        late_ns = aligner.returned_ns - time_ns
        if not cadence.period_ns and late_ns > SLIGHTLY_PERIODS * period_ns:
            return False
        after_ns = neighbors[1]
        if after_ns is None or after_ns > aligner.returned_ns:
            return late_ns <= aligner.limits.max_age_ns
        return -(-time_ns // period_ns) * period_ns >= self._oldest_ns()

    def reaches(self, time_ns: int) -> bool:
        """Return whether a value of this time would be in a window to come."""
        return time_ns > self._oldest_ns() - (self._settings.period_ns or 1)

    def _oldest_ns(self) -> int:
        """Return the oldest grid point of the windows to come."""
        settings = self._settings
        return self.aligner.returned_ns - (settings.length - 2) * (settings.period_ns or 1)

    def put_in_place(self, one: Arrival) -> bool:
        """Put a late value in its place if it has one; return whether it has."""
        time_ns, channel, values, uncertain, _ = one
        cadence = self.cadences[channel]
        if not self._has_place(max(channel, 0), time_ns, cadence):
            return False
        for each, value in zip(self.channels_of(channel), values, strict=True):
            neighbors = self.aligner.neighbors(each, time_ns)
            if neighbors is not None:
                self.aligner.values(each).insert(time_ns, value, uncertain=uncertain)
                self._revise(each, *neighbors)
                if value == value:  # noqa: PLR0124  not NaN
                    self._lacking.pop(each, None)
        self.note_rate(channel, time_ns)
        self._counts["reordered"] += 1
        return True

    def remove_suspect(self, channel: int, time_ns: int) -> None:
        """Remove a value whose time was wrong, as another one of this time shows."""
        cadence, aligner = self.cadences[channel], self.aligner
        suspect_ns = aligner.values(max(channel, 0)).between(*cadence.doubts(time_ns))
        if suspect_ns is None:
            return
        self._ring.implausible_ns = suspect_ns
        for each in self.channels_of(channel):
            aligner.values(each).remove(suspect_ns)
            neighbors = aligner.neighbors(each, suspect_ns)
            if neighbors is not None:
                self._revise(each, *neighbors)
        last_ns = aligner.values(max(channel, 0)).last_ns
        cadence.drop_suspect(NEVER_NS if last_ns is None else last_ns)
        self._drops["implausible_time"] += 1

    def _revise(self, channel: int, before_ns: int, after_ns: int | None) -> None:
        """Compute the grid rows between two values of a channel again."""
        aligner = self.aligner
        if not aligner.has_passed(before_ns + 1):
            return
        until_ns = aligner.returned_ns + 1 if after_ns is None else after_ns
        for at_ns, value, is_held, uncertain in aligner.revise(
            channel, before_ns, until_ns, self._oldest_ns()
        ):
            others = [each for each in self._held_rows.get(at_ns, ()) if each != channel]
            held = (*others, channel) if is_held else tuple(others)
            self._held_rows[at_ns] = held
            self._ring.amend(at_ns, channel, value, len(held), uncertain=uncertain)

    # --------------------------------------------------------------------------------- its state

    def save(self) -> SavedGrid:
        """Return a copy of its state."""
        times = [cadence.last_ns for cadence in self.cadences]
        return SavedGrid(
            self._ring.save(), self._ring.broken, self.aligner.save(), times,
            (dict(self._lacking), self._lacking_to),
        )  # fmt: skip

    def restore(self, saved: SavedGrid) -> None:
        """Go on from a copy of its state."""
        self._ring.restore(saved.ring)
        self._ring.broken = saved.was_broken
        self.aligner.restore(saved.aligner)
        self._lacking, self._lacking_to = saved.lacking
        for cadence, last_ns in zip(self.cadences, saved.last_times, strict=True):
            cadence.restart()
            cadence.last_ns = last_ns

    def windows_since_start(self) -> tuple[int, int] | None:
        """Return the times of the first and the last window since the ring was emptied."""
        ring, length = self._ring, self._settings.length
        if ring.size < length or self._settings.cycle is not None:
            return None  # no window, or cycles, of which none is a window twice
        first_ns = ring.time_at(ring.size - length)
        return first_ns, ring.last_ns

    def settle(self) -> None:
        """Count what is missing in open holes: the stream ends here."""
        for cadence in self.cadences:
            self._counts["missing"] += cadence.settle(None)

    def restart(self) -> None:
        """Empty the window after a gap; each channel keeps its last value and its rate."""
        self._ring.clear()
        self._ring.broken = True
        self.aligner.restart()
        for cadence in self.cadences:
            self._counts["missing"] += cadence.restart()

    def clear(self) -> None:
        """Empty the window, and forget all values: after the clock went back they look new."""
        self.restart()
        self.aligner.clear()
        self._held_rows.clear()

    def forget(self) -> None:
        """Forget all values: the stream begins again, as if there had been none."""
        was_broken = self._ring.broken
        self.clear()
        self._ring.broken = was_broken
        self._ring.forget()

    def recover(self, *, everything: bool) -> None:
        """Forget all but the last value of each channel, and with `everything` that too."""
        self._held_rows.clear()
        if everything:
            self.aligner.clear()
        else:
            self.aligner.restart()
        self.cadences = self._new_cadences()
