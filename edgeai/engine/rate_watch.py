"""Whether the rows of each asset come at the model's rate, over many samples.

A window of a few samples cannot tell a sender of another rate from one that jitters, and is good
(`streams.ring.RATE_SHARE`). Many samples can: nothing here costs work per message.
"""

from typing import NamedTuple

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from edgeai.messages import SECOND_NS
from edgeai.streams.ring import RATE_SHARE, Ring
from edgeai.streams.settings import NEVER_NS

MIN_SAMPLES = 200
"""A rate is measured over so many samples that follow each other without a gap, at least."""
MIN_SECONDS = 10.0
"""And over so long: at a high rate a network may hold back many samples for a moment."""


class OffRate(NamedTuple):
    """An asset whose samples come at another rate than the model's."""

    asset: str
    rate_hz: float
    """Of the samples that can be used."""


class _Mark(NamedTuple):
    """Where a stream was when its rate was measured last, or began to be."""

    number: int
    """The number of its next sample."""
    time_ns: int
    emptied: int
    """The number of its first sample after the last gap."""
    is_off: bool
    """Whether it was off the model's rate when that was measured last."""


class RateWatch:
    """The rates of one pipeline's rows, scan by scan."""

    def __init__(self, pipeline: Pipeline) -> None:
        settings = pipeline.settings
        is_row = pipeline.sources.layouts == {"row"} and settings.joined is None
        self._pipeline = pipeline
        self._period_ns = settings.period_ns if is_row and settings.align is None else None
        """The model's; None: there is nothing to watch."""
        self._marks: dict[str, _Mark] = {}

    def scan(self) -> list[OffRate]:
        """Return the assets that are off the model's rate now, and were not when told last."""
        if self._period_ns is None:
            return []
        found, marks = [], {}
        for state in list(self._pipeline.streams.values()):
            mark, rate_hz = self._look(state, self._period_ns)
            if mark is not None:
                marks[state.key] = mark
            if rate_hz is not None:
                found.append(OffRate(state.key, rate_hz))
        self._marks = marks
        return found

    def _look(self, state: StreamState, period_ns: int) -> tuple[_Mark | None, float | None]:
        """Return the mark of a stream, and its rate if that is to be told now, in Hz."""
        ring, before = state.stream.ring, self._marks.get(state.key)
        if ring.last_ns == NEVER_NS:
            return None, None
        now = _Mark(
            ring.next_number, ring.last_ns, ring.emptied, before is not None and before.is_off
        )
        if before is None or before.emptied != now.emptied or now.time_ns < before.time_ns:
            return now, None
        count, span_ns = now.number - before.number, now.time_ns - before.time_ns
        if count < MIN_SAMPLES or span_ns < MIN_SECONDS * SECOND_NS:
            return before, None
        is_off = is_off_rate(count, span_ns, period_ns)
        is_new = is_off and not before.is_off
        return now._replace(is_off=is_off), count * SECOND_NS / span_ns if is_new else None


def is_off_rate(count: int, span_ns: int, period_ns: int) -> bool:
    """Return whether so many sample periods in a time are off the model's rate."""
    return abs(span_ns - count * period_ns) > RATE_SHARE * count * period_ns


def rate_of(ring: Ring) -> tuple[int, int]:
    """Return how many sample periods the samples of a ring span, and their time, nanoseconds."""
    return (ring.size - 1, ring.last_ns - ring.time_at(ring.size - 1)) if ring.size else (0, 0)
