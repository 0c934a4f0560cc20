"""The streams of one pipeline: made at their first message or after a restart, and removed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edgeai import topics
from edgeai.alarms.alarm import Alarm, AlarmRule
from edgeai.alarms.diagnosis import Domain
from edgeai.config.cycles import CycleConfig
from edgeai.config.limits import Limits
from edgeai.engine.alarm_hooks import AlarmHooks
from edgeai.engine.batch import Batch
from edgeai.engine.inlets import open_sources
from edgeai.engine.pipeline_log import PipelineLog
from edgeai.engine.pipeline_sources import PipelineSources
from edgeai.engine.published_topics import PublishedTopics
from edgeai.engine.refusals import printable
from edgeai.engine.sharding import Shard
from edgeai.engine.state_windows import StateWindows
from edgeai.engine.stream_drops import StreamDrops
from edgeai.engine.stream_room import ByteBudget, StreamRoom
from edgeai.engine.stream_state import Lane, StreamState
from edgeai.errors import DecodeError
from edgeai.log_events import event
from edgeai.messages import SECOND_NS, AlarmReason, AlarmState, Priority
from edgeai.metrics.pipelines import PipelineMetrics
from edgeai.streams.align import Aligner
from edgeai.streams.cycles.settings import Cycle
from edgeai.streams.factory import open_stream
from edgeai.streams.ring import Ring
from edgeai.streams.set_back import SetBack


@dataclass(frozen=True)
class StreamParts:
    """What the streams of a pipeline share."""

    pipeline: str
    """Its name."""
    sources: PipelineSources
    batch: Batch
    states: StateWindows | None
    """Takes the windows in place of the batch; None: no states are declared."""
    rule: AlarmRule
    settle_ns: int
    """As of `Domain`."""
    has_extras: bool
    """Whether samples hold signals that the model does not have."""
    cycle: CycleConfig | None
    topics: PublishedTopics
    metrics: PipelineMetrics
    hooks: AlarmHooks
    log: PipelineLog


class StreamRegistry:
    """Makes and removes the streams of a pipeline."""

    on_set_back: Callable[[StreamState, SetBack], None] | None = None
    """Called when the clock of a stream's sender was set back; wired by the monitor."""
    forgotten = 0
    """Streams that left because they were silent for very long."""

    def __init__(
        self,
        parts: StreamParts,
        limits: Limits,
        *,
        budget: ByteBudget | None,
        results: int,
        shard: Shard | None,
    ) -> None:
        """Prepare.

        Args:
            parts: What the streams share.
            limits: The node's.
            budget: The bytes that the streams of all pipelines share; None: this one has its own.
            results: Number of values that are kept of each stream's last window and its answers.
            shard: The shard of the streams to serve; None: all.
        """
        self._parts = parts
        self.settings = parts.sources.settings
        """Of the streams made from now on."""
        self.streams: dict[str, StreamState] = {}
        """By key."""
        self.rings: list[tuple[Ring, Aligner | None]] = []
        """The rings of all streams, with their aligners if samples are aligned."""
        self.shard = shard or Shard()
        self.on_forget: Callable[[StreamState], None] = _forget_nothing
        """Called with a stream that has left; wired by the engine."""
        self._room = StreamRoom(
            parts.pipeline,
            self.streams,
            self.settings,
            limits,
            budget=budget,
            evict=self._evict,
            results=results,
        )

    def stream_in_message(self, key: str, now_ns: int) -> StreamState | str:
        """Return the stream of a key that a message holds, or why its values are left out.

        Args:
            key: The stream's.
            now_ns: Arrival of the message.

        Raises:
            DecodeError: As `stream_of`.
        """
        state = self.streams.get(key)
        if state is not None:
            return state
        if not self._parts.sources.wants(key):
            return "other_asset"
        return self.stream_of(key, now_ns) if self.shard.takes(key) else "other_worker"

    def takes_key(self, key: str) -> bool:
        """Return whether the stream of a key is served, and by this worker."""
        return self._parts.sources.wants(key) and self.shard.takes(key)

    def is_counted_by(self, topic: str) -> bool:
        """Return whether this worker counts a message of a topic that every worker reads."""
        return self.shard.of == 1 or self.shard.takes(topic)

    def stream_of(self, key: str, now_ns: int = 0) -> StreamState:
        """Return the stream of a key; make it at its first message.

        Args:
            key: The stream's.
            now_ns: Arrival of the message.

        Raises:
            DecodeError: "key_too_long", "too_many_streams", or "invalid_topic" if its predictions
                would have a topic that cannot be published.
        """
        state = self.streams.get(key)
        if state is None:
            state = self._make_stream(key, now_ns)
            self._parts.log.assets.write(
                "first message of asset %s", printable(key),
                extra=event("asset_new", pipeline=self._parts.pipeline, asset=key),
            )  # fmt: skip
        return state

    def restore(
        self,
        key: str,
        alarm: AlarmState,
        since_ns: int,
        priority: Priority = "high",
        *,
        reason: AlarmReason = "score",
        is_acknowledged: bool = False,
    ) -> StreamState:
        """Make a stream before its first message, with the alarm of before a restart.

        Args:
            key: The stream's.
            alarm: State of its alarm.
            since_ns: Sample time of the transition to it.
            priority: Of its alarm.
            reason: Why it is active.
            is_acknowledged: Whether somebody had acknowledged the active alarm.

        Raises:
            DecodeError: As `stream_of`.
        """
        state = self.streams.get(key) or self._make_stream(key, 0)
        if alarm != "normal":
            state.alarm.restore(
                alarm, since_ns, priority, reason=reason, is_acknowledged=is_acknowledged
            )
            state.is_announced = True  # `restore_alarms` publishes it
        return state

    def _make_stream(self, key: str, now_ns: int) -> StreamState:
        parts = self._parts
        self._room.check_key(key)
        topic, alarm_topic = parts.topics.prediction(key), parts.topics.alarm(key)
        if not (topics.is_topic_name(topic) and topics.is_topic_name(alarm_topic)):
            raise DecodeError("invalid_topic")
        self._room.take(key, now_ns)
        state = StreamState(
            key,
            Alarm(parts.rule),
            topic=topic,
            alarm_topic=alarm_topic,
            id_prefix=f"{parts.pipeline}/{key}:",
            domain=Domain(parts.settle_ns),
            is_announced=parts.hooks.is_known_normal(alarm_topic),
        )
        state.is_told_stale = parts.hooks.is_told_stale(alarm_topic)
        add = parts.batch.add_signals if parts.has_extras else parts.batch.add
        state.add_window = partial(parts.batch.add_joined if parts.sources.inlets else add, state)
        if parts.states is not None:
            state.tracker = parts.states.start()
            state.add_window = partial(parts.states.add, state)
        metrics = parts.metrics
        state.made_ns = now_ns
        state.drops = StreamDrops(metrics.drops)
        state.stream = open_stream(
            self.settings, state.drops, metrics.resets, metrics.samples, state.add_window
        )
        state.stream.set_backs.on_set_back = partial(self._tell_set_back, state)
        if state.stream.cycles is not None:
            state.stream.cycles.on_cycle = partial(self._note_cycle, state)
            if parts.states is not None:
                state.stream.cycles.on_samples = partial(parts.states.follow, state)
        if parts.sources.inlets:
            open_sources(state, parts.sources.inlets)
        self.streams[key] = state
        self.rings.append((state.stream.ring, state.stream.aligner))
        parts.metrics.streams.set(len(self.streams))
        return state

    def _evict(self, state: StreamState) -> bool:
        """Remove a silent stream, to make room for another.

        What waits for late samples still gets its windows first. If they raise an alarm, the
        stream stays: nobody else could end the alarm on its retained topic.

        Returns:
            Whether it was removed.
        """
        is_gone = self._remove(state)
        self._parts.metrics.evicted.value += is_gone
        return is_gone

    def forget(self, state: StreamState) -> bool:
        """Remove a stream that was silent for very long; return whether it could be removed."""
        is_gone = self._room.may_leave(state) and self._remove(state)
        if is_gone:
            self._room.give_back(state)
            self.forgotten += 1
        return is_gone

    def flush(self, state: StreamState) -> None:
        """Release the samples of a stream that wait for others, and expect no frame any more."""
        state.stream.flush()
        for one in (state, *state.sources):
            if one.missing_frames is not None:
                self._parts.metrics.missed.inc(one.missing_frames.end())

    def _remove(self, state: StreamState) -> bool:
        parts = self._parts
        self.flush(state)
        for lane in self._lanes:
            if lane.windows:
                lane.when_full()
        if state.status != "normal":
            return False
        del self.streams[state.key]
        self.rings.remove((state.stream.ring, state.stream.aligner))
        parts.metrics.streams.set(len(self.streams))
        for one in (state, *state.sources):
            self.on_forget(one)
        return True

    @property
    def _lanes(self) -> list[Lane]:
        """Where windows of its streams wait: for a model, or to be passed over."""
        parts = self._parts
        if parts.states is None:
            return [parts.batch]
        return [parts.batch, *[one.batch for one in parts.states.others], parts.states.passed_over]

    def _tell_set_back(self, state: StreamState, set_back: SetBack) -> None:
        if set_back.sign != "return":  # then the samples ahead are counted and told
            self._parts.log.set_back(state.key, set_back)
        if self.on_set_back is not None:
            self.on_set_back(state, set_back)

    def _note_cycle(self, state: StreamState, cycle: Cycle) -> None:
        """Count a cycle that has ended, and tell it unless it is complete."""
        self._parts.metrics.cycles[cycle.outcome] += 1
        if cycle.outcome == "complete":
            self._parts.metrics.cycle_seconds.observe([cycle.duration_ns / SECOND_NS])
            return
        assert self._parts.cycle is not None
        self._parts.log.cycle(state.key, cycle, self._parts.cycle)


def _forget_nothing(_state: StreamState) -> None:
    """Stand in for the engine."""
