"""The context of a window: values such as recipe, material or tool, as of the window's end."""

from collections.abc import Sequence

import numpy as np

from edgeai.streams.kept_samples import KeptSamples
from edgeai.streams.settings import (
    ContextRule,
    Floats,
)
from edgeai.streams.side import Mark
from edgeai.streams.tracks import Times, Track

FOREVER_NS = 1 << 62


class ContextReader:
    """Reads the context of one stream's windows."""

    __slots__ = (
        "_columns", "_last", "_sides", "is_uncertain", "rules", "values",
    )  # fmt: skip

    def __init__(
        self,
        rules: Sequence[ContextRule],
        tracks: Sequence[Track],
        leading_places: Sequence[int],
    ) -> None:
        """Find where each value comes from.

        Args:
            rules: (K,).
            tracks: Those of the stream, with all their places.
            leading_places: (k,) places of the channels of the leading source; empty: none leads.
        """
        self.rules = tuple(rules)
        self.values = np.zeros(len(self.rules), np.float32)
        """(K,)"""
        self.is_uncertain = False
        """Whether one of them is in doubt."""
        self._columns: dict[int, int] = {}
        """Channel of the leading source by number of the value."""
        self._last: dict[int, tuple[float, int]] = {}
        """The last usable value of each of these, and its time."""
        self._sides: dict[int, tuple[Track, int]] = {}
        """Track and its channel by number of the value."""
        for number, rule in enumerate(self.rules):
            if rule.place in leading_places:
                self._columns[number] = list(leading_places).index(rule.place)
                continue
            for track in tracks:
                if rule.place in track.places:
                    channel = track.places.tolist().index(rule.place)
                    self._sides[number] = track, channel

    def waiting_for(self, leading: KeptSamples | None) -> list[int]:
        """Return the places of values that have not come, without which there is no window.

        Args:
            leading: The newest samples of the leading source; None: none leads.
        """
        found = []
        for number, rule in enumerate(self.rules):
            if number in self._sides:
                track, channel = self._sides[number]
                is_known = track.value_at(channel, 0, FOREVER_NS) is not None
            else:
                assert leading is not None
                column = leading.recent[:, self._columns[number]]
                is_known = number in self._last or not np.isnan(column).all()
            if not is_known and rule.default is None:
                found.append(rule.place)
        return found

    def read(self, times: Times, leading: Floats | None) -> dict[int, Mark] | None:
        """Set `values` to those at the end of a window, and `is_uncertain`.

        Args:
            times: (W,) of the window's samples.
            leading: (W, k) the samples of the leading source; None: none leads.

        Returns:
            What is wrong, by place; None if a value has not come yet that has no default.
        """
        marks: dict[int, Mark] = {}
        self.is_uncertain = False
        for number, rule in enumerate(self.rules):
            found = self._find(number, times, leading)
            if found is None:
                if rule.default is None:
                    return None
                self.values[number] = rule.default
                marks[rule.place] = "missing"
                continue
            value, age_ns, has_changed, is_unusable = found
            self.values[number] = value
            if is_unusable:
                marks[rule.place] = "missing"
            elif age_ns is not None and rule.max_age_ns is not None and age_ns > rule.max_age_ns:
                marks[rule.place] = "old"
            elif has_changed:
                marks[rule.place] = "changed"
            if not rule.low <= value <= rule.high:
                self.is_uncertain = True
        self.is_uncertain = self.is_uncertain or bool(marks)
        return marks

    def _find(
        self, number: int, times: Times, leading: Floats | None
    ) -> tuple[float, int | None, bool, bool] | None:
        """Return value, age, whether it has changed and is unusable; None: none has come."""
        last_ns = int(times[-1])
        if number in self._sides:
            track, channel = self._sides[number]
            found = track.value_at(channel, int(times[0]), last_ns)
            if found is None:
                return None
            value, time_ns, has_changed, is_unusable = found
            return value, None if time_ns is None else last_ns - time_ns, has_changed, is_unusable
        assert leading is not None
        column = leading[:, self._columns[number]]
        usable = np.flatnonzero(~np.isnan(column))
        before = self._last.get(number)
        if len(usable):
            newest = usable[-1]
            self._last[number] = float(column[newest]), int(times[newest])
        if number not in self._last:
            return None
        value, time_ns = self._last[number]
        has_changed = bool((column[usable] != value).any())
        if before is not None and np.isnan(column[0]) and before[1] < int(times[0]):
            has_changed = has_changed or before[0] != value
        return value, last_ns - time_ns, has_changed, False
