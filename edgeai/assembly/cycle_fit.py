"""Whether a pipeline's `window.cycle` and its model's manifest fit together."""

from collections.abc import Callable, Iterator

from edgeai.config.pipeline import PipelineConfig
from edgeai.engine.cycle_settings import fit_of, max_samples_of
from edgeai.errors import Problem
from edgeai.model.manifest import Manifest

_Problem = Callable[..., Problem]


def cycle_misfits(
    file: str, name: str, pipeline: PipelineConfig, manifest: Manifest
) -> Iterator[Problem]:
    """Yield what of the cycles of a pipeline does not fit its model, or its source."""
    cycle, declared = pipeline.window.cycle, manifest.cycle

    def problem(field: str, rule: str, value: object = None) -> Problem:
        path = f"pipelines.{name}.window.cycle{field}"
        return Problem(file, path, rule, value, has_value=value is not None)

    if cycle is None:
        if declared is not None:
            yield problem(
                "",
                f"is required: a window of {manifest.name} is one cycle of the machine. Say with "
                "`start`, `end` and `max_seconds` where a cycle starts and ends",
            )
        return
    if pipeline.source is None or manifest.context:
        rule = "needs a pipeline with one `source`, and a model without context"
        yield problem("", rule)
        return
    if declared is not None and cycle.fit not in {None, declared.fit}:
        rule = f"{manifest.name} says `{declared.fit}`: delete this key"
        yield problem(".fit", rule, cycle.fit)
    if cycle.message and pipeline.source.layout != "frame":
        rule = "needs `source.layout: frame`: a message of another layout holds no whole cycle"
        yield problem(".message", rule, value=True)
    if cycle.message and pipeline.states:
        rule = "must not be true with `states`: a message shows no state before and after it"
        yield problem(".message", rule, value=True)
    most = max_samples_of(cycle, manifest)
    if most is None:
        rule = f"is required, because {manifest.name} has no sample rate"
        yield problem(".max_samples", rule)
        return
    if fit_of(cycle, manifest) == "pad":
        yield from _too_long(problem, cycle.max_seconds, most, manifest)


def _too_long(
    problem: _Problem, max_seconds: float | None, most: int, manifest: Manifest
) -> Iterator[Problem]:
    """Yield that the longest cycle does not fit into a window that is padded."""
    length, rate = manifest.window.length, manifest.sample_rate_hz
    if most > length:
        rule = f"must be at most {length}, the window of {manifest.name}: `pad` cuts no cycle"
        yield problem(".max_samples", rule, most)
    if max_seconds is not None and rate is not None and max_seconds * rate > length:
        rule = (
            f"must be at most {length / rate:g}: the window of {manifest.name} holds {length} "
            f"samples at {rate:g} Hz, and `fit: pad` cuts no cycle"
        )
        yield problem(".max_seconds", rule, max_seconds)


def cycle_warnings(name: str, pipeline: PipelineConfig, manifest: Manifest) -> Iterator[str]:
    """Yield what works, but may not be meant."""
    if pipeline.window.cycle is not None and manifest.cycle is None:
        fit = fit_of(pipeline.window.cycle, manifest)
        yield (
            f"pipelines.{name}.window.cycle: {manifest.name} does not say that its window is a "
            f"cycle, so it may have learnt windows that slide. If it has learnt cycles, write "
            f"`cycle: {{fit: {fit}}}` into its model.yaml"
        )
