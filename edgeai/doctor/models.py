"""Configuration, files, model packages, ONNX Runtime and providers, as `edgeai run` loads them.

Nothing is written to the state folder: what would be cached goes to a folder that is removed.
"""

import difflib
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from edgeai import paths
from edgeai.assembly.pipelines import build_pipelines
from edgeai.assembly.plan import Plan, check
from edgeai.config.base import ClockBounds
from edgeai.config.device import Device
from edgeai.config.node import Config
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.source import SourceConfig
from edgeai.config.yaml_file import read_yaml
from edgeai.doctor.findings import Findings
from edgeai.engine.pipeline import Pipeline
from edgeai.errors import ConfigError, ModelError, Problem
from edgeai.metrics.definitions import Metrics
from edgeai.model.manifest import MANIFEST
from edgeai.runtime_build import installed_build

CACHES = ("inspection", "held-values")
"""Folders of the state folder whose files only repeat what a check would find again."""
FILE_KEYS = ("broker.tls", "broker.password", "http.token", "http.metrics_token")
"""Keys of which `check_files` tells."""
Source = TypeVar("Source", bound=SourceConfig)
ANY_TIME = {"max_ahead_seconds": 1e9, "max_behind_seconds": 1e10}


def state_folder_of(config: Config) -> Path:
    """Return the state folder that the node would have."""
    return Path(config.state_folder) if config.state_folder else paths.default_state_folder()


class ManifestFacts(NamedTuple):
    """What topics depend on, from the manifest of a model."""

    name: str
    """The folder's where the manifest cannot be read: `package` tells that."""
    latches: bool


def manifest_facts(path: Path, config: Config) -> dict[str, ManifestFacts]:
    """Return the facts of each pipeline's model by the name of the pipeline; nothing is checked."""
    facts = {}
    for name, pipeline in config.pipelines.items():
        folder = _folder_of(path, pipeline.model)
        data: Any = None
        with suppress(ConfigError):
            data = read_yaml(folder / MANIFEST)
        data = data if isinstance(data, dict) else {}
        alarm = data.get("alarm")
        latches = pipeline.alarm.latch
        if latches is None:
            latches = isinstance(alarm, dict) and alarm.get("latch") is True
        model = data.get("name")
        facts[name] = ManifestFacts(model if isinstance(model, str) else folder.name, latches)
    return facts


def check_runtime(findings: Findings) -> None:
    """Check that one complete build of ONNX Runtime is installed."""
    try:
        findings.ok("runtime", str(installed_build()))
    except ConfigError as error:
        for problem in error.problems:
            findings.fail("runtime", str(problem), "install exactly one build, as it says")


def check_models(path: Path, config: Config, scratch: Path, findings: Findings) -> Plan | None:
    """Check configuration, files and packages as `edgeai check` does; return the plan if all fit.

    Args:
        path: The configuration's file.
        config: What it holds.
        scratch: Folder for caches, removed later.
        findings: Gets what is found.
    """
    _copy_caches(state_folder_of(config), scratch)
    folders = {_folder_of(path, one.model) for one in config.pipelines.values()}
    try:
        plan = check(path, state_folder=scratch)
    except ConfigError as error:
        told = str(path.parent / config.device)  # by `check_providers`
        for problem in error.problems:
            if problem.file != told and not problem.field.startswith(FILE_KEYS):
                _tell_problem(problem, path, folders, findings)
        return None
    for warning in plan.warnings:
        if "http.host" in warning:
            findings.warn("configuration", warning, "set http.token")
    return plan


def prove_models(plan: Plan, findings: Findings) -> list[Pipeline]:
    """Let each model reproduce its golden windows on the CPU; return pipelines that take any time.

    They read messages as the node's would, but their clocks are judged by `samples` and not by the
    bounds of the configuration.
    """
    pipelines: list[Pipeline] = []
    done: set[Path] = set()
    for name, package in plan.packages.items():
        alone = _on_the_cpu(plan, name)
        try:
            pipelines += build_pipelines(alone, Metrics())
        except (ModelError, ConfigError) as error:
            findings.fail("package", str(error), _package_advice(str(error)), name)
            continue
        if package.folder not in done:
            done.add(package.folder)
            manifest = package.manifest
            findings.ok(
                "package", f"{manifest.name} {manifest.version}: hashes and graph are right, "
                f"{len(package.golden()[0])} golden windows reproduced on the CPU", name,
            )  # fmt: skip
    return pipelines


def _on_the_cpu(plan: Plan, name: str) -> Plan:
    """Return a plan of one pipeline, on the CPU, whose messages may be of any time."""
    pipeline = with_any_time(plan.config.pipelines[name])
    config = plan.config.model_copy(update={"pipelines": {name: pipeline}})
    device = plan.device.model_copy(
        update={"candidates": [plan.device.cpu], "policy": "prefer", "on_failure": "cpu"}
    )
    return replace(plan, config=config, device=device, packages={name: plan.packages[name]})


