"""What Prometheus reads of the streams at a scrape. A turn only keeps its last results.

These functions run in the thread that answers Prometheus. They read what the engine's thread
replaces as a whole, so that no value is half of one window and half of another.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from math import isnan
from operator import itemgetter
from typing import Any

from edgeai.engine.intake.tags import TagIntake
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from edgeai.messages import SECOND_NS
from edgeai.metrics.assets import (
    AlarmCounts,
    AssetState,
    ClockSkew,
    OutputBound,
    OutputValue,
)
from edgeai.metrics.definitions import Metrics
from edgeai.metrics.table import MAX_OUTPUT_ELEMENTS, STANDING_SECONDS
from edgeai.model.output_spec import DOMAIN_EDGE, OutputSpec


def export_streams(
    metrics: Metrics, pipelines: Sequence[Pipeline], clock_ns: Callable[[], int]
) -> None:
    """Let Prometheus read the streams of pipelines at each scrape.

    Args:
        metrics: The node's.
        pipelines: The node's.
        clock_ns: Returns the time now, nanoseconds since 1970.
    """
    metrics.watch_assets(partial(asset_states, pipelines))
    metrics.watch_clocks(partial(clock_skews, pipelines))
    metrics.watch_alarms(lambda: alarm_counts(pipelines, clock_ns() / SECOND_NS))
    metrics.export_bounds(output_bounds(pipelines))


def asset_states(pipelines: Sequence[Pipeline]) -> Iterator[AssetState]:
    """Yield the state of every stream, the most urgent first: only some are exported.

    Those with an alarm come first, then silent ones, then those that were judged. Of equal ones
    every pipeline has its share.
    """
    specs = {pipeline: _exported_outputs(pipeline) for pipeline in pipelines}
    found = [
        (_urgency(state), position, pipeline, state)
        for pipeline in pipelines
        for position, state in enumerate(list(pipeline.streams.values()))
    ]
    found.sort(key=itemgetter(0, 1))
    for _, _, pipeline, state in found:
        yield AssetState(
            pipeline.name,
            state.key,
            state.presence,
            score=None if state.not_judged and isnan(state.score) else state.score,
            alarm=state.shown_alarm,
            threshold=state.alarm.rule.threshold,
            last_sample_seconds=_seconds(state.last_sample_ns),
            alarm_since_seconds=_seconds(state.alarm_since_ns or state.alarm.since_ns),
            quality=state.quality,
            operating="" if pipeline.states is None else pipeline.states.name_of(state),
            operating_names=() if pipeline.states is None else pipeline.states.names,
            diagnosis=state.diagnosis,
            top=state.top,
            outputs=partial(_values, specs[pipeline], state.outputs),
            status=state.status,
            priority=state.alarm.priority,
            position=pipeline.config.alarm.position,
        )


def alarm_counts(pipelines: Sequence[Pipeline], now_seconds: float) -> Iterator[AlarmCounts]:
    """Yield how many alarms of each pipeline there are.

    Args:
        pipelines: Of the node.
        now_seconds: Seconds since 1970, by the clock that gave alarms their times.
    """
    before_ns = round((now_seconds - STANDING_SECONDS) * SECOND_NS)
    for pipeline in pipelines:
        streams = list(pipeline.streams.values())
        yield AlarmCounts(
            pipeline.name,
            pipeline.config.alarm.position,
            Counter(state.status for state in streams),
            standing=sum(
                0 < state.alarm_since_ns < before_ns
                for state in streams
                if state.shown_alarm == "active"
            ),
            chattering=sum(_chatters(state) for state in streams),
        )


def _chatters(state: StreamState) -> bool:
    chattering = state.handling.chattering
    if chattering is None or not chattering.is_on:
        return False
    return state.is_held or chattering.is_chattering(state.time_ns or chattering.changed_ns)


def clock_skews(pipelines: Iterable[Pipeline]) -> list[ClockSkew]:
    """Return pipeline, asset and clock skew of every stream whose samples carry a time.

    That of an asset is of its newest sample, or of its last message if that was refused because of
    its time. While tags make no window, it is that of the signal
    which is furthest away. The largest skews come first: only some are exported.
    """
    found = []
    for pipeline in pipelines:
        if all(one.clock is None for one in pipeline.config.named_sources.values()):
            continue
        intake = pipeline.intake
        skews = (intake.skews if isinstance(intake, TagIntake) else None) or {}
        for state in list(pipeline.streams.values()):
            newest_ns, arrived_ns = state.stream.newest_ns, state.stream.newest_arrived_ns
            refused = state.drops.skew
            if refused is not None and (newest_ns is None or refused[1] > arrived_ns):
                found.append((pipeline.name, state.key, refused[0] / SECOND_NS))
            elif newest_ns is not None:
                skew_ns = _skew_of_sources(state) if state.sources else newest_ns - arrived_ns
                of_channel = skews.get(state.key, {}).values()
                skew_ns = max([skew_ns, *list(of_channel)], key=abs)
                found.append((pipeline.name, state.key, skew_ns / SECOND_NS))
    found.sort(key=lambda skew: -abs(skew[2]))
    return found


def _skew_of_sources(state: StreamState) -> int:
    """Return how far the clock of the worst of several sources is ahead, nanoseconds."""
    streams = [source.stream for source in state.sources]
    skews = [ns - one.newest_arrived_ns for one in streams if (ns := one.newest_ns) is not None]
    return max(skews, key=abs, default=0)


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


def _urgency(state: StreamState) -> int:
    """Return the rank of a stream; 0 is the most urgent."""
    if state.status != "normal":
        return 0
    if state.is_stale:
        return 1
    return 3 if state.time_ns is None else 2


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
