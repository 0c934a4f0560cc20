"""Which assets of a pipeline say nothing any more, and why.

Silence is measured from when a new sample was seen, not by the sender's clock. An asset says
nothing too while its messages come and none is used, while its samples complete no window, and
while every window has too many values that cannot be used: its last result is old then.
"""

from typing import Literal

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import WITHOUT_DECISION, StreamState
from edgeai.engine.window_watch import WINDOWS
from edgeai.messages import SECOND_NS
from edgeai.streams.settings import StreamSettings


class StaleWatch:
    """The assets of one pipeline, scan by scan."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        settings = pipeline.settings
        self._limit = pipeline.stale_after_seconds
        self._wait_seconds = _longest_wait(settings)
        needed_ns = (settings.length + settings.hop) * (settings.period_ns or 0)
        if settings.cycle is not None:
            needed_ns = 0  # a machine that idles completes no window, for as long as it likes
        self._window_limit = (
            self._limit + self._wait_seconds + WINDOWS * needed_ns / SECOND_NS if needed_ns else 0.0
        )
        """Time without a window that can be judged, after which an asset is stale although samples
        come: a silence that is not told yet, and windows; 0: never."""

    def look(
        self, state: StreamState, now: float, *, looks: bool, pipeline_fault: bool
    ) -> Literal["stale", "back"] | None:
        """Compare a stream with the last scan; return what has changed, None if nothing has.

        Args:
            state: The stream.
            now: Seconds on a clock that never goes back; above 0.
            looks: Whether assets may become stale.
            pipeline_fault: Whether it is told that the whole pipeline makes no window.
        """
        was_used, was_decided = _note_use(state, now), _note_decision(state, now)
        change: Literal["stale", "back"] | None = None
        if state.is_stale:
            if was_decided if state.stale_cause in WITHOUT_DECISION else was_used:
                state.is_stale = False
                state.decided = now  # it has as long for the next window as at its start
                change = "back"
        elif not (looks and self._limit):
            return None
        elif self._is_silent(state, now):
            state.is_stale, state.stale_cause = True, "no_samples"
            change = "stale"
        elif self._is_undecided(state, now, pipeline_fault=pipeline_fault):
            has_windows = now - state.windowed <= self._window_limit
            state.is_stale = True
            state.stale_cause = "bad_values" if has_windows else "no_window"
            change = "stale"
        if state.is_stale and state.stale_cause not in WITHOUT_DECISION:
            # Half the time: one refused message before a silence is no sender that goes on.
            goes_on = state.heard > state.used and now - state.heard <= self._limit / 2
            state.stale_cause = "refused" if goes_on else "no_samples"
        return change

    def _is_silent(self, state: StreamState, now: float) -> bool:
        """Return whether no sample has come for the declared time, or none was used."""
        first = state.first_heard or state.seen  # known from before a restart
        if not first:
            return False
        limit, waits_until = self._limit, self._limit + self._wait_seconds
        # Samples of a declared coarse clock wait for the end of its first step.
        is_waiting = state.stream.undecided is not None
        if now - (state.seen or first) > (waits_until if is_waiting else limit):
            return True
        return now - (state.used or first) > waits_until

    def _is_undecided(self, state: StreamState, now: float, *, pipeline_fault: bool) -> bool:
        """Return whether samples come, and no window could be judged for long.

        If the whole pipeline makes no window, that is told instead.
        """
        if not self._window_limit or pipeline_fault or self._pipeline.containment.fault:
            return False
        since = state.decided or state.first_heard
        return bool(since) and now - since > self._window_limit


def _note_use(state: StreamState, now: float) -> bool:
    """Note what a stream has got since the last scan; return whether a sample of it was used."""
    stream = state.stream
    mark = stream.newest_ns, stream.ring.arrived_ns, state.drops.count, stream.undecided
    if mark != state.heard_mark:
        state.heard_mark, state.heard = mark, now
        state.first_heard = state.first_heard or now
    used_ns = stream.used_ns
    if used_ns is None or used_ns == state.used_ns:
        return False
    state.used_ns, state.used = used_ns, now
    return True


def _note_decision(state: StreamState, now: float) -> bool:
    """Note which windows came since the last scan; return whether one could change the alarm."""
    if state.time_ns != state.seen_time_ns:
        state.seen_time_ns, state.windowed = state.time_ns, now
    if state.decided_ns == state.seen_decided_ns:
        return False
    state.seen_decided_ns, state.decided = state.decided_ns, now
    return True


def _longest_wait(settings: StreamSettings) -> float:
    """Return how many seconds a sample may wait for others, at the most, before it is used."""
    waits_ns = settings.lateness_ns + (settings.resolution_ns or 0)
    if settings.align is not None:
        waits_ns += settings.align.lateness_ns + settings.align.max_age_ns
    return waits_ns / SECOND_NS
