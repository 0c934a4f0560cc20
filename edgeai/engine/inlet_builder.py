"""Build the inlets of a pipeline with several sources."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgeai import topics
from edgeai.config.limits import Limits
from edgeai.engine.batch import Batch
from edgeai.engine.containment import Containment
from edgeai.engine.explanations import Explanations
from edgeai.engine.inlets import (
    Inlet,
    InletIntake,
    LeadingIntake,
    SourceBatch,
    find_capture,
    narrower_templates,
)
from edgeai.engine.intake import INTAKES, IntakeParts
from edgeai.engine.intake.arrival import Arrival, SideArrival
from edgeai.engine.pipeline_settings import make_conditioner
from edgeai.engine.refusals import Refusals
from edgeai.engine.source_plans import SourcePlan
from edgeai.engine.stream_state import StreamState
from edgeai.engine.unusable_values import UnusableValues
from edgeai.metrics.definitions import PipelineMetrics
from edgeai.model.resolution import Resolution


@dataclass(frozen=True)
class InletParts:
    """What the inlets of a pipeline share."""

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
    limits: Limits
    """The node's."""
    on_coarse: Callable[[int, float], None]
    """Called with place and value for each signal that has too coarse values."""


def build_inlets(
    parts: InletParts, plans: Sequence[SourcePlan], resolution: Resolution | None
) -> tuple[list[Inlet], list[Mapping[str, int]]]:
    """Return the inlets, and the counters of values that could not be used.

    Args:
        parts: What they share.
        plans: Of the sources.
        resolution: Of the model's signals.
    """
    templates = {plan.place: topics.TopicTemplate(plan.source.topic) for plan in plans}
    batch = SourceBatch(parts.batch, parts.assets.get)
    inlets: list[Inlet] = []
    counts: list[Mapping[str, int]] = []
    for number, plan in enumerate(plans):
        template = templates[plan.place]
        narrower = narrower_templates(templates, plan.place)
        conditioner = make_conditioner(
            plan.config, plan.manifest, _part_of(resolution, plan), plan.extras
        )
        places = plan.spec.places
        conditioner.on_coarse = partial(_tell_coarse, parts.on_coarse, places)
        explanations = Explanations(
            parts.name, plan.config, plan.manifest,
            partial(find_capture, template, parts.name), extras=plan.extras, limits=parts.limits,
            place=plan.place,
        )  # fmt: skip
        arrival = Arrival if plan.spec.rule is None else SideArrival
        inner = INTAKES[plan.source.layout](
            IntakeParts(
                plan.source,
                plan.signals,
                len(plan.extras),
                conditioner,
                batch,
                parts.metrics,
                containment=parts.containment,
                arrival=arrival(plan.source, plan.spec.settings.period_ns),
                refusals=parts.refusals,
                unusable=UnusableValues(parts.name, plan.signals, explanations),
                limits=parts.limits,
            )
        )
        counts += [one for one in (conditioner.counts, inner.invalid) if one is not None]
        kind = LeadingIntake if plan.spec.rule is None else InletIntake
        intake = kind(inner, number, parts.assets.get)
        inlets.append(
            Inlet(
                plan,
                number,
                template,
                narrower,
                intake,
                explanations,
                metrics=parts.metrics,
                containment=parts.containment,
                refusals=parts.refusals,
                asset_at=parts.asset_at,
                takes=parts.takes,
                default_key=parts.name,
            )
        )
    leading = next((inlet.intake for inlet in inlets if inlet.intake.waits), None)
    if leading is not None:
        for inlet in inlets:
            if inlet.intake is not leading:
                inlet.intake.before = partial(_window_if_touched, leading)
    return inlets, counts


def _part_of(resolution: Resolution | None, plan: SourcePlan) -> Resolution | None:
    """Return the resolution of the signals of the model that a source carries."""
    if resolution is None:
        return None
    signals = len(plan.manifest.signals)
    chosen = np.array(plan.spec.places[:signals], np.intp)
    return Resolution(resolution.steps[chosen], resolution.largest[chosen])


def _tell_coarse(
    tell: Callable[[int, float], None], places: Sequence[int], channel: int, value: float
) -> None:
    tell(places[channel], value)


def _window_if_touched(leading: InletIntake) -> None:
    """Push the rows of the leading source that came before a message of another source."""
    if leading.touched:
        leading.window()
