"""The state of one pipeline: a model on a topic filter, and the streams it has seen."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from edgeai import topics
from edgeai.alarms.alarm import Alarm, alarm_rule, quality_rule
from edgeai.alarms.diagnosis import Domain
from edgeai.answers.values import Names
from edgeai.config.node import Config
from edgeai.engine.alarm_hooks import AlarmHooks
from edgeai.engine.answer_publisher import AnswerPublisher
from edgeai.engine.answer_topics import AnswerTopics
from edgeai.engine.batch import Batch
from edgeai.engine.containment import Containment
from edgeai.engine.cycle_settings import counters_of
from edgeai.engine.inlet_builder import InletParts
from edgeai.engine.inlets import Capture, Inlet, open_sources
from edgeai.engine.other_model import OtherModel, StateModel
from edgeai.engine.pipeline_log import PipelineLog
from edgeai.engine.pipeline_settings import extra_signals
from edgeai.engine.pipeline_sources import PipelineSources
from edgeai.engine.refusals import Refusals, printable
from edgeai.engine.sharding import Shard
from edgeai.engine.state_windows import StateWindows
from edgeai.engine.stream_drops import StreamDrops
from edgeai.engine.stream_room import ByteBudget, StreamRoom
from edgeai.engine.stream_state import Lane, StreamState
from edgeai.errors import DecodeError
from edgeai.log_events import event
from edgeai.messages import (
    AT_ONCE,
    SECOND_NS,
    AlarmReason,
    AlarmState,
    Due,
    Message,
    Priority,
)
from edgeai.metrics.definitions import Metrics
from edgeai.model.package import Package
from edgeai.model.resolution import Resolution, precision_text
from edgeai.model.threshold_spec import HeldValuesSpec
from edgeai.providers.session import Session, batch_capacity
from edgeai.streams.align import Aligner
from edgeai.streams.cycles.settings import LARGEST_NUMBER, Cycle
from edgeai.streams.factory import open_stream
from edgeai.streams.ring import RATE_TOLERANCE, Ring
from edgeai.streams.set_back import SetBack

log = logging.getLogger("edgeai.pipeline")

COARSE_COUNTER = (
    "{} is {:.0f}: from 16,777,216 on float32 does not hold every whole number, so cycles may go "
    "unseen. Let its sender count modulo 1,000,000"
)
NO_HELD_VALUES = HeldValuesSpec(good=0)


class Pipeline:
    """One pipeline at run time. What is done with it is in `intake`, `judging` and `engine`."""

    on_set_back: Callable[[StreamState, SetBack], None] | None = None
    """Called when the clock of a stream's sender was set back; wired by the monitor."""
    forgotten = 0
    """Streams that left because they were silent for very long."""

    def __init__(
        self,
        name: str,
        config: Config,
        package: Package,
        session: Session,
        metrics: Metrics,
        *,
        held: HeldValuesSpec = NO_HELD_VALUES,
        resolution: Resolution | None = None,
        shard: Shard | None = None,
        budget: ByteBudget | None = None,
        others: Mapping[str, StateModel] | None = None,
        answer_topics: AnswerTopics | None = None,
    ) -> None:
        """Prepare a pipeline.

        Args:
            name: Its name.
            config: The node's configuration.
            package: Its model package.
            session: Computes the package's outputs.
            metrics: The node's metrics.
            held: How many held values a window bears.
            resolution: The steps of the signals, for which float32 may be too coarse; None: it is
                fine enough.
            shard: The shard of the streams to serve; None: all.
            budget: The bytes that the streams of all pipelines share; None: this one has its own.
            others: Models beside its own, by the operating states that name them.
            answer_topics: The topics of answers of all pipelines; None: this one has its own.
        """
        chosen = config.pipelines[name]
        manifest = package.manifest
        self.name, self.config = name, chosen
        self.manifest = manifest
        self.session = session
        self.metrics = metrics.of_pipeline(
            name, manifest.name, session.provider, has_cycles=chosen.window.cycle is not None
        )
        self.signals = [signal.name for signal in manifest.signals]
        self.extras = extra_signals(chosen, manifest)
        """Signals that conditions or the context name and the model does not have."""
        self.rule = alarm_rule(
            manifest.threshold.value, manifest.alarm, chosen.alarm, manifest.threshold.abnormal
        )
        self._settle_ns = round(manifest.settle_seconds * SECOND_NS)
        self.sources = PipelineSources(name, chosen, manifest, self.extras)
        self.settings = self.sources.settings
        self.quality_rule = quality_rule(
            math.prod(manifest.input_shape), chosen.stream.max_invalid_ratio, held.good, held.bad
        )
        capacity = batch_capacity(
            config.limits.batch_windows, manifest.input_bytes, session.batch_bytes
        )
        self.batch = Batch(capacity, manifest.row_shape, manifest.input_dtype)
        session.bind(self.batch.values)
        self.refusals = Refusals(name, lambda: self.metrics.drops, explain=self.sources.explain)
        self.containment = Containment(name, self.metrics, self.refusals)
        self.log = PipelineLog(name)
        self.resolution = resolution
        self._coarse: set[int] = set()
        """Channels of which the log has told that float32 is too coarse for them."""
        self.streams: dict[str, StreamState] = {}
        parts = InletParts(
            name, self.batch, self.metrics, self.containment, self.refusals, self.streams,
            self.stream_of, self._takes_key, self._stream_in_message, self._is_counted_by,
            config.limits, self._warn_of_coarse_values,
        )  # fmt: skip
        self.intake, counts = self.sources.open(parts, resolution)
        self.takers: Sequence[Pipeline | Inlet] = self.sources.inlets or [self]
        """Who may take a topic: the pipeline, or each of several sources."""
        self.metrics.count_invalid([self.metrics.invalid, *counts])
        self.is_always_due = (
            not self.intake.brings_one
            or bool(self.sources.plans)
            or not self.sources.have_times
            or (self.settings.align is not None and self.intake.waits)
            or self.settings.lateness_ns > 0
            or self.settings.hop == 1
        )
        """Whether any message may complete a window, so that `due` has nothing to compute."""
        self.outputs = [output.name for output in manifest.outputs]
        self.published = manifest.published
        self.states = self._make_states(config, others or {}, metrics)
        """Takes the windows of streams with operating states; None: no states are declared."""
        self.stale_after_seconds = self.sources.stale_after_seconds
        """Time without a sample after which an asset is stale; 0: never."""
        self.hooks = AlarmHooks()
        self.alarm_metrics = metrics.of_alarms(name, chosen.alarm.position, self.rule.priority)
        self._rings: list[tuple[Ring, Aligner | None]] = []
        """The rings of all streams, with their aligners if samples are aligned."""
        self._room = StreamRoom(
            name,
            self.streams,
            self.settings,
            config.limits,
            budget=budget,
            evict=self._evict,
            results=self.results,
        )
        self.forget_stream: Callable[[StreamState], None] = _forget_nothing
        """Called with a stream that has left; wired by the engine."""
        self._node, self._shard = config.node, shard or Shard()
        self.answers = self._make_answers(answer_topics, config, metrics)
        """Publishes its answers to controllers; None: it has none."""

    def take_without_stream(self, topic: str) -> Callable[[Message], None] | None:
        """Return what takes a topic whose messages name the streams, or are of none; None: nothing.

        Such messages are those of `source.names`, and those whose assets stand in them.
        """
        return self.sources.take_without_stream(self.intake, topic)

    def _is_counted_by(self, topic: str) -> bool:
        """Return whether this worker counts a message of a topic that every worker reads."""
        return self._shard.of == 1 or self._shard.takes(topic)

    def _stream_in_message(self, key: str, now_ns: int) -> StreamState | str:
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
        if not self.sources.wants(key):
            return "other_asset"
        return self.stream_of(key, now_ns) if self._shard.takes(key) else "other_worker"

    def _takes_key(self, key: str) -> bool:
        """Return whether the stream of a key is served, and by this worker."""
        return self.sources.wants(key) and self._shard.takes(key)

    @property
    def channels(self) -> list[str]:
        """The signals of a sample, in order: those of the model, then the extra ones."""
        return [*(signal.name for signal in self.manifest.measured), *self.extras]

    def _make_answers(
        self, answer_topics: AnswerTopics | None, config: Config, metrics: Metrics
    ) -> AnswerPublisher | None:
        """Return what publishes answers to controllers; None if none are declared."""
        if not self.config.publish.answers:
            return None
        outputs = [output for output, _ in self.published]
        return AnswerPublisher(
            self.config,
            Names(config.node, self.name, outputs, self.signals),
            self.manifest.name,
            AnswerTopics(config.limits.answer_topics) if answer_topics is None else answer_topics,
            metrics.of_answer,
        )

    def _make_states(
        self, config: Config, models: Mapping[str, StateModel], metrics: Metrics
    ) -> StateWindows | None:
        """Return what takes the windows of streams with states; None if none are declared."""
        chosen = self.config
        if not chosen.states:
            return None
        others: dict[Path, OtherModel] = {}
        for model in models.values():
            folder = model.package.folder
            if folder not in others:
                others[folder] = OtherModel(model, config, chosen, metrics, self.metrics)
        states = StateWindows(
            chosen,
            self.channels,
            self.settings,
            rule=self.rule,
            batch=self.batch,
            others={name: others[model.package.folder] for name, model in models.items()},
        )
        self.metrics.count_states(states.entered, lambda: states.unknown_samples)
        return states

    @property
    def lanes(self) -> list[Lane]:
        """Where windows of its streams wait: for a model, or to be passed over."""
        if self.states is None:
            return [self.batch]
        return [self.batch, *[one.batch for one in self.states.others], self.states.passed_over]

    @property
    def sessions(self) -> list[Session]:
        """Its model's session, and those of the models of its states."""
        others = [] if self.states is None else self.states.others
        return [self.session, *[other.session for other in others]]

    def state_topic_of(self, key: str) -> str:
        """Return the topic of the operating state of a stream."""
        return topics.fill(self.config.publish.state_topic, self._topic_fields(key))

    @property
    def results(self) -> int:
        """Number of values that are kept of each stream's last window and its answers."""
        publish = self.config.publish
        in_answers = sum(len(one.format.fields) for one in publish.answers.values())
        return len(self.published) + min(publish.top, len(self.signals)) + in_answers

    def due(self) -> Due:
        """Return when the next window can be due at the earliest, counted from now.

        One message brings each stream at most one sample, which at the model's rate is one sample
        period later than the one before; a single value brings the grid forward by at most one
        period too. A window is always due where a sample takes its time from its arrival, where
        samples come in blocks, and where one sample can release others (reordering, alignment of
        samples of a coarse clock).
        """
        if self.is_always_due:
            return AT_ONCE
        # A stream that is new needs a whole window.
        samples = self.settings.length
        period_ns = self.settings.period_ns
        if period_ns is None:
            samples = min([samples, *[ring.due_in for ring, _ in self._rings]])
        else:
            # A grid point is released by a value after it, so also by any value that follows one
            # at or after it.
            waits = [
                ring.due_ns - ring.last_ns
                if aligner is None
                else 1 - ring.due_ns // -period_ns * period_ns - (aligner.newest_ns or 0)
                for ring, aligner in self._rings
                if ring.size or aligner is None
            ]
            wait_ns = min(waits, default=samples * period_ns)
            samples = max(1, min(samples, -(-wait_ns // period_ns)))
        values = 1 if self.settings.align is None else len(self.signals)  # messages a sample
        usual = (samples - 1) * max(1, len(self._rings)) * values + 1
        # The first of these samples may come at any moment.
        seconds = (samples - 1) * (self.settings.period_ns or 0) / SECOND_NS / RATE_TOLERANCE
        return Due(samples, usual, seconds)

    def key_of(self, topic: str) -> tuple[str, str | None] | None:
        """Return what `find_key` does, but None also for a stream of another worker."""
        found = self.find_key(topic)
        if found is None or self.sources.have_keys_in_payload:
            return found
        return found if self._shard.takes(found[0]) else None

    def find_key(self, topic: str) -> Capture | None:
        """Return the stream key of a topic, as `PipelineSources.find_key` does."""
        return self.sources.find_key(topic)

    def serves(self, key: str) -> bool:
        """Return whether a stream of this key can come from the source as it is configured."""
        return self.sources.serves(key)

    def expect_table(self) -> None:
        """Expect samples of which nobody knows when they arrived; call it before the first one."""
        self.settings = replace(self.settings, is_undated=True)

    def alarm_topic_of(self, key: str) -> str:
        """Return the topic of the alarm of a stream."""
        return topics.fill(self.config.publish.alarm_topic, self._topic_fields(key))

    def _topic_fields(self, key: str) -> tuple[tuple[str, str], ...]:
        return (
            ("node", self._node),
            ("pipeline", self.name),
            ("model", self.manifest.name),
            ("asset", key),
        )

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
            self.log.assets.write(
                "first message of asset %s", printable(key),
                extra=event("asset_new", pipeline=self.name, asset=key),
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
        self._room.check_key(key)
        topic = topics.fill(self.config.publish.topic, self._topic_fields(key))
        alarm_topic = self.alarm_topic_of(key)
        if not (topics.is_topic_name(topic) and topics.is_topic_name(alarm_topic)):
            raise DecodeError("invalid_topic")
        self._room.take(key, now_ns)
        state = StreamState(
            key,
            Alarm(self.rule),
            topic=topic,
            alarm_topic=alarm_topic,
            id_prefix=f"{self.name}/{key}:",
            domain=Domain(self._settle_ns),
            is_announced=self.hooks.is_known_normal(alarm_topic),
        )
        state.is_told_stale = self.hooks.is_told_stale(alarm_topic)
        add = self.batch.add_signals if self.extras else self.batch.add
        state.add_window = partial(self.batch.add_joined if self.sources.inlets else add, state)
        if self.states is not None:
            state.tracker = self.states.start()
            state.add_window = partial(self.states.add, state)
        metrics = self.metrics
        state.made_ns = now_ns
        state.drops = StreamDrops(metrics.drops)
        state.stream = open_stream(
            self.settings, state.drops, metrics.resets, metrics.samples, state.add_window
        )
        state.stream.set_backs.on_set_back = partial(self._tell_set_back, state)
        if state.stream.cycles is not None:
            state.stream.cycles.on_cycle = partial(self._note_cycle, state)
            if self.states is not None:
                state.stream.cycles.on_samples = partial(self.states.follow, state)
        if self.sources.inlets:
            open_sources(state, self.sources.inlets)
        self.streams[key] = state
        self._rings.append((state.stream.ring, state.stream.aligner))
        self.metrics.streams.set(len(self.streams))
        return state

    def _evict(self, state: StreamState) -> bool:
        """Remove a silent stream, to make room for another.

        What waits for late samples still gets its windows first. If they raise an alarm, the
        stream stays: nobody else could end the alarm on its retained topic.

        Returns:
            Whether it was removed.
        """
        is_gone = self._remove(state)
        self.metrics.evicted.value += is_gone
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
                self.metrics.missed.inc(one.missing_frames.end())

    def _remove(self, state: StreamState) -> bool:
        self.flush(state)
        for lane in self.lanes:
            if lane.windows:
                lane.when_full()
        if state.status != "normal":
            return False
        del self.streams[state.key]
        self._rings.remove((state.stream.ring, state.stream.aligner))
        self.metrics.streams.set(len(self.streams))
        for one in (state, *state.sources):
            self.forget_stream(one)
        return True

    def _tell_set_back(self, state: StreamState, set_back: SetBack) -> None:
        if set_back.sign != "return":  # then the samples ahead are counted and told
            self.log.set_back(state.key, set_back)
        if self.on_set_back is not None:
            self.on_set_back(state, set_back)

    def _note_cycle(self, state: StreamState, cycle: Cycle) -> None:
        """Count a cycle that has ended, and tell it unless it is complete."""
        self.metrics.cycles[cycle.outcome] += 1
        if cycle.outcome == "complete":
            self.metrics.cycle_seconds.observe([cycle.duration_ns / SECOND_NS])
            return
        assert self.config.window.cycle is not None
        self.log.cycle(state.key, cycle, self.config.window.cycle)

    def _warn_of_coarse_values(self, channel: int, value: float) -> None:
        """Log once for each channel that float32 is too coarse for the model, or for its cycles."""
        if channel in self._coarse:
            return
        signal = self.channels[channel]
        if abs(value) >= LARGEST_NUMBER and signal in counters_of(self.config.window.cycle):
            text = COARSE_COUNTER.format(signal, value)
        elif self.resolution is not None:
            text = precision_text(signal, value, float(self.resolution.steps[channel]))
        else:
            return
        self._coarse.add(channel)
        log.warning(
            "pipeline %s: %s. Windows with such values are `uncertain`", self.name, text,
            extra=event("values_too_coarse", pipeline=self.name, signal=signal),
        )  # fmt: skip


def _forget_nothing(_state: StreamState) -> None:
    """Stand in for the engine."""
