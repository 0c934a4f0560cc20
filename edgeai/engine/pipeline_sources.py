"""The sources of one pipeline: which topics are whose, and who takes their messages."""

from collections.abc import Mapping, Sequence

from edgeai import topics
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.engine.explanations import Explanations
from edgeai.engine.inlet_builder import InletParts, build_inlets
from edgeai.engine.inlets import Capture, Inlet, find_capture
from edgeai.engine.intake import INTAKES, Intake, IntakeParts
from edgeai.engine.intake.arrival import Arrival
from edgeai.engine.pipeline_settings import make_conditioner, stale_after_seconds, stream_settings
from edgeai.engine.source_plans import joined_settings, source_plans
from edgeai.engine.unusable_values import UnusableValues
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
        self.filters = [topics.template_filter(source.topic) for source in declared]
        self.layouts = {source.layout for source in declared}
        self.place = f"pipelines.{name}.{'sources' if config.sources else 'source'}"
        """Where they are in the configuration."""
        self.have_times = all(source.time is not None for source in declared)
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
        self, parts: InletParts, resolution: Resolution | None
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
        source = self._config.only_source
        signals = [one.name for one in self._manifest.measured]
        cycle = self._config.window.cycle
        names = [*signals, *self._extras]
        explanations = Explanations(
            self._name,
            self._config,
            self._manifest,
            self.find_key,
            extras=self._extras,
            limits=parts.limits,
        )
        self._explanations = explanations
        conditioner = make_conditioner(self._config, self._manifest, resolution, self._extras)
        conditioner.on_coarse = parts.on_coarse
        intake = INTAKES[source.layout](
            IntakeParts(
                source,
                names,
                len(self._extras),
                conditioner,
                parts.batch,
                parts.metrics,
                containment=parts.containment,
                arrival=Arrival(source, self.settings.period_ns),
                refusals=parts.refusals,
                unusable=UnusableValues(self._name, names, explanations),
                whole_cycles=cycle is not None and cycle.message,
                limits=parts.limits,
            )
        )
        return intake, [one for one in (conditioner.counts, intake.invalid) if one is not None]

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
        return found if found is not None and self.wants(found[0]) else None

    def wants(self, key: str) -> bool:
        """Return whether `source.assets` lets a stream key through."""
        return not self._assets or any(pattern.fullmatch(key) for pattern in self._assets)

    def serves(self, key: str) -> bool:
        """Return whether a stream of this key can come from the sources as they are configured."""
        levels = len([name for name in self.template.fields if name != RESERVED_CAPTURE])
        fits = key.count("/") + 1 == levels if levels else key == self._name
        return fits and self.wants(key)

    def topic_of(self, key: str) -> str:
        """Return the topic of the messages of a stream; `+` stands for the level of the signal."""
        names = [name for name in self.template.fields if name != RESERVED_CAPTURE]
        levels = zip(names, key.split("/"), strict=False)
        return topics.fill(self.template.template, (*levels, (RESERVED_CAPTURE, "+")))
