"""The model of some operating states of a pipeline, beside the pipeline's own."""

import math
from typing import NamedTuple

from edgeai.alarms.alarm import alarm_rule, quality_rule
from edgeai.alarms.diagnosis import Domain
from edgeai.config.node import Config
from edgeai.config.pipeline import PipelineConfig
from edgeai.engine.batch import bind_batch
from edgeai.engine.stream_state import StreamState
from edgeai.messages import SECOND_NS
from edgeai.metrics.definitions import Metrics
from edgeai.metrics.pipelines import PipelineMetrics
from edgeai.model.package import Package
from edgeai.model.threshold_spec import HeldValuesSpec
from edgeai.providers.session import Session


class StateModel(NamedTuple):
    """A model that a state names: its package, proven session, and what its windows bear."""

    package: Package
    session: Session
    held: HeldValuesSpec


class OtherModel:
    """A model with its session and its batch. Its windows have the shape of the pipeline's."""

    def __init__(
        self,
        model: StateModel,
        config: Config,
        pipeline: PipelineConfig,
        metrics: Metrics,
        counts: PipelineMetrics,
    ) -> None:
        """Prepare.

        Args:
            model: The model.
            config: The configuration of the node.
            pipeline: The pipeline's.
            metrics: The node's.
            counts: The pipeline's.
        """
        package, session, held = model
        self.manifest = manifest = package.manifest
        self.session = session
        self.outputs = [output.name for output in manifest.outputs]
        self.published = manifest.published
        # Threshold and deadband are in the unit of the score, so the pipeline's mean nothing here.
        chosen = pipeline.alarm.model_copy(update={"threshold": None, "deadband": None})
        self.rule = alarm_rule(
            manifest.threshold.value, manifest.alarm, chosen, manifest.threshold.abnormal
        )
        """Without the settings of a state."""
        self.quality_rule = quality_rule(
            math.prod(manifest.input_shape), pipeline.stream.max_invalid_ratio, held.good, held.bad
        )
        self.batch = bind_batch(config.limits, manifest, session)
        self.metrics = metrics.of_model(manifest.name, session.provider, counts)
        self._settle_ns = round(manifest.settle_seconds * SECOND_NS)

    def domain_of(self, state: StreamState) -> Domain:
        """Return whether a stream's windows are in the domain of this model."""
        domains = state.other_domains
        found = domains.get(self.manifest.name)
        if found is None:
            found = domains[self.manifest.name] = Domain(self._settle_ns)
        return found
