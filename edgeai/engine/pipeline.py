"""The state of one pipeline: a model on a topic filter, and the streams it has seen."""

import logging
import math
from collections.abc import Callable
from functools import partial

from edgeai import topics
from edgeai.alarms.alarm import Alarm, alarm_rule, quality_rule
from edgeai.alarms.diagnosis import Domain
from edgeai.config.node import Config
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.engine.batch import Batch
from edgeai.engine.containment import Containment
from edgeai.engine.explanations import Explanations
from edgeai.engine.intake import INTAKES, IntakeParts
from edgeai.engine.intake.arrival import Arrival
from edgeai.engine.pipeline_log import PipelineLog
from edgeai.engine.pipeline_settings import (
    extra_signals,
    make_conditioner,
    stale_after_seconds,
    stream_settings,
)
from edgeai.engine.publications import Transition
from edgeai.engine.refusals import Refusals, printable
from edgeai.engine.sharding import Shard
from edgeai.engine.stream_drops import StreamDrops
from edgeai.engine.stream_room import ByteBudget, StreamRoom
from edgeai.engine.stream_state import StreamState
from edgeai.engine.unusable_values import UnusableValues
from edgeai.errors import DecodeError
from edgeai.log_events import event
from edgeai.messages import AT_ONCE, SECOND_NS, AlarmState, Due, Priority, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.model.output_spec import UNPUBLISHED
from edgeai.model.package import Package
from edgeai.model.resolution import Resolution, precision_text
from edgeai.model.threshold_spec import HeldValuesSpec
from edgeai.providers.session import Session, batch_capacity
from edgeai.streams.factory import open_stream
from edgeai.streams.ring import RATE_TOLERANCE, Ring
from edgeai.streams.set_back import SetBack

log = logging.getLogger("edgeai.pipeline")

NO_HELD_VALUES = HeldValuesSpec(good=0)


