"""A buffer of one stream's newest samples that emits a window for each cycle when it has ended.

It stands in the place of `streams.ring.Ring`: streams put samples in order, fill holes and find
gaps as for sliding windows, and append the result here. A late sample that takes its place changes
the cycles that have not ended, as if it had come in order.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite

import numpy as np
import numpy.typing as npt

from edgeai.streams.cycles.fitting import Samples
from edgeai.streams.cycles.segments import Segment, Segments
from edgeai.streams.cycles.settings import LARGEST_NUMBER, Cycle, CycleSettings, Edges, Outcome
from edgeai.streams.cycles.windows import CycleWindows, joined
from edgeai.streams.ring import RATE_TOLERANCE, Ring, SavedRing
from edgeai.streams.settings import NEVER_NS, Emit, Floats, StreamSettings, Times

ALWAYS = 1 << 62
"""The flags of samples are always kept up to date."""


class CycleRing(Ring):
    """The newest samples of a stream, (n, C + A) float32; emits a window (W, C) for each cycle."""

    __slots__ = (
        "_base", "_cycle", "_finder", "_is_new", "_newest_ns", "_parts", "_waiting", "cycles",
    )  # fmt: skip

    def __init__(self, settings: StreamSettings, emit: Emit, cycles: CycleWindows) -> None:
        """Start without a sample.

        Args:
            settings: With `cycle`; `length` is its `reach`.
            emit: Called with each window.
            cycles: Makes the windows.
        """
        assert settings.cycle is not None
        self._cycle: CycleSettings = settings.cycle
        self.cycles = cycles
        self._finder = _Finder(self._new_edges(), Segments(self._cycle), 0)
        """Has seen the newest sample."""
        self._base = self._finder.copy()
        """Has seen the samples up to the last cycle that has ended, or up to the oldest: what comes
        after them is found again when a late sample has taken its place there."""
        self._waiting: list[Segment] = []
        """Cycles that have ended, while samples after them are awaited."""
        self._parts: list[Samples] = []
        """Samples of the open cycle before gaps, where broken cycles are windows."""
        self._newest_ns = NEVER_NS
        """Time of the last sample that was appended, also after the clock was set back."""
        self._is_new = True
        """Whether the samples begin, or begin again, without one before."""
        super().__init__(settings, emit)

    @property
    def has_emitted(self) -> bool:
        """Whether a window was emitted."""
        return self.cycles.has_emitted

    def _new_edges(self) -> Edges:
        assert self._cycle.new_edges is not None
        return self._cycle.new_edges()

    # -------------------------------------------------------------------------------------- append

    def push(
        self,
        times: Times,
        rows: Floats,
        substituted: Sequence[int] | None,
        uncertain: Sequence[bool] | None,
        ends: Sequence[int] | None = None,  # noqa: ARG002  windows end where cycles do
    ) -> None:
        """Append samples in time order and emit the window of each cycle that has ended."""
        if int(times[0]) <= self._newest_ns or self.last_ns == NEVER_NS:
            self._begin_again()
        total, taken = len(times), 0
        while taken < total:
            if self.size == self._capacity:
                self.cycles.on_samples(self._times[self.size - self._keep - 1])
                self._move_base()
                self._move_to_front()
            count = min(total - taken, self._capacity - self.size)
            old, end = self.size, self.size + count
            target, block = slice(old, end), slice(taken, taken + count)
            self._rows[target] = rows[block]
            self._set_times(old, times[block])
            self._substituted[target] = 0 if substituted is None else substituted[block]
            self._uncertain[target] = False if uncertain is None else uncertain[block]
            self.size = end
            taken += count
            self._settle(self._feed(self._finder))
        self.last_ns = self._newest_ns = int(times[-1])
        segments = self._finder.segments
        self.cycles.open_since_ns = segments.start_ns if segments.is_open else None
        if not segments.is_ending:  # else the last samples may be after the cycle
            self.cycles.on_samples(self.last_ns)

    def push_few(self, times: list[int], values: memoryview, begin: int, stop: int) -> bool:
        """Append a few samples without flags, as `push` does; return True."""
        channels = self._settings.channels
        flat = np.frombuffer(values, np.float32)[begin * channels : stop * channels]
        self.push(times, flat.reshape(-1, channels), None, None)
        return True

    def push_one(self, time_ns: int, row: Sequence[float]) -> None:
        """Append one sample (C + A,) without flags, as `push` does."""
        self.push([time_ns], np.array([row], np.float32), None, None)

    def _feed(self, finder: "_Finder") -> list[Segment]:
        """Give a finder the samples that it lacks; return the cycles that have ended."""
        begin, end = finder.number - self._before, self.size
        rows = self._rows[begin:end]
        is_filled = self._substituted[begin:end] >= self._cycle.channels
        if is_filled.any():  # they were not measured, so they show no edge
            rows = rows.copy()
            rows[is_filled] = np.nan
        return finder.feed(self._clock[begin:end], rows)

    def _move_base(self) -> None:
        """Let `_base` see the samples that will leave the memory."""
        leaving = self.next_number - self._keep
        if self._base.number < leaving:
            size, self.size = self.size, leaving - self._before
            self._feed(self._base)
            self.size = size

    def look_back(self, until_ns: int, after_ns: int) -> tuple[int, Times, Floats]:
        """Return the samples up to a time that were not looked at, as `KeptSamples.look_back` does.

        The window's first sample is that of the last window that was made.
        """
        end = bisect_right(self._times, until_ns, 0, self.size)
        begin = min(end, bisect_right(self._times, after_ns, 0, end))
        if self.size and after_ns > self._times[self.size - 1]:  # time went back
            begin = 0
        return self.cycles.first_ns, self._times[begin:end], self._rows[begin:end]

    def flush(self) -> None:
        """End the open cycle and those that wait: no sample will come."""
        self._give_up("unfinished", self._settings.period_ns or 0)
        self._base = self._finder.copy()

    def _give_up(self, outcome: Outcome, after_ns: int) -> None:
        """End the open cycle and those that wait, because their ends cannot come."""
        end_ns = self._newest_ns + after_ns
        self._waiting += self._finder.segments.give_up(outcome, self.next_number, end_ns)
        self._end_waiting()
        self.cycles.open_since_ns = None

    # ------------------------------------------------------------------------- gaps, late samples

    def clear(self) -> None:
        """Forget the samples, but not the time of the newest: some are missing before the next."""
        self._waiting += self._finder.segments.interrupt()
        self._end_waiting()
        if self._finder.segments.is_open and self._cycle.keeps_unusual and self.size:
            self._keep_part()
        if self.size:
            self.cycles.on_samples(self._times[self.size - 1])
        super().clear()
        self.flagged = ALWAYS
        self._finder.number = self.next_number
        self._base = self._finder.copy()

    def forget(self) -> None:
        """Forget all samples: they will come again, with other times."""
        self._finder = _Finder(self._new_edges(), Segments(self._cycle), self.next_number)
        self._waiting.clear()
        self._parts.clear()
        self._is_new = True
        self._newest_ns = NEVER_NS
        super().forget()

    def _begin_again(self) -> None:
        """Note that the next sample has no one before it: the first, or the clock was set back."""
        if not self._is_new:
            self._give_up("broken", 0)
            self.cycles.forget()
            self._base = self._finder.copy()
        self._is_new = False

    def _keep_part(self) -> None:
        """Keep the samples of the open cycle, as many as a cycle may have."""
        first = max(self._finder.segments.first, self._before)
        room = self._cycle.max_samples - sum(len(part.times) for part in self._parts)
        part = self._samples(first, min(self.next_number, first + max(0, room)))
        if len(part.times):
            self._parts.append(part)

    def overwrite(self, number: int, time_ns: int, row: Floats, *, uncertain: bool) -> bool:
        """Replace a filled sample as `KeptSamples.overwrite` does, and find the cycles again."""
        is_used = super().overwrite(number, time_ns, row, uncertain=uncertain)
        if is_used and number >= self._base.number:
            self._find_again()
        return is_used

    def amend(
        self, time_ns: int, channel: int, value: float, substituted: int, *, uncertain: bool
    ) -> None:
        """Replace one value as `KeptSamples.amend` does, and find the cycles again."""
        super().amend(time_ns, channel, value, substituted, uncertain=uncertain)
        newest = self._base.number - 1 - self._before
        if newest < 0 or (newest < self.size and self._times[newest] < time_ns):
            self._find_again()

    def take_back(self, count: int, after: int = 1) -> None:
        """Remove samples as `KeptSamples.take_back` does, and find the cycles again."""
        super().take_back(count, after)
        self._base.shorten(self.next_number)
        self._waiting = [one._replace(end=min(one.end, self.next_number)) for one in self._waiting]
        self._find_again()

    def _find_again(self) -> None:
        """Find the cycles again from `_base` on. What has ended before stays as it is."""
        self._finder = self._base.copy()
        self._settle(self._feed(self._finder))

    # ---------------------------------------------------------------------------------------- emit

    def _settle(self, found: list[Segment]) -> None:
        """End the cycles that need no further sample."""
        if found:
            self._waiting += found
            self._base = self._finder.copy()
        while self._waiting and self._has_all(self._waiting[0]):
            self._end(self._waiting.pop(0))

    def _end_waiting(self) -> None:
        """End the cycles that wait: the samples after them do not come."""
        waiting, self._waiting = self._waiting, []
        for segment in waiting:
            self._end(segment)
        if not self._finder.segments.is_open:
            self._parts.clear()

    def _has_all(self, segment: Segment) -> bool:
        """Return whether the samples after a cycle have come."""
        post_ns = self._cycle.post_ns
        return not post_ns or (
            self.size > 0 and self._times[self.size - 1] >= segment.end_ns + post_ns
        )

    def _end(self, segment: Segment) -> None:
        """Tell a cycle that has ended, and emit its window."""
        samples = self._samples_of(segment)
        outcome: Outcome = segment.outcome
        if outcome == "complete" and not (
            self._has_all(segment) and self._reaches_back(samples, segment.start_ns)
        ):
            outcome = "broken"
        count = segment.end - segment.first
        cycle = Cycle(self._number_of(segment), segment.start_ns, segment.end_ns, outcome, count)
        made = self.cycles.make(cycle, samples)
        if made is not None:
            self.emit(*made)

    def _samples_of(self, segment: Segment) -> Samples:
        """Return the samples of a cycle, with those before and after it."""
        cycle, times = self._cycle, self._clock[: self.size]
        first, end = segment.first, segment.end
        if cycle.pre_ns:
            wanted_ns = segment.start_ns - cycle.pre_ns
            first = min(first, self._before + int(np.searchsorted(times, wanted_ns)))
        if cycle.post_ns:
            until_ns = segment.end_ns + cycle.post_ns
            end = max(end, self._before + int(np.searchsorted(times, until_ns)))
        samples = self._samples(first, end)
        if not self._parts or segment.outcome == "start_unseen":
            return samples
        parts, self._parts = self._parts, []
        return joined([*parts, samples] if len(samples.times) else parts)

    def _samples(self, first: int, end: int) -> Samples:
        """Return samples by their numbers, as far as they are here."""
        begin = min(self.size, max(0, first - self._before))
        chosen = slice(begin, min(self.size, max(begin, end - self._before)))
        return Samples(
            self._clock[chosen].copy(),
            self._rows[chosen, : self._cycle.channels].copy(),
            self._substituted[chosen].copy(),
            self._uncertain[chosen].copy(),
        )

    def _reaches_back(self, samples: Samples, start_ns: int) -> bool:
        """Return whether no sample before the start is missing that the window should have."""
        pre_ns, period_ns = self._cycle.pre_ns, self._settings.period_ns
        if not pre_ns or not len(samples.times):
            return True
        late_ns = int(samples.times[0]) - (start_ns - pre_ns)
        if period_ns is not None:
            return late_ns <= RATE_TOLERANCE * period_ns
        return not late_ns or self._times[0] < samples.times[0]

    def _number_of(self, segment: Segment) -> int | None:
        """Return the number of a cycle: what its signal says at its last sample, or its count."""
        channel = self._cycle.number
        if channel is None:
            return segment.started
        index = segment.end - 1 - self._before
        if not 0 <= index < self.size or segment.first == segment.end:
            return None
        value = float(self._rows[index, channel])
        is_whole = isfinite(value) and value == round(value) and abs(value) < LARGEST_NUMBER
        return round(value) if is_whole else None

    # ------------------------------------------------------------------------------------ its state

    def save(self) -> "SavedCycleRing":
        """Return a copy of what the ring holds."""
        saved = super().save()
        return SavedCycleRing(
            **{field.name: getattr(saved, field.name) for field in fields(SavedRing)},
            finder=self._finder.copy(),
            base=self._base.copy(),
            waiting=tuple(self._waiting),
            parts=tuple(self._parts),
        )

    def restore(self, saved: SavedRing) -> None:
        """Hold again what it held when it was saved."""
        assert isinstance(saved, SavedCycleRing)
        super().restore(saved)
        self._newest_ns = saved.last_ns
        self._finder, self._base = saved.finder.copy(), saved.base.copy()
        self._waiting, self._parts = list(saved.waiting), list(saved.parts)


class _Finder:
    """Edges and segments of a stream, up to the sample of a number."""

    __slots__ = ("edges", "number", "segments")

    def __init__(self, edges: Edges, segments: Segments, number: int) -> None:
        self.edges, self.segments, self.number = edges, segments, number

    def copy(self) -> "_Finder":
        return _Finder(self.edges.copy(), self.segments.copy(), self.number)

    def feed(self, times: npt.NDArray[np.int64], rows: Floats) -> list[Segment]:
        """Take the next samples; return the cycles that have ended."""
        if not len(times):
            return []
        starts, ends = self.edges.find(rows)
        found = self.segments.feed(self.number, times, starts, ends)
        self.number += len(times)
        return found

    def shorten(self, total: int) -> None:
        """Note that the newest of the samples that it has seen has another number: the last one.

        Args:
            total: How many samples there are now.
        """
        if self.number > total:
            self.number = total
            self.segments.first = min(self.segments.first, total - 1)
            self.segments.end = min(self.segments.end, total - 1)


@dataclass(frozen=True)
class SavedCycleRing(SavedRing):
    """What a ring of cycles held."""

    finder: _Finder
    base: _Finder
    waiting: tuple[Segment, ...]
    parts: tuple[Samples, ...]
