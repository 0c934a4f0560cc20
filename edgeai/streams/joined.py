"""Several sources of one asset, joined into the windows of a model.

Each source has a stream of its own, which puts its samples in order. Windows come in one of two
ways, which the configuration declares:

- One source has the model's samples (`alignment: none`): its ring emits windows as ever, and the
  values of the others are added at the times of its samples.
- No source has: windows lie on the grid of whole sample periods since 1970.

A window waits until every source has reached its end, or until the others are further than the
declared lateness. So what a window holds depends on the order of the messages only, and not on the
turns in which they came: a replay makes the same windows.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgeai.streams.context import ContextReader
from edgeai.streams.leading import LeadingStream
from edgeai.streams.settings import (
    MAX_WAITING_WINDOWS,
    NEVER_NS,
    Emit,
    Floats,
    JoinPlan,
    StreamSettings,
)
from edgeai.streams.side import Mark
from edgeai.streams.stream import Stream
from edgeai.streams.tag_streams import open_side
from edgeai.streams.tracks import Times, Track, tracks_of


class _Waiting(NamedTuple):
    """A window of the leading source that waits for others."""

    rows: Floats
    """(W, k)."""
    times: Times
    substituted: int
    uncertain: bool
    was_broken: bool
    next_number: int
    """The number of the sample after the window, in the leading source."""
    bad_places: Sequence[int]
    """Places with values that stand for others."""


class JoinedStream(Stream):
    """The sources of one asset."""

    __slots__ = (
        "_context", "_leader", "_leading_places", "_length", "_needed", "_next_end_ns", "_offsets",
        "_period_ns", "_reached_ns", "_shown", "_tracks", "_waiting", "_window", "context",
        "marks", "signals", "sources",
    )  # fmt: skip

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        emit: Emit,
        *,
        plan: JoinPlan,
    ) -> None:
        """Start empty.

        Args:
            settings: Of the windows.
            drops: Counts dropped samples by reason.
            resets: Counts emptied windows by reason.
            counts: As of `open_stream`.
            emit: Called with each window, while `marks` and `context` are those of the window.
            plan: The sources.
        """
        super().__init__(settings, drops, resets, counts, emit)
        signals = plan.signals
        self._length = settings.length
        self._shown = settings.length if settings.extras or settings.keeps_samples else 1
        """Samples of the last window that its ring holds: all, if somebody looks at them."""
        self.signals = signals
        """Channels of the model; the others of a window are those that it does not have."""
        self._period_ns = settings.period_ns or 0
        steps = np.arange(1 - self._length, 1, dtype=np.int64)
        self._offsets = steps * self._period_ns
        self._window = np.zeros((self._length, settings.channels), np.float32)
        self._waiting: deque[_Waiting] = deque()
        self._next_end_ns: int | None = None
        """End of the next window on the grid; None: not every signal has had a value."""
        self._reached_ns = NEVER_NS
        """How far the furthest source was at the last look."""
        self.marks: dict[int, Mark] = {}
        """What is wrong in the window that is emitted, by place."""
        self.sources: list[Stream] = []
        """The stream of each source, in the order of the plan."""
        self._tracks: list[Track] = []
        self._leader: LeadingStream | None = None
        for spec in plan.sources:
            if spec.rule is None:
                self._leader = LeadingStream(
                    spec.settings, drops, resets, counts, self._take_leading_window
                )
                self.set_backs = self._leader.set_backs
                self.sources.append(self._leader)
                continue
            side = open_side(spec, drops, resets, counts)
            self.sources.append(side)
            self._tracks += tracks_of(side, spec, signals)
        leading = plan.leader
        self._leading_places = () if leading is None else plan.sources[leading].places
        self._context = ContextReader(plan.context, self._tracks, self._leading_places)
        self.context = self._context.values
        """(K,) the context of the window that is emitted."""
        self._needed = [track for track in self._tracks if track.signals]
        """The tracks without which there is no window."""

    # ------------------------------------------------------------------------- seen from outside

    @property
    def newest_ns(self) -> int | None:
        """The time of the newest sample of any source; None before the first."""
        return max([ns for one in self.sources if (ns := one.newest_ns) is not None], default=None)

    @property
    def used_ns(self) -> int | None:
        """The time of the newest sample of any source that can be used; None before the first."""
        return max([ns for one in self.sources if (ns := one.used_ns) is not None], default=None)

    @property
    def gathered(self) -> int:
        """How many samples the next window has, as far as it is known."""
        if self._leader is not None:
            return self._leader.ring.size
        if self._next_end_ns is None:
            return 0
        lacking = -(-(self._next_end_ns - self._reached_ns) // self._period_ns)
        return max(0, self._length - lacking)

    @property
    def newest_arrived_ns(self) -> int:
        """When the newest sample of any source arrived."""
        return self.ring.arrived_ns

    def has_passed(self, time_ns: int) -> bool:
        """Return whether a sample of this time would be late in every source."""
        return all(one.has_passed(time_ns) for one in self.sources)

    def waiting_for(self) -> list[int]:
        """Return the places that have not had a value yet: channels, then context."""
        lacking = [track for track in self._needed if not track.has_value]
        found = [int(place) for track in lacking for place in track.places[: track.signals]]
        if self._leader is not None:
            found += [self._leading_places[channel] for channel in self._leader.waiting_for()]
        leading = None if self._leader is None else self._leader.ring
        return sorted({*found, *self._context.waiting_for(leading)})

    def held_channels(self) -> list[int]:
        """Return the channels of the leading source without a good value for a whole window."""
        if self._leader is None:
            return []
        found = [self._leading_places[channel] for channel in self._leader.held_channels()]
        return [place for place in found if place < self.signals]

    def recover(self, after_ns: int | None, *, everything: bool) -> None:
        """Empty the stream as `Stream.recover` says."""
        self._empty_after_failure(after_ns)
        self._waiting.clear()
        self._next_end_ns, self._reached_ns = None, NEVER_NS
        for one in self.sources:
            one.recover(after_ns if one is self._leader else None, everything=everything)

    def flush(self) -> None:
        """Release the windows that wait: the stream ends here."""
        for one in self.sources:
            if one is not self._leader:
                one.flush()
        if self._leader is not None:
            self._leader.flush()
            while self._waiting:
                self._emit_waiting()
        else:
            self._release_grid(everything=True)

    # ------------------------------------------------------------------------------------ windows

    def release(self, source: int) -> None:
        """Emit the windows that wait for nothing any more.

        To be called after samples of a source were pushed to its stream.

        Args:
            source: Which of `sources`.
        """
        pushed, ring = self.sources[source], self.ring
        arrived_ns = pushed.newest_arrived_ns
        ring.arrived_ns = max(ring.arrived_ns, arrived_ns)
        if pushed.ring.implausible_ns:
            ring.implausible_ns, pushed.ring.implausible_ns = pushed.ring.implausible_ns, 0
        ring.conflicts = sum([one.ring.conflicts for one in self.sources])
        if self._leader is None:
            self._release_grid()
            return
        while self._waiting and self._is_ready(
            int(self._waiting[0].times[-1]), self._leader.ring.last_ns
        ):
            self._emit_waiting()

    def _is_ready(self, end_ns: int, reached_ns: int) -> bool:
        """Return whether every source has reached the end of a window, or is not waited for."""
        return all(
            track.newest_ns >= end_ns or reached_ns >= end_ns + track.rule.lateness_ns
            for track in self._tracks
        )

    # .............................................................................. with a leader

    def _take_leading_window(
        self, window: Floats, last_ns: int, substituted: int, uncertain: bool
    ) -> None:
        """Add the values of the other sources to a window, now or when they have come."""
        leader = self._leader
        assert leader is not None
        ring = leader.ring
        times = ring.times_until(last_ns, self._length)
        was_broken, ring.broken = ring.broken, False
        bad = self._bad_places(leader, times) if substituted else ()
        number = ring.first_number + ring.count_until(last_ns)
        waiting = _Waiting(window, times, substituted, uncertain, was_broken, number, bad)
        if not self._waiting and self._is_ready(last_ns, last_ns):
            self._emit_joined(waiting)
            return
        self._waiting.append(waiting._replace(rows=window.copy(), times=times.copy()))
        while len(self._waiting) > MAX_WAITING_WINDOWS or (
            self._waiting and self._is_ready(int(self._waiting[0].times[-1]), last_ns)
        ):
            self._emit_waiting()

    def _bad_places(self, leader: LeadingStream, times: Times) -> Sequence[int]:
        """Return the places of the leading source that hold values which stand for others."""
        substituted, _ = leader.ring.recent_flags
        places = [place for place in self._leading_places if place < self.signals]
        first = int(leader.ring.recent_times.searchsorted(times[0]))
        if (substituted[first : first + len(times)] == len(places)).any():
            return places  # whole samples are missing
        unusable = leader.unusable.since(int(times[0]))
        return [places[channel] for channel in unusable if channel < len(places)]

    def _emit_waiting(self) -> None:
        self._emit_joined(self._waiting.popleft())

    def _emit_joined(self, waiting: _Waiting) -> None:
        """Emit a window of the leading source with the values of the others."""
        times, first_ns = waiting.times, int(waiting.times[0])
        if waiting.was_broken:
            self.ring.broken = True
        if not all(track.knows(first_ns) for track in self._needed):
            return  # not every signal has had a value then
        self._window[:, self._leading_places] = waiting.rows
        marks: dict[int, Mark] = dict.fromkeys(waiting.bad_places, "missing")
        self._fill_and_emit(
            times, marks, waiting.substituted, waiting.uncertain,
            next_number=waiting.next_number, leading=waiting.rows,
        )  # fmt: skip

    # ................................................................................ on the grid

    def _release_grid(self, *, everything: bool = False) -> None:
        """Emit the windows on the grid that wait for nothing any more."""
        reached_ns = max([track.newest_ns for track in self._needed])
        if reached_ns == NEVER_NS:
            return
        before_ns, self._reached_ns = self._reached_ns, reached_ns
        if reached_ns < before_ns:
            self._start_again_at(reached_ns)
        gap_ns = self._settings.max_gap_ns
        is_gap = before_ns != NEVER_NS and gap_ns is not None and reached_ns - before_ns > gap_ns
        if self._next_end_ns is None and not self._begin():
            return
        last_ns = before_ns if is_gap else reached_ns
        while self._next_end_ns is not None and self._next_end_ns <= last_ns:
            end_ns = self._next_end_ns
            is_reached = all(track.newest_ns >= end_ns for track in self._tracks)
            waits = not is_reached and not (
                reached_ns > end_ns and self._is_ready(end_ns, reached_ns)
            )
            if waits and not everything:
                return
            self._next_end_ns = end_ns + self._hop_ns
            times = self._offsets + end_ns
            if all(track.knows(int(times[0])) for track in self._needed):
                self._fill_and_emit(times, {}, 0, False, next_number=end_ns // self._period_ns + 1)
        if is_gap and self._next_end_ns is not None:
            self.resets["gap"] += 1
            self.ring.broken = True
            self._next_end_ns = self._first_end_from(reached_ns)

    @property
    def _hop_ns(self) -> int:
        return self._settings.hop * self._period_ns

    def _begin(self) -> bool:
        """Find the first window, once every signal has a value; return whether there is one."""
        if not all(track.has_value for track in self._needed):
            return False
        rings = [track.stream.ring for track in self._needed]
        firsts = [int(ring.recent_times[0]) for ring in rings if ring.size]
        if not firsts:
            return False
        self._next_end_ns = self._first_end_from(max(firsts))
        return True

    def _first_end_from(self, time_ns: int) -> int:
        """Return the end of the first window that begins at or after a time."""
        period_ns, hop_ns = self._period_ns, self._hop_ns
        first_ns = -(-time_ns // period_ns) * period_ns + (self._length - 1) * period_ns
        return -(-first_ns // hop_ns) * hop_ns

    def _start_again_at(self, time_ns: int) -> None:
        """Start the grid again if all sources are at an older time than a window, or before any."""
        last_ns = self.ring.last_ns
        if last_ns != NEVER_NS and time_ns >= last_ns:
            return
        self._next_end_ns = None
        if last_ns != NEVER_NS:  # times that were used come again
            self.resets["clock_back"] += 1
            self.set_backs.note(last_ns, time_ns, "pace")
            self.ring.broken = True

    # ....................................................................................... both

    def _fill_and_emit(
        self,
        times: Times,
        marks: dict[int, Mark],
        substituted: int,
        uncertain: bool,
        *,
        next_number: int,
        leading: Floats | None = None,
    ) -> None:
        """Add the values of the tracks to a window, and emit it.

        Args:
            times: (W,) of its samples.
            marks: What is wrong in the samples of the leading source, by place.
            substituted: How many of their values stand for others.
            uncertain: Whether they are.
            next_number: The number of the sample after the window.
            leading: (W, k) these samples; None: none leads.
        """
        window = self._window
        first_ns, last_ns = int(times[0]), int(times[-1])
        for track in self._tracks:
            found = track.read(times, first_ns, last_ns)
            if found is None:  # only of signals that the model does not have
                window[:, track.target] = np.nan
                continue
            window[:, track.target] = found.values
            uncertain = uncertain or (found.uncertain and track.signals > 0)
            if found.substituted is not None and found.mark is not None and track.signals:
                bad = range(track.signals) if found.bad_channels is None else found.bad_channels
                bad = [channel for channel in bad if channel < track.signals]
                substituted += int(found.substituted.sum()) * len(bad)
                for channel in bad:
                    marks[int(track.places[channel])] = found.mark
        if self._context.rules:
            context_marks = self._context.read(times, leading)
            if context_marks is None:
                return
            marks |= context_marks
            uncertain = uncertain or self._context.is_uncertain
        self.marks = marks
        self._hand_over(times, substituted, uncertain, next_number)

    def _hand_over(self, times: Times, substituted: int, uncertain: bool, next_number: int) -> None:
        """Emit the window that was filled."""
        window = self._window
        # Before it leaves: who takes the window may look at its samples.
        self.ring.show(times[-self._shown :], window[-self._shown :], next_number)
        self.ring.emit(window, int(times[-1]), substituted, uncertain)