OnTransition = Callable[[StreamState, Publication, Transition], None]
"""Takes the stream, the retained message, and its content."""


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
        """
        chosen = config.pipelines[name]
        manifest = package.manifest
        self.name, self.config = name, chosen
        self.manifest = manifest
        self.session = session
        self.metrics = metrics.of_pipeline(name, manifest.name, session.provider)
        self.template = topics.TopicTemplate(chosen.source.topic)
        self.signals = [signal.name for signal in manifest.signals]
        self.extras = extra_signals(chosen, manifest)
        """Signals that conditions name and the model does not have."""
        self.rule = alarm_rule(
            manifest.threshold.value, manifest.alarm, chosen.alarm, manifest.threshold.abnormal
        )
        self._settle_ns = round(manifest.settle_seconds * SECOND_NS)
        self.settings = stream_settings(chosen, manifest, self.extras)
        self.quality_rule = quality_rule(
            math.prod(manifest.input_shape), chosen.stream.max_invalid_ratio, held.good, held.bad
        )
        capacity = batch_capacity(
            config.limits.batch_windows, manifest.input_bytes, session.batch_bytes
        )
        self.batch = Batch(capacity, manifest.input_shape, manifest.input_dtype)
        session.bind(self.batch.values)
        explanations = Explanations(
            name, chosen, manifest, self.find_key, extras=self.extras, limits=config.limits
        )
        self.refusals = Refusals(name, lambda: self.metrics.drops, explain=explanations.of)
        self.containment = Containment(name, self.metrics, self.refusals)
        self.log = PipelineLog(name)
        self.resolution = resolution
        self._coarse: set[int] = set()
        """Channels of which the log has told that float32 is too coarse for them."""
        conditioner = make_conditioner(chosen, manifest, resolution, self.extras)
        conditioner.on_coarse = self._warn_of_coarse_values
        self.intake = INTAKES[chosen.source.layout](
            IntakeParts(
                chosen.source,
                self.channels,
                len(self.extras),
                conditioner,
                self.batch,
                self.metrics,
                containment=self.containment,
                arrival=Arrival(chosen.source, self.settings.period_ns),
                refusals=self.refusals,
                unusable=UnusableValues(name, self.channels, explanations),
                lateness_ns=self.settings.lateness_ns,
                limits=config.limits,
            )
        )
        counts = [self.metrics.invalid, conditioner.counts, self.intake.invalid]
        self.metrics.count_invalid([count for count in counts if count is not None])
        self.is_always_due = (
            not self.intake.waits
            or chosen.source.time is None
            or self.settings.align is not None
            or self.settings.lateness_ns > 0
            or self.settings.hop == 1
        )
        """Whether any message may complete a window, so that `due` has nothing to compute."""
        self.outputs = [output.name for output in manifest.outputs]
        judged = {manifest.score, manifest.contribution}
        self.published = [
            (output.name, output.unit)
            for output in manifest.outputs
            if output.name not in judged and output.role not in UNPUBLISHED
        ]
        """Name and unit of the outputs that predictions carry beside score and contributions."""
        self.streams: dict[str, StreamState] = {}
        self.stale_after_seconds = stale_after_seconds(chosen, self.settings)
        """Time without a sample after which an asset is stale; 0: never."""
        self.is_known_normal: Callable[[str], bool] = _is_any_normal
        """Whether an alarm topic is known to say `normal`; if not, the alarm of a new stream is
        published with its first window. Wired by `restore_alarms`."""
        self.on_transition: OnTransition = _ignore_transition
        """Called with each change of an alarm's state; wired by the monitor."""
        self._rings: list[Ring] = []
        """The rings of all streams."""
        self._room = StreamRoom(
            name,
            self.streams,
            self.settings,
            config.limits,
            budget=budget,
            evict=self._evict,
            results=self.results,
        )
        self._assets = [topics.compile_pattern(pattern) for pattern in chosen.source.assets]
        self.forget_stream: Callable[[StreamState], None] = _forget_nothing
        """Called with a stream that has left; wired by the engine."""
        self._node, self._shard = config.node, shard or Shard()

    @property
    def channels(self) -> list[str]:
        """The signals of a sample, in order: those of the model, then the extra ones."""
        return [*self.signals, *self.extras]

    @property
    def results(self) -> int:
        """Number of outputs and contributions that are kept of each stream's last window."""
        return len(self.published) + min(self.config.publish.top, len(self.signals))

    def due(self) -> Due:
        """Return when the next window can be due at the earliest, counted from now.

        One message brings each stream at most one sample, which at the model's rate is one sample
        period later than the one before. A window is always due where a sample
        takes its time from its arrival, where samples come in blocks, and where one sample can
        release others (reordering, alignment).
        """
        if self.is_always_due:
            return AT_ONCE
        # A stream that is new needs a whole window.
        samples = self.settings.length
        period_ns = self.settings.period_ns
        if period_ns is None:
            samples = min([samples, *[ring.due_in for ring in self._rings]])
        elif self._rings:
            wait_ns = min([ring.due_ns - ring.last_ns for ring in self._rings])
            samples = max(1, min(samples, -(-wait_ns // period_ns)))
        usual = (samples - 1) * max(1, len(self._rings)) + 1
        # The first of these samples may come at any moment.
        seconds = (samples - 1) * (self.settings.period_ns or 0) / SECOND_NS / RATE_TOLERANCE
        return Due(samples, usual, seconds)

    def key_of(self, topic: str) -> tuple[str, str | None] | None:
        """Return what `find_key` does, but None also for a stream of another worker."""
        found = self.find_key(topic)
        return found if found is not None and self._shard.takes(found[0]) else None

    def find_key(self, topic: str) -> tuple[str, str | None] | None:
        """Return the stream key of a topic, and the tag if the topic holds it.

        The key is the captured levels, or the pipeline's name if the filter captures none. None if
        the topic is not this pipeline's.
        """
        captures = self.template.match(topic)
        if captures is None:
            return None
        tag = captures.pop(RESERVED_CAPTURE, None)
        key = "/".join(captures.values()) or self.name
        return (key, tag) if self._wants(key) else None

    def _wants(self, key: str) -> bool:
        """Return whether `source.assets` lets a stream key through."""
        return not self._assets or any(pattern.fullmatch(key) for pattern in self._assets)

    def serves(self, key: str) -> bool:
        """Return whether a stream of this key can come from the source as it is configured."""
        levels = len([name for name in self.template.fields if name != RESERVED_CAPTURE])
        fits = key.count("/") + 1 == levels if levels else key == self.name
        return fits and self._wants(key)

    def source_topic_of(self, key: str) -> str:
        """Return the topic of the messages of a stream; `+` stands for the level of the signal."""
        names = [name for name in self.template.fields if name != RESERVED_CAPTURE]
        levels = zip(names, key.split("/"), strict=False)
        return topics.fill(self.config.source.topic, (*levels, (RESERVED_CAPTURE, "+")))

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
        self, key: str, alarm: AlarmState, since_ns: int, priority: Priority = "high"
    ) -> StreamState:
        """Make a stream before its first message, with the alarm of before a restart.

        Args:
            key: The stream's.
            alarm: State of its alarm.
            since_ns: Sample time of the transition to it.
            priority: Of its alarm.

        Raises:
            DecodeError: As `stream_of`.
        """
        state = self.streams.get(key) or self._make_stream(key, 0)
        if alarm != "normal":
            state.alarm.restore(alarm, since_ns, priority)
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
            is_announced=self.is_known_normal(alarm_topic),
        )
        state.add_window = partial(self.batch.add_signals if self.extras else self.batch.add, state)
        metrics = self.metrics
        state.made_ns = now_ns
        state.drops = StreamDrops(metrics.drops)
        state.stream = open_stream(
            self.settings, state.drops, metrics.resets, metrics.samples, state.add_window
        )
        state.stream.set_backs.on_set_back = partial(self._tell_set_back, state)
        self.streams[key] = state
        self._rings.append(state.stream.ring)
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
        if state.missing_frames is not None:
            self.metrics.missed.inc(state.missing_frames.end())

    def _remove(self, state: StreamState) -> bool:
        self.flush(state)
        if self.batch.windows:
            self.batch.when_full()
        if state.alarm.state != "normal":
            return False
        del self.streams[state.key]
        self._rings.remove(state.stream.ring)
        self.metrics.streams.set(len(self.streams))
        self.forget_stream(state)
        return True

    def _tell_set_back(self, state: StreamState, set_back: SetBack) -> None:
        self.log.set_back(state.key, set_back)
        if self.on_set_back is not None:
            self.on_set_back(state, set_back)

    def _warn_of_coarse_values(self, channel: int, value: float) -> None:
        """Log once for each channel that float32 loses the steps that the model knows."""
        if self.resolution is None or channel in self._coarse:
            return
        self._coarse.add(channel)
        step = float(self.resolution.steps[channel])
        text = precision_text(self.signals[channel], value, step)
        signal = self.signals[channel]
        log.warning(
            "pipeline %s: %s. Windows with such values are `uncertain`", self.name, text,
            extra=event("values_too_coarse", pipeline=self.name, signal=signal),
        )  # fmt: skip


def _ignore_transition(
    _state: StreamState, _publication: Publication, _transition: Transition
) -> None:
    """Do nothing: there is no monitor."""


def _is_any_normal(_alarm_topic: str) -> bool:
    """Say that nothing is retained: there is no run before this one."""
    return True


def _forget_nothing(_state: StreamState) -> None:
    """Stand in for the engine."""
