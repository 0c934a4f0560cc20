"""Check that the sources of a pipeline fit its model: what each carries, and its format."""

from collections.abc import Callable
from dataclasses import replace

from edgeai.config.pipeline import PipelineConfig
from edgeai.config.source import SourceConfig
from edgeai.decoding.frames import compile_frame
from edgeai.engine.pipeline_settings import extra_signals
from edgeai.engine.source_plans import carried_signals, find_signal_faults, is_joined
from edgeai.errors import ConfigError, Problem
from edgeai.model.manifest import Manifest

Add = Callable[[str, str, object], None]
"""Takes a field of the pipeline, the rule that it breaks, and its value."""


def find_source_faults(
    file: str, name: str, pipeline: PipelineConfig, manifest: Manifest
) -> list[Problem]:
    """Return the settings of a pipeline's sources that do not fit its model.

    Args:
        file: The configuration's.
        name: The pipeline's.
        pipeline: Its configuration.
        manifest: Its model's.
    """
    problems: list[Problem] = []

    def add(field: str, rule: str, value: object) -> None:
        problems.append(Problem(file, f"pipelines.{name}.{field}", rule, value, has_value=True))

    names = [*(one.name for one in manifest.measured), *extra_signals(pipeline, manifest)]
    carried = carried_signals(pipeline.named_sources, names)
    for place, source in pipeline.named_sources.items():
        tags = [source.tag_of(signal) for signal in carried[place]]
        taken = [tag for tag in tags if tags.count(tag) > 1]
        if taken and source.layout == "tag":
            add(f"{place}.signals", "a tag may feed one signal", taken[0])
        problems += _frame_faults(file, f"pipelines.{name}.{place}", source, tags)
    alignment = pipeline.stream.alignment
    if "frame" in {one.layout for one in pipeline.named_sources.values()} and alignment != "none":
        add("stream.alignment", "must be `none` for the layout `frame`", alignment)
    if pipeline.source is not None and pipeline.source.layout == "tag" and alignment == "none":
        add("stream.alignment", "must be `hold` or `linear` for the layout `tag`", "none")
    if alignment != "none" and manifest.sample_rate_hz is None:
        add("stream.alignment", f"must be `none`: {manifest.name} has no sample rate", alignment)
    for field, rule, value in find_signal_faults(pipeline, names, manifest.name):
        add(field, rule, value)
    _check_join(pipeline, manifest, add)
    return problems


def _frame_faults(file: str, field: str, source: SourceConfig, tags: list[str]) -> list[Problem]:
    """Return what is wrong with the format of frames for the signals that they carry."""
    if source.frame is None or not tags:
        return []
    try:
        compile_frame(source.frame, tags)
    except ConfigError as error:
        return [
            replace(problem, file=file, field=f"{field}.{problem.field}")
            for problem in error.problems
        ]
    return []


def _check_join(pipeline: PipelineConfig, manifest: Manifest, add: Add) -> None:
    """Add what hinders joining several sources, or a context."""
    if is_joined(pipeline, manifest) and manifest.sample_rate_hz is None:
        place = "sources" if pipeline.sources else "source"
        rule = f"samples are joined by the model's sample rate, and {manifest.name} has"
        add(place, rule, "no sample rate")
    known = [one.name for one in manifest.context]
    for value in pipeline.context:
        if value not in known:
            has = f"it has {', '.join(known)}" if known else "it has no context"
            add(f"context.{value}", f"is not in the context of {manifest.name}: {has}", value)
