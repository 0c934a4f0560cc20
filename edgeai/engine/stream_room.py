"""Room for the streams of a pipeline: how many, how many bytes, and which one leaves for a new one.

When there is no room, the stream that has been silent longest leaves, so that names that were
invented, or belong to machines that are gone, do not keep out a new machine for ever. A stream that
still gets samples never leaves, and neither does one with an alarm, also if only its last waiting
samples raise it. Silence is found by comparing
the newest used samples of all streams now and then, only while there is no room, so it costs
nothing in other times. At the first look, silence counts from when the newest sample came.
"""

import logging
from collections.abc import Callable

from edgeai.config.limits import Limits
from edgeai.engine.seen_frames import BYTES_PER_FRAME
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.log_events import event
from edgeai.messages import SECOND_NS
from edgeai.streams.channel_values import KEPT_VALUES
from edgeai.streams.kept_samples import MIN_KEPT_ROWS
from edgeai.streams.ring import Ring
from edgeai.streams.seen import MOST_SHED
from edgeai.streams.settings import MAX_WAITING_WINDOWS, JoinPlan, StreamSettings

log = logging.getLogger("edgeai.engine")

OVERHEAD_BYTES = 6144
"""A stream without its samples and names: objects of Python, its routes, its alarm."""
BYTES_PER_CHARACTER = 24
"""A stream's key is kept in topics, ids and caches, each up to 4 bytes a character."""
ALIGNED_CHANNEL_BYTES = 1600 + 150 * KEPT_VALUES + 120 * MIN_KEPT_ROWS
"""Its queue and its rate, the values before, and what was seen of it."""
ALIGNED_BYTES = 250 * MOST_SHED
"""The values that are about to be remembered less exactly."""
HELD_ROW_BYTES = 150
"""The held channels of a grid row, where there are any."""
MAX_WAITING_SAMPLES = 100_000  # of a stream with lateness, as far as its bytes are estimated
RESULT_BYTES = 300  # of an output or a contribution of the last window, which is kept
LOOKS_PER_SILENCE = 6
"""Compare all streams this often in the time after which one counts as silent."""
EVICTED_PER_LOOK = 100
"""Between two looks, at most one stream in this many leaves, and always one may: a flood of
invented names then cannot empty a pipeline whose machines pause."""