def with_any_time(pipeline: PipelineConfig) -> PipelineConfig:
    """Return a pipeline that refuses no time for being far from its arrival."""
    if pipeline.source is None:
        sources = {name: _with_any_time(one) for name, one in pipeline.sources.items()}
        return pipeline.model_copy(update={"sources": sources})
    return pipeline.model_copy(update={"source": _with_any_time(pipeline.source)})


def _with_any_time(source: Source) -> Source:
    if source.time is not None:
        source = source.model_copy(update={"time": source.time.model_copy(update=ANY_TIME)})
    elif isinstance(source.frame, ClockBounds):  # the time stands in the header
        frame = source.frame.model_copy(update=ANY_TIME)
        source = source.model_copy(update={"frame": frame})
    elif source.frame is not None and source.frame.clock is not None:
        time = source.frame.clock.model_copy(update=ANY_TIME)
        source = source.model_copy(update={"frame": source.frame.model_copy(update={"time": time})})
    return source


def _copy_caches(state_folder: Path, scratch: Path) -> None:
    for name in CACHES:
        try:
            shutil.copytree(state_folder / name, scratch / name)
        except (OSError, shutil.Error):
            continue


def _folder_of(path: Path, model: str) -> Path:
    beside = path.parent / model
    return beside if paths.is_file(beside / MANIFEST) else paths.shipped("models") / model


def _model_hint(config: Path, name: str) -> str:
    """Return what may be meant by a model that is not there; empty: not known."""
    folder = config.parent / name
    if paths.is_file(folder) and paths.is_file(folder.parent / MANIFEST):
        return f"name the folder of the package, {folder.parent}, not a file in it; "
    if folder.is_dir():
        return f"the folder is there, but holds no {MANIFEST}: copy the whole package; "
    known = [one.parent.name for one in paths.shipped("models").glob(f"*/{MANIFEST}")]
    with suppress(OSError):
        known += [
            str(folder.parent / one.name) if folder.is_absolute() else one.name
            for one in folder.parent.iterdir()
            if paths.is_file(one / MANIFEST)
        ]
    near = difflib.get_close_matches(name, known, 1, 0.7)
    return f"did you mean {near[0]}? " if near else ""


def _tell_problem(problem: Problem, config: Path, folders: set[Path], findings: Findings) -> None:
    text = str(problem)
    if any(Path(problem.file).is_relative_to(folder) for folder in folders):
        findings.fail("package", text, _package_advice(text))
    elif problem.field.startswith(("device", "candidates")):
        findings.fail("providers", text, "correct the device profile (docs/providers.md)")
    elif problem.field.endswith(".model") and isinstance(problem.value, str):
        advice = f"{_model_hint(config, problem.value)}correct this key (docs/models.md)"
        findings.fail("configuration", text, advice)
    elif problem.field == "onnxruntime":
        findings.fail("runtime", text, "install exactly one build, as it says")
    else:
        findings.fail("configuration", text, "correct this key (docs/reference.md)")


def _package_advice(text: str) -> str:
    if "SHA-256" in text:
        return (
            "the file was changed or not copied whole: copy the package again, or train and export "
            "it again, which writes new hashes (docs/models.md)"
        )
    if "opset" in text.lower() or "IR version" in text:
        return (
            "export the model again with an opset from 13 to 18 (docs/models.md), or install an "
            "edgeai with a newer ONNX Runtime"
        )
    return "correct the package as docs/models.md says, or take another version of it"


def check_providers(config: Config, device: Device, findings: Findings) -> None:
    """Compare the providers that a device asks for with what this machine has.

    No provider is started: that a present one is right only `edgeai devices` proves.
    """
    from edgeai.providers.selection.hardware import missing_runtime

    accelerators = device.accelerators
    if not accelerators:
        findings.ok("providers", f"device {config.device}: the CPU, as asked for")
        return
    is_fixed = device.policy == "fixed" and device.on_failure == "refuse"
    for one in accelerators:
        missing = missing_runtime(one)
        if missing is None:
            known = (
                "is installed; whether it computes right is proven at the first start, or now by "
                "edgeai devices"
            )
            findings.ok("providers", known, one.label)
        elif is_fixed:
            findings.fail(
                "providers", f"is asked for and not there: {missing}",
                "install it (docs/providers.md), or set `on_failure: cpu` or another device",
                one.label,
            )  # fmt: skip
        else:
            findings.warn(
                "providers", f"is asked for and not there: {missing}",
                "install it (docs/providers.md), or remove it from the device profile; the next "
                "candidate or the CPU serves", one.label,
            )  # fmt: skip
