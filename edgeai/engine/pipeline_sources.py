"""The sources of one pipeline: which topics are whose, and who takes their messages."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from edgeai import topics
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.engine.explanations import Explanations
from edgeai.engine.inlet_builder import build_inlets
from edgeai.engine.inlets import Capture, Inlet, find_capture
from edgeai.engine.intake import Intake
from edgeai.engine.intake.arrival import Arrival
from edgeai.engine.intake.records import RecordIntake
from edgeai.engine.intake_opener import SourceParts, open_intake
from edgeai.engine.pipeline_settings import stale_after_seconds, stream_settings
from edgeai.engine.record_explanations import places_in
from edgeai.engine.source_plans import joined_settings, source_plans
from edgeai.messages import Message
from edgeai.model.manifest import Manifest
from edgeai.model.resolution import Resolution


class PipelineSources:
    """The one source of a pipeline, or several that are joined."""

    def __init__(
        self, name: str, config: PipelineConfig, manifest: Manifest, extras: Sequence[str]
    ) -> None:
        """Find what the sources mean for topics and streams.

        Args:
            name: The pipeline's.
            config: The pipeline's.
            manifest: Its model's.
            extras: Signals that conditions or the context name and the model does not have.
        """
        self._name, self._config, self._manifest = name, config, manifest
        self._extras = list(extras)
        declared = list(config.named_sources.values())
        self.template = topics.TopicTemplate(declared[0].topic)
        """Of the source; of several, all of which capture the same levels, that of the first."""
        self.filters = [one for source in declared for one in source.filters]
        self.layouts = {source.layout for source in declared}
        self.place = f"pipelines.{name}.{'sources' if config.sources else 'source'}"
        """Where they are in the configuration."""
        self.have_times = all(source.time is not None for source in declared)
        self._key_levels = declared[0].key_levels
        self.have_keys_in_payload = any(source.has_key_in_payload for source in declared)
        """Whether messages name the streams, so that one may be of several."""
        self._assets = [topics.compile_pattern(pattern) for pattern in declared[0].assets]
        self.plans = source_plans(config, manifest, extras)
        """Of several sources, or of one and a context; otherwise none."""
        self.inlets: list[Inlet] = []
        """One for each plan, after `open`."""
        self._explanations: Explanations | None = None
        if self.plans:
            self.settings = joined_settings(config, manifest, extras, self.plans)
            self.stale_after_seconds = max(plan.stale_after_seconds for plan in self.plans)
        else:
            self.settings = stream_settings(config, manifest, extras)
            self.stale_after_seconds = stale_after_seconds(config, self.settings)

    # ------------------------------------------------------------------------------------ messages

    def open(
        self, parts: SourceParts, resolution: Resolution | None
    ) -> tuple[Intake, list[Mapping[str, int]]]:
        """Make what takes the messages.

        Args:
            parts: What the sources share.
            resolution: Of the model's signals.

        Returns:
            The intake of the source, of several that of the leading one, whose rows may wait; and
            the counters of values that could not be used.
        """
        if self.plans:
            self.inlets, counts = build_inlets(parts, self.plans, resolution)
            waiting = [inlet.intake for inlet in self.inlets if inlet.intake.waits]
            return (waiting or [self.inlets[0].intake])[0], counts
        cycle = self._config.window.cycle
        intake, self._explanations, counts = open_intake(
            parts,
            self._config,
            self._manifest,
            self._extras,
            place="source",
            template=self.template,
            find_key=self.find_key,
            resolution=resolution,
            on_coarse=parts.on_coarse,
            batch=parts.batch,
            arrival=Arrival(self._config.only_source, self.settings.period_ns),
            is_aligned=self.settings.align is not None,
            lateness_ns=self.settings.lateness_ns,
            whole_cycles=cycle is not None and cycle.message,
        )
        return intake, counts

    def explain(
        self, reason: str, topic: str, payload: bytes | memoryview, received_ns: int = 0
    ) -> str:
        """Return what is wrong with a refused message, as `Explanations.of` does."""
        if self._explanations is not None:
            return self._explanations.of(reason, topic, payload, received_ns)
        inlet = self._inlet_of(topic)
        return "" if inlet is None else inlet.explanations.of(reason, topic, payload, received_ns)

    def intake_of(self, topic: str) -> Intake | None:
        """Return the intake of the source, of several, that takes a topic; None: there is one."""
        inlet = self._inlet_of(topic)
        return None if inlet is None else inlet.intake

    def _inlet_of(self, topic: str) -> Inlet | None:
        return next((one for one in self.inlets if one.find_key(topic) is not None), None)

    def place_of(self, signal: str) -> str:
        """Return where the configuration declares a signal: the `signals` of its source."""
        found = (f"{plan.place}.signals" for plan in self.plans if signal in plan.signals)
        return f"pipelines.{self._name}.{next(found, 'source.signals')}"

    # -------------------------------------------------------------------------------------- topics

    def find_key(self, topic: str) -> Capture | None:
        """Return the stream key of a topic, and the tag if the topic holds it.

        The key is the captured levels, or the pipeline's name if the filter captures none. None if
        the topic is not this pipeline's.
        """
        if self.inlets:
            captures = (inlet.find_key(topic) for inlet in self.inlets)
            found = next((one for one in captures if one is not None), None)
        else:
            found = find_capture(self.template, self._name, topic)
        if found is None or self.have_keys_in_payload:  # then it is only a part of a key
            return found
        return found if self.wants(found[0]) else None

    def take_without_stream(self, intake: Intake, topic: str) -> Callable[[Message], None] | None:
        """Return what takes a topic whose messages name the streams, or are of none; None: nothing.

        Args:
            intake: Of the only source.
            topic: Of a message.
        """
        if not isinstance(intake, RecordIntake):
            return None
        names = intake.take_names_of(topic)
        if names is not None or not self.have_keys_in_payload:
            return names
        if self.find_key(topic) is None:
            return None
        tag, levels = places_in(self._config.only_source, self.template, topic)
        return partial(intake.take_of_levels, levels or [], tag)

    def is_of_names(self, topic: str) -> bool:
        """Return whether messages of a topic give identifiers their names (`source.names`)."""
        names = (source.names for source in self._config.named_sources.values())
        return any(
            one and topics.TopicTemplate(one.topic).match(topic) is not None for one in names
        )

    def is_for_all_workers(self, topic: str) -> bool:
        """Return whether a topic's messages are of streams that every worker may have."""
        if self.is_of_names(topic):
            return True
        return self.have_keys_in_payload and self.find_key(topic) is not None

    def wants(self, key: str) -> bool:
        """Return whether `source.assets` lets a stream key through."""
        return not self._assets or any(pattern.fullmatch(key) for pattern in self._assets)

    def serves(self, key: str) -> bool:
        """Return whether a stream of this key can come from the sources as they are configured."""
        levels = self._key_levels
        fits = key.count("/") + 1 == levels if levels else key == self._name
        fits = fits or (levels == 1 and self.have_keys_in_payload)  # which may hold a slash
        return fits and self.wants(key)

    def topic_of(self, key: str) -> str:
        """Return the topic of the messages of a stream; `+` stands for the level of the signal."""
        names = [name for name in self.template.fields if name != RESERVED_CAPTURE]
        levels = zip(names, key.split("/"), strict=False)
        return topics.fill(self.template.template, (*levels, (RESERVED_CAPTURE, "+")))