def stream_bytes(settings: StreamSettings, key: str, results: int = 0) -> int:
    """Return about how many bytes a stream takes, with all its memory in use.

    Args:
        settings: Settings of the stream.
        key: The stream's.
        results: Number of outputs and contributions that are kept of the last window.
    """
    size = OVERHEAD_BYTES + BYTES_PER_CHARACTER * len(key) + Ring.bytes_of(settings)
    size += RESULT_BYTES * results + BYTES_PER_FRAME * settings.seen_frames
    if settings.cycle is not None and settings.cycle.keeps_unusual:  # parts before gaps
        size += settings.cycle.max_samples * (4 * settings.channels + 13)
    if settings.cycle is not None and settings.align is not None:
        size += HELD_ROW_BYTES * settings.length
    if settings.align is not None:
        size += ALIGNED_CHANNEL_BYTES * (settings.channels + 1) + ALIGNED_BYTES
    if settings.lateness_ns and settings.period_ns:
        waiting = min(settings.lateness_ns // settings.period_ns, MAX_WAITING_SAMPLES)
        size += waiting * (4 * settings.channels + 250)
    if settings.joined is not None:
        size += _joined_bytes(settings, settings.joined)
    return size


def _joined_bytes(settings: StreamSettings, plan: JoinPlan) -> int:
    """Return the bytes of the sources of a stream, and of the windows that wait for one."""
    size = sum(
        stream_bytes(spec.settings, "") * (len(spec.places) if spec.is_tags else 1)
        for spec in plan.sources
    )
    hop_ns = settings.hop * (settings.period_ns or 1)
    waiting = min(settings.lateness_ns // hop_ns + 1, MAX_WAITING_WINDOWS)
    return size + waiting * settings.length * (4 * settings.channels + 8)


class ByteBudget:
    """The bytes that the streams of all pipelines may take together."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0


class StreamRoom:
    """Room for the streams of one pipeline."""

    def __init__(
        self,
        pipeline: str,
        streams: dict[str, StreamState],
        settings: StreamSettings,
        limits: Limits,
        *,
        budget: ByteBudget | None,
        evict: Callable[[StreamState], bool],
        results: int = 0,
    ) -> None:
        """Prepare.

        Args:
            pipeline: The pipeline's name.
            streams: Its streams by key; the pipeline adds the new ones.
            settings: Settings of all its streams.
            limits: How many streams it may have, how long their keys may be, and the time without
                a new used sample after which one may leave. At least twice the gap that empties a
                window counts, so that a slow stream is not taken for silent.
            budget: The bytes that it shares with other pipelines; None: it has all to itself.
            evict: Removes a stream; returns False if it must stay.
            results: Number of outputs and contributions that are kept of the last window.
        """
        self._pipeline = pipeline
        self._streams = streams
        self._settings, self._results = settings, results
        self._max_streams = limits.streams
        self._max_key_bytes = limits.stream_key_bytes
        self._budget = budget or ByteBudget(limits.stream_bytes)
        silent_ns = round(limits.stream_silent_seconds * SECOND_NS)
        self._silent_ns = max(silent_ns, 2 * (settings.max_gap_ns or 0))
        self._evict = evict
        self._seen: dict[StreamState, tuple[int | None, int]] = {}
        """Newest used sample of each stream, and since when it is the newest, by arrival times."""
        self._candidates: list[StreamState] = []
        """The silent streams of the last look that may leave, the next one at the end."""
        self._next_look_ns = 0
        self._has_told = False

    def check_key(self, key: str) -> None:
        """Raise DecodeError("key_too_long") for a key that takes too much room everywhere."""
        if len(key.encode("utf-8", "replace")) > self._max_key_bytes:
            raise DecodeError("key_too_long")

    def take(self, key: str, now_ns: int) -> None:
        """Take the room of a new stream.

        Args:
            key: The stream's.
            now_ns: Arrival of its first message.

        Raises:
            DecodeError: "too_many_streams": there is no room, and no stream is silent.
        """
        size = stream_bytes(self._settings, key, self._results)
        while (
            len(self._streams) >= self._max_streams
            or self._budget.used + size > self._budget.max_bytes
        ):
            self._make_room(now_ns)
        self._budget.used += size

    def may_leave(self, state: StreamState) -> bool:
        """Return whether nothing is lost with a stream: no alarm, no waiting sample, no id."""
        return _may_leave(state)

    def give_back(self, state: StreamState) -> None:
        """Take back the room of a stream that has left."""
        self._seen.pop(state, None)
        self._budget.used -= stream_bytes(self._settings, state.key, self._results)

    def _make_room(self, now_ns: int) -> None:
        """Remove the stream that has been silent longest; DecodeError if there is none."""
        if now_ns >= self._next_look_ns or now_ns + self._silent_ns < self._next_look_ns:
            self._look(now_ns)
        while self._candidates:
            state = self._candidates.pop()
            newest_ns, _ = self._seen.pop(state)
            is_silent = state.key in self._streams and _newest(state) == newest_ns
            if is_silent and _may_leave(state) and self._evict(state):
                self.give_back(state)
                self._tell(state)
                return
        raise DecodeError("too_many_streams")

    def _look(self, now_ns: int) -> None:
        """Find the silent streams; a stream that got a sample since the last look is not silent."""
        self._next_look_ns = now_ns + self._silent_ns // LOOKS_PER_SILENCE
        seen = {}
        for state in self._streams.values():
            newest_ns = _newest(state)
            before = self._seen.get(state)
            if before is None:  # no look yet: its newest sample came then
                since_ns = state.stream.ring.arrived_ns or state.made_ns or now_ns
            else:
                since_ns = before[1] if before[0] == newest_ns else now_ns
            seen[state] = newest_ns, min(since_ns, now_ns)
        self._seen = seen
        silent = [
            (since_ns, state.time_ns or 0, order, state)
            for order, (state, (_, since_ns)) in enumerate(seen.items())
            if now_ns - since_ns >= self._silent_ns and _may_leave(state)
        ]
        silent.sort(reverse=True)  # last: silent longest, then never or longest ago judged
        allowed = max(1, len(self._streams) // EVICTED_PER_LOOK)
        self._candidates = [state for *_, state in silent[-allowed:]]

    def _tell(self, state: StreamState) -> None:
        if not self._has_told:
            self._has_told = True
            log.warning(
                "%s: there is no room for a new asset (limits.streams: %d, limits.stream_bytes: "
                "%d): the asset that was silent longest, %.200r, left for it. Later ones are "
                "counted in edgeai_streams_evicted_total",
                self._pipeline, self._max_streams, self._budget.max_bytes, state.key,
                extra=event("stream_evicted", pipeline=self._pipeline, asset=state.key),
            )  # fmt: skip


def _may_leave(state: StreamState) -> bool:
    newest_ns = _newest(state) or 0
    has_used_times = newest_ns <= state.stream.set_backs.used_until_ns  # its ids must stay marked
    parts = (state, *state.sources)
    is_idle = not any(one.messages or one.tags for one in parts)
    return state.status == "normal" and is_idle and not has_used_times


def _newest(state: StreamState) -> int | None:
    return state.stream.used_ns
