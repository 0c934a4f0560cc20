"""Open what takes the messages of one source: its intake, and what explains its refusals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from edgeai import topics
from edgeai.config.limits import Limits
from edgeai.config.pipeline import PipelineConfig
from edgeai.engine.batch import Batch
from edgeai.engine.containment import Containment
from edgeai.engine.explanations import Explanations
from edgeai.engine.inlets import Capture
from edgeai.engine.intake import INTAKES, Intake, IntakeParts, kind_of
from edgeai.engine.intake.arrival import Arrival
from edgeai.engine.intake.records import RecordIntake
from edgeai.engine.pipeline_settings import make_conditioner
from edgeai.engine.record_explanations import RecordExplanations, places_in
from edgeai.engine.refusals import Refusals
from edgeai.engine.stream_state import StreamState
from edgeai.engine.unusable_values import UnusableValues
from edgeai.metrics.pipelines import PipelineMetrics
from edgeai.model.manifest import Manifest
from edgeai.model.resolution import Resolution


@dataclass(frozen=True)
class SourceParts:
    """What the sources of a pipeline share."""

    name: str
    """The pipeline's."""
    batch: Batch
    metrics: PipelineMetrics
    containment: Containment
    refusals: Refusals
    assets: Mapping[str, StreamState]
    """The pipeline's assets by key."""
    asset_at: Callable[[str, int], StreamState]
    """As of `Inlet`."""
    takes: Callable[[str], bool]
    """As of `Inlet`."""
    stream_in_message: Callable[[str, int], StreamState | str]
    """As `IntakeParts.stream_of`."""
    is_counted_by: Callable[[str], bool]
    """As of `IntakeParts`."""
    limits: Limits
    """The node's."""
    on_coarse: Callable[[int, float], None]
    """Called with place and value for each signal that has too coarse values."""


class Opened(NamedTuple):
    """What takes the messages of a source."""

    intake: Intake
    explanations: Explanations
    counts: list[Mapping[str, int]]
    """The counters of values that could not be used."""


def open_intake(
    parts: SourceParts,
    config: PipelineConfig,
    manifest: Manifest,
    extras: Sequence[str],
    *,
    place: str,
    template: topics.TopicTemplate,
    find_key: Callable[[str], Capture | None],
    resolution: Resolution | None,
    on_coarse: Callable[[int, float], None],
    batch: Batch,
    arrival: Arrival,
    is_aligned: bool,
    lateness_ns: int,
    whole_cycles: bool = False,
) -> Opened:
    """Open the intake of a source.

    Args:
        parts: What the sources of its pipeline share.
        config: The pipeline's, with this source as its only one.
        manifest: The model's, with the signals that this source carries.
        extras: Signals that this source carries and the model does not have.
        place: Where the source is in the pipeline's configuration.
        template: Of its topic.
        find_key: As of `Explanations`.
        resolution: Of the model's signals that it carries.
        on_coarse: As of `SourceParts`, with the place in this source's samples.
        batch: Takes its windows.
        arrival: As of `IntakeParts`.
        is_aligned: As of `IntakeParts`.
        lateness_ns: As of `IntakeParts`.
        whole_cycles: As of `IntakeParts`.
    """
    source = config.only_source
    names = [*(one.name for one in manifest.measured), *extras]
    explanations = Explanations(
        parts.name, config, manifest, find_key, extras=extras, limits=parts.limits, place=place
    )
    conditioner = make_conditioner(config, manifest, resolution, extras)
    conditioner.on_coarse = on_coarse
    intake = INTAKES[kind_of(source)](
        IntakeParts(
            source,
            names,
            len(extras),
            conditioner,
            batch,
            parts.metrics,
            containment=parts.containment,
            arrival=arrival,
            refusals=parts.refusals,
            is_aligned=is_aligned,
            stream_of=parts.stream_in_message,
            is_counted_by=parts.is_counted_by,
            unusable=UnusableValues(parts.name, names, explanations),
            whole_cycles=whole_cycles,
            lateness_ns=lateness_ns,
            limits=parts.limits,
        )
    )
    if isinstance(intake, RecordIntake):
        explanations.records = RecordExplanations(
            f"pipelines.{parts.name}.{place}", source, intake.decoder,
            partial(places_in, source, template),
        ).of  # fmt: skip
    counts = [one for one in (conditioner.counts, intake.invalid) if one is not None]
    return Opened(intake, explanations, counts)
