"""The report of `edgeai check`: each pipeline with its model, provider, stream and threshold."""

from collections.abc import Iterator

from edgeai.assembly.answer_report import describe_answers, describe_heartbeat
from edgeai.assembly.pipelines import (
    build_pipelines,
    close_sessions,
    describe_batch_effect,
    wait_for_accelerators,
)
from edgeai.assembly.plan import Plan
from edgeai.assembly.probe import describe_probes
from edgeai.assembly.signatures import describe_signature
from edgeai.engine.pipeline import Pipeline
from edgeai.metrics.definitions import Metrics
from edgeai.model.direction import SIDES
from edgeai.model.inspection import describe_opset
from edgeai.model.meaning import describe_decisions, describe_ranges
from edgeai.model.package import Package
from edgeai.model.resolution import describe_precision

COUNTED_HOPS = (
    "{} has no sample rate, so every {} samples are counted from the start of edgeai: after a "
    "restart windows end at other samples, with other ids (`window.hop: 1` avoids it)"
)


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
    if plan.config.heartbeat is not None:
        found += describe_heartbeat(plan.config.heartbeat, plan.config.node)
    notes = [f"note: {note}" for note in plan.notes]
    warnings = [f"warning: {warning}" for warning in plan.warnings]
    return [*found, *notes, *warnings, f"{plan.path}: ok"]


def _streams_of(pipeline: Pipeline) -> str:
    """Return the topics as declared, and the one stream's name if a topic captures none."""
    found = []
    for place, source in pipeline.config.named_sources.items():
        name = place.removeprefix("sources.")
        of = "" if place == "source" else f"{name} "
        as_one = "" if source.key_levels else f" as one stream, asset {pipeline.name}"
        inside = ", asset in the message" if source.has_key_in_payload else ""
        found.append(f"{of}{source.topic}{as_one}{inside} (QoS {source.qos})")
    return ", ".join(found)


def _describe(pipeline: Pipeline, plan: Plan) -> list[str]:
    manifest, session, name = pipeline.manifest, pipeline.session, pipeline.name
    what = (
        f"{name}: {manifest.name} {manifest.version} on {session.provider}, "
        f"{_streams_of(pipeline)}, "
        f"{len(pipeline.signals)} signals, {_windows_of(pipeline)}, "
        f"threshold {pipeline.rule.threshold:g}"
    )
    if pipeline.rule.abnormal == "low":
        what += f", abnormal {SIDES['low']} it"
    package = plan.packages[name]
    states, signed = _describe_states(pipeline), describe_signature(package)
    lines = [
        what,
        *([f"{name}: {signed}"] if signed else []),
        *([f"{name}: {states}"] if states else []),
        *[f"{name}: {fact}" for fact in _describe_meaning(pipeline, package)],
    ]
    lines += [f"{name}: {one}" for one in describe_answers(pipeline, package, plan.config)]
    lines += [f"{name}: note: {note}" for note in _notes(pipeline, plan, package)]
    return lines


def _windows_of(pipeline: Pipeline) -> str:
    """Return how long windows are, and where they come from."""
    settings, cycle = pipeline.settings, pipeline.config.window.cycle
    if settings.cycle is None or cycle is None:
        return f"window {settings.length}, hop {settings.hop}"
    what = "each message is a cycle"
    if not cycle.message:
        what = f"a cycle lasts {cycle.min_seconds:g} to {cycle.max_seconds:g} s"
    return f"window {settings.cycle.length} by `{settings.cycle.fit}`, {what}"


def _describe_states(pipeline: Pipeline) -> str:
    """Return the operating states with what differs between them; empty if none are declared."""
    texts = []
    for state, one in pipeline.config.states.items():
        facts = [] if one.judge else ["not judged"]
        facts += [f"model {one.model}"] if one.model is not None else []
        facts += [f"threshold {one.threshold:g}"] if one.threshold is not None else []
        facts += [f"settles {one.settle_seconds:g} s"] if one.settle_seconds else []
        texts.append(f"{state} ({', '.join(facts)})" if facts else state)
    return f"operating states: {', '.join(texts)}" if texts else ""


def _describe_meaning(pipeline: Pipeline, package: Package) -> Iterator[str]:
    """Yield what the model answers, so that a user sees whether it is what the manifest means."""
    yield describe_decisions(package, pipeline.rule.threshold)
    windows, _, labels = package.labelled_golden()
    yield describe_probes(pipeline, windows, labels, package.golden_context())
    rule, values = pipeline.quality_rule, windows[0].size
    yield (
        f"of the {values} values of a window, {rule.good} may be held: up to {rule.good} the "
        f"quality is good, from {rule.bad} on it is bad"
    )


def _notes(pipeline: Pipeline, plan: Plan, package: Package) -> Iterator[str]:
    session, manifest = pipeline.session, pipeline.manifest
    if session.reason:
        yield f"{session.requested} was requested; {session.reason}"
    if note := describe_batch_effect(session):
        yield note
    if note := describe_opset(manifest):
        yield note
    yield from describe_ranges(package)
    yield from describe_precision(package.golden()[0], manifest)
    settings = pipeline.settings
    if settings.period_ns is None and settings.hop > 1:
        yield COUNTED_HOPS.format(manifest.name, settings.hop)
    first = next(iter(pipeline.config.named_sources.values()))
    if plan.config.workers > 1 and not first.key_levels:
        rule = "captures no level, so it is one stream, which only one worker can serve"
        yield f"{first.topic} {rule}"
