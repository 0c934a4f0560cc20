"""The state of one pipeline: a model on a topic filter, and the streams it has seen."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from edgeai.alarms.alarm import alarm_rule, quality_rule
from edgeai.config.node import Config
from edgeai.engine.alarm_hooks import AlarmHooks
from edgeai.engine.answer_topics import AnswerTopics
from edgeai.engine.batch import bind_batch
from edgeai.engine.coarse_values import CoarseValues
from edgeai.engine.containment import Containment
from edgeai.engine.cycle_settings import counters_of
from edgeai.engine.inlets import Capture, Inlet
from edgeai.engine.intake_opener import SourceParts
from edgeai.engine.other_model import StateModel
from edgeai.engine.pipeline_log import PipelineLog
from edgeai.engine.pipeline_parts import make_answers, make_states
from edgeai.engine.pipeline_settings import extra_signals
from edgeai.engine.pipeline_sources import PipelineSources
from edgeai.engine.published_topics import PublishedTopics
from edgeai.engine.refusals import Refusals
from edgeai.engine.sharding import Shard
from edgeai.engine.stream_registry import StreamParts, StreamRegistry
from edgeai.engine.stream_room import ByteBudget
from edgeai.messages import AT_ONCE, SECOND_NS, Due, Message
from edgeai.metrics.definitions import Metrics
from edgeai.model.package import Package
from edgeai.model.resolution import Resolution
from edgeai.model.threshold_spec import HeldValuesSpec
from edgeai.providers.session import Session
from edgeai.streams.ring import RATE_TOLERANCE

NO_HELD_VALUES = HeldValuesSpec(good=0)


class Pipeline:
    """One pipeline at run time. What is done with it is in `intake`, `judging` and `engine`."""

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
        self.sources = PipelineSources(name, chosen, manifest, self.extras)
        self.settings = self.sources.settings
        self.quality_rule = quality_rule(
            math.prod(manifest.input_shape), chosen.stream.max_invalid_ratio, held.good, held.bad
        )
        self.batch = bind_batch(config.limits, manifest, session)
        self.refusals = Refusals(name, lambda: self.metrics.drops, explain=self.sources.explain)
        self.containment = Containment(name, self.metrics, self.refusals)
        self.log = PipelineLog(name)
        self.hooks = AlarmHooks()
        self.topics = PublishedTopics(chosen.publish, config.node, name, manifest.name)
        self.states = make_states(
            name, config, others or {}, metrics, self.metrics,
            channels=self.channels, settings=self.settings, rule=self.rule, batch=self.batch,
        )  # fmt: skip
        """Takes the windows of streams with operating states; None: no states are declared."""
        self.published = manifest.published
        self.registry = StreamRegistry(
            StreamParts(
                name, self.sources, self.batch, self.states, self.rule,
                settle_ns=round(manifest.settle_seconds * SECOND_NS),
                has_extras=bool(self.extras), cycle=chosen.window.cycle, topics=self.topics,
                metrics=self.metrics, hooks=self.hooks, log=self.log,
            ),
            config.limits, budget=budget, results=self.results, shard=shard,
        )  # fmt: skip
        """Makes and removes its streams."""
        self.stream_of = self.registry.stream_of
        self.streams = self.registry.streams
        """By key."""
        self._rings = self.registry.rings
        coarse = CoarseValues(name, self.channels, counters_of(chosen.window.cycle), resolution)
        parts = SourceParts(
            name, self.batch, self.metrics, self.containment, self.refusals, self.streams,
            self.stream_of, self.registry.takes_key, self.registry.stream_in_message,
            self.registry.is_counted_by, config.limits, coarse.tell,
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
        self.stale_after_seconds = self.sources.stale_after_seconds
        """Time without a sample after which an asset is stale; 0: never."""
        self.alarm_metrics = metrics.of_alarms(name, chosen.alarm.position, self.rule.priority)
        self.answers = make_answers(name, manifest, config, metrics, answer_topics)
        """Publishes its answers to controllers; None: it has none."""

    def take_without_stream(self, topic: str) -> Callable[[Message], None] | None:
        """Return what takes a topic whose messages name the streams, or are of none; None: nothing.

        Such messages are those of `source.names`, and those whose assets stand in them.
        """
        return self.sources.take_without_stream(self.intake, topic)

    @property
    def channels(self) -> list[str]:
        """The signals of a sample, in order: those of the model, then the extra ones."""
        return [*(signal.name for signal in self.manifest.measured), *self.extras]

    @property
    def sessions(self) -> list[Session]:
        """Its model's session, and those of the models of its states."""
        others = [] if self.states is None else self.states.others
        return [self.session, *[other.session for other in others]]

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
        return found if self.registry.shard.takes(found[0]) else None

    def find_key(self, topic: str) -> Capture | None:
        """Return the stream key of a topic, as `PipelineSources.find_key` does."""
        return self.sources.find_key(topic)

    def serves(self, key: str) -> bool:
        """Return whether a stream of this key can come from the source as it is configured."""
        return self.sources.serves(key)

    def expect_table(self) -> None:
        """Expect samples of which nobody knows when they arrived; call it before the first one."""
        self.settings = self.registry.settings = replace(self.settings, is_undated=True)
