"""The report of `edgeai check`: each pipeline with its model, provider, stream and threshold."""

from edgeai.assembly.pipelines import (
    BATCH_DEPENDENT,
    build_pipelines,
    close_sessions,
    wait_for_accelerators,
)
from edgeai.assembly.plan import Plan
from edgeai.config.source import RESERVED_CAPTURE
from edgeai.engine.pipeline import Pipeline
from edgeai.metrics.definitions import Metrics


def describe_plan(plan: Plan) -> list[str]:
    """Load every model of a plan as `run` does, and return the lines of the report.

    Raises:
        ConfigError: As `build_pipelines`.
        ModelError: As `build_pipelines`.
    """
    pipelines = build_pipelines(plan, Metrics())
    try:
        wait_for_accelerators(pipelines)
        found = [line for pipeline in pipelines for line in _describe(pipeline, plan)]
    finally:
        close_sessions(pipelines)
    warnings = [f"warning: {warning}" for warning in plan.warnings]
    return [*found, *warnings, f"{plan.path}: ok"]


def _streams_of(pipeline: Pipeline) -> str:
    """Return the topic as declared, and the one stream's name if the topic captures none."""
    template = pipeline.template
    if any(field != RESERVED_CAPTURE for field in template.fields):
        return template.template
    return f"{template.template} as one stream, asset {pipeline.name}"


def _describe(pipeline: Pipeline, plan: Plan) -> list[str]:
    manifest, session, name = pipeline.manifest, pipeline.session, pipeline.name
    what = (
        f"{name}: {manifest.name} {manifest.version} on {session.provider}, "
        f"{_streams_of(pipeline)} (QoS {pipeline.config.source.qos}), "
        f"{len(pipeline.signals)} signals, window {pipeline.settings.length}, "
        f"hop {pipeline.settings.hop}, threshold {pipeline.rule.threshold:g}"
    )
    lines = [what]
    if session.reason:
        lines.append(f"{name}: note: {session.requested} was requested; {session.reason}")
    if session.batch_multiple is None:
        lines.append(f"{name}: note: {BATCH_DEPENDENT}")
    if plan.config.workers > 1 and not pipeline.template.fields:
        rule = "captures no level, so it is one stream, which only one worker can serve"
        lines.append(f"{name}: note: {pipeline.template.template} {rule}")
    return lines
