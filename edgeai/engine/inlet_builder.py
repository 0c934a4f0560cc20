"""Build the inlets of a pipeline with several sources."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from edgeai import topics
from edgeai.engine.inlets import (
    Inlet,
    InletIntake,
    LeadingIntake,
    SourceBatch,
    find_capture,
    narrower_templates,
)
from edgeai.engine.intake.arrival import Arrival, SideArrival
from edgeai.engine.intake_opener import SourceParts, open_intake
from edgeai.engine.source_plans import SourcePlan
from edgeai.model.resolution import Resolution


def build_inlets(
    parts: SourceParts, plans: Sequence[SourcePlan], resolution: Resolution | None
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
        arrival = Arrival if plan.spec.rule is None else SideArrival
        inner, explanations, invalid = open_intake(
            parts,
            plan.config,
            plan.manifest,
            plan.extras,
            place=plan.place,
            template=template,
            find_key=partial(find_capture, template, parts.name),
            resolution=_part_of(resolution, plan),
            on_coarse=partial(_tell_coarse, parts.on_coarse, plan.spec.places),
            batch=batch,
            arrival=arrival(plan.source, plan.spec.settings.period_ns),
            is_aligned=plan.source.layout == "tag",
            lateness_ns=plan.spec.settings.lateness_ns,
        )
        counts += invalid
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
