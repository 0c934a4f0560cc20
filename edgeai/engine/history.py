"""The last hour of each stream in memory, for the page: score, alarm, and values of the signals.

The monitor takes a step every `STEP_SECONDS`, so a message costs nothing. A step keeps the smallest
and the largest score of its windows: a short spike is not lost. Of the signals it keeps the newest
value. The bytes are bounded: a stream for which there is no room has no history, and that is shown.
"""

import time
from collections.abc import Callable, Sequence
from math import inf, isfinite, log10, nan
from typing import Any

import numpy as np

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from edgeai.streams.settings import Floats

STEP_SECONDS = 5.0
STEPS = 720  # one hour
DIGITS = 5  # significant digits of what the page gets
CODES = {"": 0, "normal": 1, "active": 2, "latched": 3, "low": 4, "stale": 5}
"""State of a step. `low`: active in conditions that the model does not know. Empty: nothing was
judged."""
BYTES_OF_SCORES = STEPS * (4 + 4 + 1)


class Series:
    """The last hour of one stream. Each array is a circle: step n is at n modulo `STEPS`."""

    __slots__ = ("codes", "highest", "lowest", "since", "values")

    def __init__(self, since: int, signals: int) -> None:
        """Begin with a step.

        Args:
            since: The first step that it holds.
            signals: Number of signals whose values are kept; 0: there is no room for them.
        """
        self.since = since
        self.lowest = np.full(STEPS, nan, np.float32)
        self.highest = np.full(STEPS, nan, np.float32)
        self.codes = np.zeros(STEPS, np.uint8)
        self.values = np.full((STEPS, signals), nan, np.float32) if signals else None


class History:
    """The series of all streams of a node."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        max_bytes: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Start without series.

        Args:
            pipelines: The pipelines of the node.
            max_bytes: Bound of all series together. Values of signals take half of it at most, so
                that a few wide streams leave room for the scores of others.
            clock: Returns seconds that never go back.
            wall: Returns seconds since 1970.
        """
        self._pipelines = list(pipelines)
        self._max_bytes = max_bytes
        self._clock, self._wall = clock, wall
        self._series: dict[StreamState, Series] = {}
        self._bytes = self._signal_bytes = 0
        self._step = int(clock() // STEP_SECONDS)
        """The newest step that is complete."""

    def update(self) -> None:
        """Take a step, if one is due."""
        step = int(self._clock() // STEP_SECONDS)
        if step == self._step:
            return
        recorded = 0
        for pipeline in self._pipelines:
            for state in list(pipeline.streams.values()):
                series = self._series.get(state) or self._begin(pipeline, state, step)
                if series is not None:
                    self._record(series, state, step)
                    recorded += 1
        self._step = step
        if recorded < len(self._series):
            self._forget()

    def read(
        self, pipeline: Pipeline, state: StreamState, after: int | None = None
    ) -> dict[str, Any]:
        """Return the steps of a stream, oldest first. Any thread may call it.

        Args:
            pipeline: The stream's.
            state: The stream.
            after: Return only the steps after this one; None: all.
        """
        series, newest = self._series.get(state), self._step
        first = newest + 1 if series is None else max(series.since, newest - STEPS + 1)
        if after is not None:
            first = max(first, min(after, newest) + 1)
        places = np.arange(first, newest + 1) % STEPS
        age_seconds = self._clock() - (newest + 1) * STEP_SECONDS
        found: dict[str, Any] = {
            "step_seconds": STEP_SECONDS,
            "first": first,
            "newest": newest,
            "end": self._wall() - age_seconds - STEP_SECONDS,
            "has_room": series is not None or not self._is_full(),
            "codes": list(CODES),
            "threshold": state.alarm.rule.threshold,
            "signals": [],
        }
        if series is None:
            return {**found, "code": [], "lowest": [], "highest": [], "values": []}
        found["code"] = series.codes[places].tolist()
        found["lowest"] = rounded(series.lowest[places])
        found["highest"] = rounded(series.highest[places])
        found["values"] = []
        if series.values is not None:
            found["signals"] = pipeline.channels[: pipeline.settings.signals]
            found["values"] = [rounded(column) for column in series.values[places].T]
        return found

    def _is_full(self) -> bool:
        return self._bytes + BYTES_OF_SCORES > self._max_bytes

    def _begin(self, pipeline: Pipeline, state: StreamState, step: int) -> Series | None:
        """Make the series of a stream; None if there is no room."""
        if self._is_full():
            return None
        signals = pipeline.settings.signals
        size = _bytes_of_signals(signals)
        if (
            self._signal_bytes + size > self._max_bytes // 2
            or self._bytes + BYTES_OF_SCORES + size > self._max_bytes
        ):
            signals = size = 0
        self._bytes += BYTES_OF_SCORES + size
        self._signal_bytes += size
        series = self._series[state] = Series(step, signals)
        return series

    def _record(self, series: Series, state: StreamState, step: int) -> None:
        for skipped in range(max(self._step + 1, step - STEPS + 1), step):
            place = skipped % STEPS
            series.lowest[place] = series.highest[place] = nan
            series.codes[place] = 0
            if series.values is not None:
                series.values[place] = nan
        place = step % STEPS
        lowest, highest = state.lowest, state.highest
        state.lowest, state.highest = inf, -inf
        judged = highest >= lowest
        series.lowest[place] = lowest if judged else nan
        series.highest[place] = highest if judged else nan
        series.codes[place] = _code_of(state)
        if series.values is not None:
            ring = state.stream.ring
            is_known = ring.size and not state.is_stale
            width = series.values.shape[1]
            series.values[place] = ring.newest[:width] if is_known else nan

    def _forget(self) -> None:
        """Forget the series of streams that have left."""
        present = {state for one in self._pipelines for state in one.streams.values()}
        for state in [one for one in self._series if one not in present]:
            values = self._series.pop(state).values
            size = 0 if values is None else values.nbytes
            self._bytes -= BYTES_OF_SCORES + size
            self._signal_bytes -= size


def _bytes_of_signals(signals: int) -> int:
    return STEPS * 4 * signals


def _code_of(state: StreamState) -> int:
    if state.alarm.state != "normal":
        low = state.alarm.state == "active" and state.alarm.reason != "score"
        return CODES["low" if low else state.alarm.state]
    if state.is_stale:
        return CODES["stale"]
    return CODES["" if state.time_ns is None else "normal"]


def rounded(values: Floats) -> list[Any]:
    """Return values as (nested) lists, with about `DIGITS` significant digits of the largest one.

    NaN and infinities stay; JSON says null for them.
    """
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    if not largest or not isfinite(largest):
        return list(values.tolist())
    decimals = DIGITS - 1 - int(np.floor(log10(largest)))
    return list(np.round(values.astype(np.float64), min(decimals, 30)).tolist())
