"""What Prometheus reads of the streams at a scrape. A turn only keeps its last results.

These functions run in the thread that answers Prometheus. They read what the engine's thread
replaces as a whole, so that no value is half of one window and half of another.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from edgeai.engine.pipeline import Pipeline
from edgeai.messages import SECOND_NS
from edgeai.metrics.assets import AssetState, ClockSkew, OutputBound, OutputValue
from edgeai.metrics.table import MAX_OUTPUT_ELEMENTS
from edgeai.model.output_spec import DOMAIN_EDGE, OutputSpec


def asset_states(pipelines: Sequence[Pipeline]) -> Iterator[AssetState]:
    """Yield the state of every stream, those first that were judged: only some are exported."""
    specs = {pipeline: _exported_outputs(pipeline) for pipeline in pipelines}
    found = [
        (pipeline, state) for pipeline in pipelines for state in list(pipeline.streams.values())
    ]
    found.sort(key=lambda one: one[1].time_ns is None)
    for pipeline, state in found:
        yield AssetState(
            pipeline.name,
            state.key,
            state.presence,
            score=state.score,
            alarm=state.alarm.state,
            threshold=pipeline.rule.threshold,
            last_sample_seconds=_seconds(state.stream.newest_ns),
            alarm_since_seconds=_seconds(state.alarm.since_ns),
            quality=state.quality,
            diagnosis=state.diagnosis,
            top=state.top,
            outputs=partial(_values, specs[pipeline], state.outputs),
        )


def clock_skews(pipelines: Iterable[Pipeline]) -> Iterator[ClockSkew]:
    """Yield pipeline, asset and clock skew of every stream whose samples carry a time."""
    for pipeline in pipelines:
        if pipeline.config.source.clock is None:
            continue
        for state in list(pipeline.streams.values()):
            newest_ns = state.stream.newest_ns
            if newest_ns is not None:
                skew_ns = newest_ns - state.stream.ring.arrived_ns
                yield pipeline.name, state.key, skew_ns / SECOND_NS


def output_bounds(pipelines: Iterable[Pipeline]) -> Iterator[OutputBound]:
    """Yield the ranges of outputs in healthy operation, and the edges of the models' domains."""
    for pipeline in pipelines:
        for output in pipeline.manifest.outputs:
            if output.normal is not None:
                low, high = output.normal
                yield pipeline.name, output.name, "low", low
                yield pipeline.name, output.name, "high", high
            elif output.role == "domain":
                yield pipeline.name, output.name, "high", output.edge or DOMAIN_EDGE


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / SECOND_NS


def _exported_outputs(pipeline: Pipeline) -> list[tuple[OutputSpec, str]]:
    """Return the published outputs, each with the role of the output whose interval it is."""
    by_name = {output.name: output for output in pipeline.manifest.outputs}
    published = [by_name[name] for name, _unit in pipeline.published]
    return [(output, by_name[output.of].role if output.of else output.role) for output in published]


def _values(
    specs: list[tuple[OutputSpec, str]], outputs: dict[str, dict[str, Any]]
) -> Iterator[OutputValue]:
    """Yield the numbers of the last window's outputs; advice that is withheld has none."""
    for output, role in specs:
        value = outputs[output.name]["value"] if output.name in outputs else None
        for element, number in _elements(value, is_interval=output.of is not None):
            yield OutputValue(output.of or output.name, element, role, output.unit, number)


def _elements(value: Any, *, is_interval: bool) -> list[tuple[str, float]]:
    if value is None:
        return []
    if not isinstance(value, list):
        return [("value", value)]
    if is_interval:
        return list(zip(("low", "high"), value, strict=True))
    if len(value) > MAX_OUTPUT_ELEMENTS or any(isinstance(one, list) for one in value):
        return []
    digits = len(str(len(value) - 1))  # so that the order of the texts is that of the elements
    return [(f"{index:0{digits}}", one) for index, one in enumerate(value)]
