"""The last good values of one stream: they stand for values that cannot be used."""

import numpy as np

from edgeai.streams.conditioning import Flags
from edgeai.streams.held import HeldSignals
from edgeai.streams.ring import Ring
from edgeai.streams.settings import Floats, StreamSettings, Times


class GoodValues:
    """Appends samples in order to a ring, with a usable value in each place."""

    __slots__ = ("_drops", "_ring", "_settings", "_signals", "last")

    def __init__(self, settings: StreamSettings, ring: Ring, drops: dict[str, int]) -> None:
        """Start without a value.

        Args:
            settings: The stream's.
            ring: The stream's.
            drops: Counts dropped samples by reason.
        """
        self._settings = settings
        self._signals = settings.signals
        """Channels whose values are replaced: the model's."""
        self._ring = ring
        self._drops = drops
        self.last = np.full(settings.channels, np.nan, np.float32)
        """(C,) the last good value of each channel, NaN before the first. If the ring holds any
        sample, that is newer."""

    def append(
        self,
        times: Times,
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
        ends: list[int] | None = None,
    ) -> None:
        """Replace the unusable values of samples that are in order, and push them to the ring.

        Args:
            times: (n,) nanoseconds, rising.
            rows: (n, C) float32.
            invalid: (n, C), True for each value that cannot be used; None: all can be used.
            uncertain: (n,) whether a value is outside its valid range; None: all False.
            ends: After how many samples windows end; None: the ring decides.
        """
        flags = None if uncertain is None else uncertain.tolist()
        if invalid is not None and self._settings.extras:
            invalid = invalid[:, : self._signals]
            invalid = invalid if invalid.any() else None
        if invalid is None:
            self._ring.push(times, rows, None, flags, ends)
            return
        last = frozenset(ends or ())
        for index, time_ns in enumerate(map(int, times)):
            row = rows[index].copy()
            substituted = self._substitute(row, invalid[index])
            if substituted is None:
                self._drops["invalid_value"] += 1
                self._ring.refuse(time_ns)
                continue
            flag = None if flags is None else flags[index : index + 1]
            self._note(invalid[index])
            here = None if ends is None else [1] if index + 1 in last else []
            self._ring.push([time_ns], row[np.newaxis], [substituted], flag, here)

    def empty(self) -> None:
        """Empty the ring, and keep the last good values."""
        self.update()
        self._ring.clear()

    def save(self) -> Floats:
        """Return a copy of its values, (C,)."""
        self.update()
        return self.last.copy()

    def restore(self, saved: Floats) -> None:
        """Go on from a copy of its values."""
        self.last[:] = saved

    def update(self) -> None:
        """Bring `last` up to date."""
        if self._ring.size:
            self.last[:] = self._ring.newest

    def usable(self) -> Floats | None:
        """Return the last good values, (C,); None if a channel of the model has had none."""
        self.update()
        return None if np.isnan(self.last[: self._signals]).any() else self.last

    def held_channels(self) -> list[int]:
        """Return the channels that have had no good value for a whole window or longer."""
        held = self._ring.held
        if held is None or not self._ring.is_filled_from(held.noted):
            return []
        return held.since(self._ring.next_number - self._settings.length)

    def _note(self, invalid: Flags) -> None:
        """Note the unusable values of the next sample (C,): a channel may lack a whole window.

        A sample that was not looked at has only good values, unless it was filled because it did
        not come.
        """
        ring = self._ring
        held = ring.held = ring.held or HeldSignals(self._signals)
        held.note(ring.next_number, invalid, is_continued=ring.is_filled_from(held.noted))
        ring.note_held()

    def _substitute(self, row: Floats, invalid: Flags) -> int | None:
        """Replace the model's unusable values of a sample (C,) by the last good ones, in place.

        Returns the number of replaced values; None if the sample must be dropped, by policy or
        because a channel has not had a good value yet.
        """
        self.update()
        last = self.last[: self._signals]
        row = row[: self._signals]
        np.copyto(last, row, where=~invalid)
        count = int(invalid.sum())
        if not count:
            return 0
        if self._settings.invalid == "drop" or np.isnan(last[invalid]).any():
            return None
        np.copyto(row, last, where=invalid)
        return count
