"""The values of one source, or of one tag, at the times of a window.

A `Track` reads the ring of a `SideStream`: for each time of a window the last value (`hold`), or
the value on the line between two (`linear`). It says which of them stand for values that are
missing, late or too old. It reads a whole window at once, so that a signal at 1 Hz beside a
waveform at 2 kHz costs a few calls a window, and nothing for each sample.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.streams.settings import (
    NEVER_NS,
    Floats,
    SourceSpec,
    TrackRule,
)
from edgeai.streams.side import Mark, SideStream
from edgeai.streams.tag_streams import Side

Times = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Joined(NamedTuple):
    """What a track has at the times of a window."""

    values: Floats
    """(W, k), or (k,) if all are the same."""
    substituted: Flags | None
    """(W,) which of them stand for others; None: none does."""
    mark: Mark | None
    """Why, at the newest of them."""
    uncertain: bool
    """Whether one was outside its valid range."""
    bad_channels: Sequence[int] | None = None
    """Of which channels only; None: of all."""


class Track:
    """The channels of a source that share their times: those of a row or a frame, or one tag."""

    __slots__ = ("_channel", "_held", "places", "rule", "signals", "stream", "target")

    def __init__(
        self,
        stream: SideStream,
        places: Sequence[int],
        channels: int,
        rule: TrackRule,
        *,
        held: dict[int, float] | None = None,
        channel: int = 0,
    ) -> None:
        """Read a stream.

        Args:
            stream: Keeps the samples.
            places: (k,) for each channel its place among all that are joined, rising.
            channels: Of the model, C: these are the first places.
            rule: How to read them.
            held: Values without a time by channel (`TagStreams.held`); None: it has none.
            channel: The tag's channel there.
        """
        self.stream = stream
        self.places = np.array(places, np.intp)
        first, count = places[0], len(places)
        is_row = tuple(places) == tuple(range(first, first + count))
        self.target = slice(first, first + count) if is_row else self.places
        """The places, as an index of a sample: a slice is faster."""
        self.signals = sum(place < channels for place in places)
        """How many of the channels, the first ones, are the model's."""
        self.rule = rule
        self._held = held if held is not None else {}
        self._channel = channel

    @property
    def newest_ns(self) -> int:
        """The time of the newest sample; NEVER_NS before the first."""
        return self.stream.ring.last_ns

    @property
    def has_value(self) -> bool:
        """Whether there is a value to hold."""
        return self.stream.ring.size > 0 or self._channel in self._held

    def knows(self, time_ns: int) -> bool:
        """Return whether there is a value as of a time, or the values of then are gone."""
        ring = self.stream.ring
        if self._channel in self._held:
            return True
        return ring.size > 0 and (ring.first_number > 0 or ring.time_at(ring.size - 1) <= time_ns)

    def read(self, times: Times, first_ns: int, last_ns: int) -> Joined | None:
        """Return what it has at some times; None if it has no value yet.

        Args:
            times: (W,) nanoseconds, rising.
            first_ns: The first of them.
            last_ns: The last.
        """
        ring, held = self.stream.ring, self._held.get(self._channel)
        if not ring.size:
            return None if held is None else Joined(np.array([held], np.float32), None, None, True)
        end = ring.count_until(last_ns)
        if end and self.rule.method == "hold" and not ring.flagged:
            back = ring.size - end
            since_ns = ring.time_at(back)
            limit_ns = min(self.rule.max_age_ns, self.stream.cadence.due_ns)
            if since_ns <= first_ns and last_ns - since_ns <= limit_ns:
                return Joined(ring.recent[end - 1], None, None, False)
        index = ring.recent_times.searchsorted(times, "right") - 1
        return self._read_each(times, index)

    def value_at(
        self, channel: int, first_ns: int, last_ns: int
    ) -> tuple[float, int | None, bool, bool] | None:
        """Return the value of one channel of the stream as of a time.

        Args:
            channel: Its index in the stream.
            first_ns: Since when to look for a change,
            last_ns: and the time of the value.

        Returns:
            The value, its time (None: not known), whether it has changed since, and whether it
            stands for one that could not be used; None if there is none.
        """
        ring, held = self.stream.ring, self._held.get(self._channel)
        known = ring.recent_times
        end = int(known.searchsorted(last_ns, "right"))
        if not end:
            return None if held is None else (held, None, False, False)
        begin = max(0, int(known.searchsorted(first_ns, "right")) - 1)
        column = ring.recent[:end, channel]
        usable = np.flatnonzero(~np.isnan(column))
        if not len(usable):
            return None if held is None else (held, None, False, False)
        end = int(usable[-1]) + 1
        value = column[end - 1]
        column = column[min(begin, end - 1) : end]
        unusable_ns = self.stream.unusable.last_ns.get(channel, NEVER_NS)
        is_unusable = unusable_ns >= known[end - 1]
        has_changed = bool(((column != value) & ~np.isnan(column)).any())
        if known[begin] > first_ns and held is not None and held != value:
            has_changed = True
        return float(value), int(known[end - 1]), has_changed, is_unusable

    def _read_each(self, times: Times, index: npt.NDArray[np.intp]) -> Joined:
        """Return the values and their flags at each time.

        Args:
            times: (W,).
            index: (W,) the last sample at or before each, -1 before the first.
        """
        ring, cadence, rule = self.stream.ring, self.stream.cadence, self.rule
        known, rows = ring.recent_times, ring.recent
        before = index < 0
        index = np.maximum(index, 0)
        values = rows[index]
        age = times - known[index]
        after = np.minimum(index + 1, len(known) - 1)
        is_open = after == index
        """Whether no later value is there yet."""
        step = np.where(is_open, NEVER_NS, known[after] - known[index])
        old = age > rule.max_age_ns
        due = age > cadence.due_ns
        late = due & is_open & (age >= cadence.hole_ns) & ~old
        missing = due & (step >= cadence.hole_ns) & ~old
        uncertain = False
        if rule.method == "linear":
            between = ~is_open & (age > 0) & ~before
            too_far = between & (step > rule.max_age_ns)
            old = old | too_far
            line = between & ~too_far
            if line.any():
                share = (age[line] / step[line])[:, np.newaxis]
                low, high = rows[index[line]].astype(np.float64), rows[after[line]]
                values = values.copy()
                values[line] = (low + (high - low) * share).astype(np.float32)
            late = late | (is_open & (age > 0) & ~old)
            missing &= ~old
        if before.any():
            held = self._held.get(self._channel)
            if held is None:
                missing = missing | before
            else:
                values = values.copy()
                values[before] = held
                uncertain = True
        if ring.flagged:
            substituted, marked = ring.recent_flags
            missing = missing | ((substituted[index] > 0) & ~old)
            uncertain = uncertain or bool(marked[index].any())
        any_substituted = old | late | missing
        if not any_substituted.any():
            return Joined(values, None, None, uncertain)
        last = int(np.flatnonzero(any_substituted)[-1])
        mark: Mark = "old" if old[last] else "late" if late[last] else "missing"
        bad: Sequence[int] | None = None
        if mark == "missing" and not (old.any() or late.any() or before.any()):
            bad = self._unusable_channels(index)
        return Joined(values, any_substituted, mark, uncertain, bad)

    def _unusable_channels(self, index: npt.NDArray[np.intp]) -> Sequence[int] | None:
        """Return the channels with unusable values in some samples; None if samples are missing.

        Args:
            index: Of the samples.
        """
        ring = self.stream.ring
        if not ring.flagged:
            return None
        substituted, _ = ring.recent_flags
        if (substituted[index] == self.signals).any():
            return None
        return self.stream.unusable.since(int(ring.recent_times[index[0]]))


def tracks_of(side: Side, spec: SourceSpec, signals: int) -> list[Track]:
    """Return the tracks of a source: one of all its channels, or one of each tag."""
    assert spec.rule is not None
    if isinstance(side, SideStream):
        return [Track(side, spec.places, signals, spec.rule)]
    return [
        Track(one, [place], signals, spec.rule, held=side.held, channel=channel)
        for channel, (one, place) in enumerate(zip(side.of_channel, spec.places, strict=True))
    ]
