"""What a pipeline's `window.cycle` and its model's manifest mean for streams."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from edgeai.conditions.condition import Condition, compile_condition, needs_sample_before
from edgeai.conditions.operators import STEPS
from edgeai.config.conditions import ConditionConfig
from edgeai.config.cycles import MAX_SAMPLES, CycleConfig
from edgeai.messages import SECOND_NS
from edgeai.model.manifest import Manifest
from edgeai.streams.cycles.edges import ConditionEdge, ConditionEdges
from edgeai.streams.cycles.settings import CycleSettings, Edges
from edgeai.streams.ring import RATE_TOLERANCE

ENDLESS_NS = 1 << 61


def cycle_settings(
    config: CycleConfig | None, manifest: Manifest, channels: Sequence[str]
) -> CycleSettings | None:
    """Return how the samples of a pipeline are cut into cycles; None: windows slide.

    Args:
        config: The pipeline's `window.cycle`.
        manifest: The model's.
        channels: The signals of a sample, in order.
    """
    if config is None:
        return None
    max_samples = max_samples_of(config, manifest)
    assert max_samples is not None  # `assembly.plan.check` refuses it
    seconds = config.max_seconds
    declared = manifest.cycle
    return CycleSettings(
        length=manifest.window.length,
        channels=len(manifest.measured),
        new_edges=None if config.start is None else _edges(config, channels),
        has_end=config.end is not None,
        min_ns=round(config.min_seconds * SECOND_NS),
        max_ns=ENDLESS_NS if seconds is None else round(seconds * SECOND_NS),
        max_samples=max_samples,
        fit=fit_of(config, manifest),
        keeps_unusual=config.incomplete == "mark",
        bounce_ns=round(config.bounce_seconds * SECOND_NS),
        pre_ns=round(config.pre_seconds * SECOND_NS),
        post_ns=round(config.post_seconds * SECOND_NS),
        number=None if config.number is None else list(channels).index(config.number),
        has_length_channel=declared is not None and declared.length_signal is not None,
    )


def fit_of(config: CycleConfig, manifest: Manifest) -> Literal["resample", "pad"]:
    """Return how a cycle is brought to the length of the window."""
    return config.fit or (manifest.cycle.fit if manifest.cycle is not None else "resample")


def max_samples_of(config: CycleConfig, manifest: Manifest) -> int | None:
    """Return the most samples of a cycle; None if nothing says it."""
    if config.max_samples is not None:
        return config.max_samples
    if fit_of(config, manifest) == "pad":
        return manifest.window.length
    if config.message:
        return MAX_SAMPLES  # the size of a message bounds it
    rate = manifest.sample_rate_hz
    if rate is None or config.max_seconds is None:
        return None
    return math.ceil(config.max_seconds * rate * RATE_TOLERANCE) + 1


def counters_of(config: CycleConfig | None) -> set[str]:
    """Return the signals of which every whole number counts: numbers, counters and codes."""
    if config is None:
        return set()
    found = set() if config.number is None else {config.number}
    for condition in (config.start, config.end):
        if condition is not None:
            found |= _counters_in(condition.spec())
    return found


def _counters_in(spec: Mapping[str, Any]) -> set[str]:
    parts = [*spec.get("all", ()), *spec.get("any", ())]
    if "not" in spec:
        parts.append(spec["not"])
    found = {name for part in parts for name in _counters_in(part)}
    if any(operator in spec for operator in (*STEPS, "equals", "not_equals", "one_of")):
        found.add(spec["signal"])
    return found


def _edges(config: CycleConfig, channels: Sequence[str]) -> Callable[[], Edges]:
    columns = {name: index for index, name in enumerate(channels)}
    assert config.start is not None
    start = _edge(config.start, columns)
    end = None if config.end is None else _edge(config.end, columns)
    return lambda: ConditionEdges(start(), None if end is None else end())


def _edge(condition: ConditionConfig, columns: dict[str, int]) -> Callable[[], ConditionEdge]:
    spec = condition.spec()
    compiled: Condition = compile_condition(spec, columns)
    is_step = needs_sample_before(spec)
    return lambda: ConditionEdge(compiled, is_step=is_step)
