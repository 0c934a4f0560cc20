"""The pipeline by whose mapping recordings are read: a configuration's, or the recipe's own."""

from pathlib import Path
from typing import Any

from edgeai.config.cycles import CycleConfig
from edgeai.config.node import Config, load_config
from edgeai.config.pipeline import WindowConfig
from edgeai.errors import ConfigError, Problem
from edgeai.training.recipe_files import FileData

PIPELINE = "training"


def pipeline_of(data: FileData, cycle: CycleConfig | None, recipe_path: Path) -> tuple[Config, str]:
    """Return the configuration and the name of the pipeline by which recordings are read.

    Args:
        data: The recordings.
        cycle: The recipe's `window.cycle`.
        recipe_path: The recipe.
    """
    if data.config is None:
        return _own_pipeline(data, cycle), PIPELINE
    path = recipe_path.parent / data.config
    config = load_config(path)
    known = ", ".join(config.pipelines)
    name = data.pipeline
    if name is None and len(config.pipelines) > 1:
        rule = f"{data.config} has several pipelines; choose one of {known}"
        raise ConfigError([Problem(str(recipe_path), "data.pipeline", rule)])
    if name is None:
        name = next(iter(config.pipelines))
    if name not in config.pipelines:
        rule = f"must be one of {known}"
        raise ConfigError([Problem(str(recipe_path), "data.pipeline", rule, name, has_value=True)])
    signals = [signal.name for signal in data.signals]
    source = config.pipelines[name].source
    if source is None:
        rule = (
            f"{data.config} joins several sources in the pipeline {name}, and training reads "
            "recordings of one: write a pipeline with `source` for the recordings"
        )
        raise ConfigError([Problem(str(recipe_path), "data.pipeline", rule)])
    named = [*config.pipelines[name].named_signals, *(cycle.signals if cycle is not None else ())]
    for mapped in source.signals:
        if mapped not in signals and mapped not in named:
            rule = f"{data.config} maps the signal {mapped}, which is none of the recipe's"
            raise ConfigError([Problem(str(recipe_path), "data.signals", rule, signals, True)])
    # The recipe sets the window; a hop and the states of the pipeline are for serving.
    window = WindowConfig(cycle=cycle)
    chosen = config.pipelines[name].model_copy(update={"window": window, "states": {}})
    return config.model_copy(update={"pipelines": {name: chosen}}), name


def _own_pipeline(data: FileData, cycle: CycleConfig | None) -> Config:
    """Return a configuration whose pipeline reads the columns that a recipe names."""
    source: dict[str, Any] = {
        "topic": "recording/{asset}",
        "signals": {
            signal.name: {"path": [signal.column or signal.name]} for signal in data.signals
        },
    }
    if data.time is not None:
        time = data.time
        source["time"] = {
            "path": [time.column],
            "unit": time.unit,
            "zone": time.zone,
            "resolution_seconds": time.resolution_seconds,
        }
    pipeline: dict[str, Any] = {"model": "training", "source": source}
    if data.stream is not None:
        pipeline["stream"] = data.stream.model_dump()
    if cycle is not None:
        pipeline["window"] = {"cycle": cycle}
    return Config.model_validate(
        {"node": PIPELINE, "broker": {"host": "127.0.0.1"}, "pipelines": {PIPELINE: pipeline}}
    )
