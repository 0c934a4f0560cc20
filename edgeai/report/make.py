"""Run one pipeline over recordings and return what the page shows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeai import topics
from edgeai.assembly.plan import Plan, check
from edgeai.config.candidates import CpuProvider
from edgeai.config.device import Device
from edgeai.config.node import Config, find_config
from edgeai.config.pipeline import PipelineConfig
from edgeai.engine.pipeline import Pipeline
from edgeai.errors import ConfigError, Problem
from edgeai.messages import SECOND_NS, PublicationSink
from edgeai.model.manifest import MANIFEST, Manifest
from edgeai.model.package import load_package
from edgeai.paths import shipped
from edgeai.recordings.reader import is_table
from edgeai.recordings.tables import TableOptions
from edgeai.replay.run import ReplaySummary, run_recordings
from edgeai.report.observe import Observed, ObservedSession, Observer

OWN_PIPELINE = "report"
OWN_TIME_COLUMN = "timestamp"


@dataclass(frozen=True, eq=False)
class Report:
    """What a pipeline has made of recordings.

    Attributes:
        manifest: Manifest of its model.
        recordings: Names of the files.
        assets: What was seen of each asset, in the order of their first windows.
        unshown: Windows of further assets, which have no section, by asset.
        summary: Counts of the replay.
    """

    manifest: Manifest
    recordings: list[str]
    assets: list[Observed]
    unshown: dict[str, int]
    summary: ReplaySummary


def make_report(
    what: Path | str,
    recordings: Sequence[Path | str],
    *,
    pipeline: str | None = None,
    options: TableOptions | None = None,
    evenly_spaced: bool = False,
    state_folder: Path | None = None,
    advance: Callable[[int], None] | None = None,
) -> Report:
    """Run a pipeline over recordings, on the CPU.

    Args:
        what: A configuration; or the folder of a model package, or the name of a shipped model.
            A package alone reads tables with a column for each signal, and the time in ms.
        recordings: What `edgeai replay` reads, in this order.
        pipeline: Name of the pipeline; needed if the configuration has several.
        options: How tables are read.
        evenly_spaced: The rows of tables carry no time: they are one sample period apart. Only
            for a package alone.
        state_folder: Used in place of the configured one.
        advance: Called after each turn with the bytes read so far.

    Raises:
        ConfigError: The configuration, the package or a recording breaks a rule, or the recordings
            give no window.
        ModelError: A file of the package is missing or does not match its hash.
    """
    inputs = [Path(one) for one in recordings]
    options = options or TableOptions()
    time_column = None if evenly_spaced else options.time_column or OWN_TIME_COLUMN
    plan, name, others = _plan_of(what, inputs, pipeline, time_column, state_folder)
    if name == OWN_PIPELINE:
        options = replace(options, every_signal=True)
    manifest = plan.packages[name].manifest
    if evenly_spaced:
        if name != OWN_PIPELINE or manifest.sample_rate_hz is None:
            rule = f"{name} declares how its time is read"
            if name == OWN_PIPELINE:
                rule = f"{manifest.name} has no sample rate, so its rows need a time"
            raise ConfigError([Problem("--evenly-spaced", "", rule)])
        options = replace(options, evenly_spaced_ns=round(SECOND_NS / manifest.sample_rate_hz))
    observers: list[Observer] = []

    def observe(pipelines: list[Pipeline]) -> PublicationSink:
        (one,) = pipelines
        session = ObservedSession(one.session, manifest)
        one.session = session
        cycle = one.settings.cycle
        is_padded = cycle is not None and cycle.fit == "pad"
        observers.append(Observer(session, manifest, is_padded=is_padded))
        return observers[0]

    summary = run_recordings(
        plan, inputs, observe, options=options, advance=advance, skips=_only_of(plan, others)
    )
    observer = observers[0]
    observer.finish()
    if not observer.assets:
        told = "; ".join(summary.dropped) or "it holds too few samples"
        rule = f"gives no window of {manifest.window.length} samples to {manifest.name}: {told}"
        raise ConfigError([Problem(", ".join(map(str, inputs)), "", rule)])
    return Report(
        manifest,
        [one.name for one in inputs],
        list(observer.assets.values()),
        dict(observer.unshown),
        summary,
    )


def _plan_of(
    what: Path | str,
    inputs: Sequence[Path],
    pipeline: str | None,
    time_column: str | None,
    state_folder: Path | None,
) -> tuple[Plan, str, list[str]]:
    """Return a plan with one pipeline on the CPU, its name, and the others' topic filters."""
    path = Path(what)
    folder = path if (path / MANIFEST).is_file() else shipped("models") / path
    if path.suffix not in {".yaml", ".yml"} and (folder / MANIFEST).is_file():
        messages = next((str(one) for one in inputs if not is_table(one)), None)
        if messages is not None:
            rule = "holds messages with topics: name the configuration that reads them, not a model"
            raise ConfigError([Problem(messages, "", rule, str(what), has_value=True)])
        own = _own_config(folder, time_column)
        plan = check(folder / MANIFEST, state_folder=state_folder, config=own)
    else:
        plan = check(find_config(str(what)), state_folder=state_folder)
    names = list(plan.packages)
    if pipeline is None and len(names) == 1:
        pipeline = names[0]
    if pipeline not in names:
        rule = f"a report shows one pipeline: name one of {', '.join(names)} by --pipeline"
        raise ConfigError(
            [Problem(str(plan.path), "pipelines", rule, pipeline, pipeline is not None)]
        )
    chosen = plan.config.model_copy(
        update={"pipelines": {pipeline: plan.config.pipelines[pipeline]}}
    )
    states = plan.state_packages.get(pipeline, {})
    others = [one for key, one in plan.config.pipelines.items() if key != pipeline]
    alone = replace(
        plan,
        config=chosen,
        device=Device(description="CPU", candidates=[CpuProvider(provider="cpu")]),
        packages={pipeline: plan.packages[pipeline]},
        state_packages={pipeline: states},
    )
    return alone, pipeline, _filters_of(others)


def _filters_of(pipelines: Iterable[PipelineConfig]) -> list[str]:
    """Return the topic filters of pipelines."""
    return [
        one
        for pipeline in pipelines
        for source in pipeline.named_sources.values()
        for one in source.filters
    ]


def _only_of(plan: Plan, others: Sequence[str]) -> Callable[[str], bool]:
    """Return what tells whether only pipelines that the plan leaves out read a topic."""
    own = _filters_of(plan.config.pipelines.values())

    def skips(topic: str) -> bool:
        is_theirs = any(topics.contains(one, topic) for one in others)
        return is_theirs and not any(topics.contains(one, topic) for one in own)

    return skips


def _own_config(folder: Path, time_column: str | None) -> Config:
    """Return a configuration whose pipeline reads columns that are named as the signals."""
    signals = [one.name for one in load_package(folder).manifest.measured]
    source: dict[str, Any] = {
        "topic": "recording/{asset}",
        "signals": {name: {"path": [name]} for name in signals},
    }
    if time_column is not None:
        source["time"] = {"path": [time_column], "unit": "ms"}
    pipeline = {"model": str(folder.resolve()), "source": source}
    return Config.model_validate(
        {"node": "report", "broker": {"host": "127.0.0.1"}, "pipelines": {OWN_PIPELINE: pipeline}}
    )
