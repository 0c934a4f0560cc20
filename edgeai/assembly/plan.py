"""Check a configuration: its device, its model packages, and that they fit together.

Uses no network.
"""

import dataclasses
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgeai import paths
from edgeai.alarms.alarm import Alarm, AlarmRule, alarm_rule
from edgeai.assembly.answer_check import (
    answer_problems,
    answer_warnings,
    heartbeat_problems,
)
from edgeai.assembly.cycle_fit import cycle_misfits, cycle_warnings
from edgeai.assembly.declared_fields import undeclared_fields
from edgeai.assembly.machine import fit_memory, fit_threads, warnings_about
from edgeai.assembly.paths_in_lists import position_warnings
from edgeai.assembly.signatures import trust_of, unsigned_warnings
from edgeai.assembly.source_faults import find_source_faults
from edgeai.assembly.state_check import state_findings, state_model_problems, state_problems
from edgeai.cgroups import usable
from edgeai.config.device import Device, load_device
from edgeai.config.frames import FrameFormat
from edgeai.config.node import Config, load_config
from edgeai.config.pipeline import PipelineConfig
from edgeai.engine.pipeline_settings import extra_signals
from edgeai.engine.state_windows import state_rule
from edgeai.errors import ConfigError, ModelError, Problem
from edgeai.model.inspection import inspect_packages
from edgeai.model.manifest import MANIFEST
from edgeai.model.meaning import find_meaning_faults
from edgeai.model.package import Package, load_package
from edgeai.runtime_build import installed_build
from edgeai.signing.trust import Trust

MIN_LIKENESS = 0.75
"""From this ratio on (`difflib`), a name that nobody knows is taken for a misspelt one."""


@dataclass(frozen=True)
class Plan:
    """A checked configuration with its device and model packages."""

    path: Path
    config: Config
    device: Device
    packages: dict[str, Package]
    """Packages by the name of the pipeline."""
    state_folder: Path
    state_packages: dict[str, dict[str, Package]] = dataclasses.field(default_factory=dict)
    """Packages that operating states name, by the names of pipeline and state."""
    warnings: tuple[str, ...] = ()
    """What works, but not as an operator would want it; each is one line for the log."""
    notes: tuple[str, ...] = ()
    """What was fitted to this machine; each is one line for the log."""


def check(
    path: Path | str, *, state_folder: Path | None = None, config: Config | None = None
) -> Plan:
    """Check a configuration and everything it refers to.

    Args:
        path: The configuration's file.
        state_folder: Used in place of the configured one.
        config: Used in place of the file's content; `path` stands for it in errors.

    Raises:
        ConfigError: Lists every problem; each names file, field, rule and value.
    """
    path = Path(path)
    installed_build()
    config = config or load_config(path)
    problems: list[Problem] = []
    device = None
    try:
        device = load_profile(config.device, path)
    except ConfigError as error:
        problems += error.problems
    if state_folder is None:
        named = config.state_folder
        state_folder = Path(named) if named else paths.default_state_folder()
    problems += _unusable_files(config)
    problems += heartbeat_problems(str(path), config)
    packages, state_packages, loaded = _load_models(path, config, problems)
    broken = inspect_packages(list(loaded.values()), state_folder)
    for package in loaded.values():
        broken += find_meaning_faults(package)
    problems += [error.problem for error in broken]
    if problems or device is None:
        raise ConfigError(list({str(problem): problem for problem in problems}.values()))
    machine = usable()
    device, warnings = fit_threads(device, machine)
    config, notes = fit_memory(config, machine)
    warnings += _mapping_warnings(config, packages)
    warnings += unsigned_warnings(config, loaded.values())
    warnings += answer_warnings(config, packages)
    warnings += [*_warnings(config, state_folder), *warnings_about(config, machine)]
    for name, pipeline in config.pipelines.items():
        hidden, overlapping = state_findings(name, pipeline)
        warnings += hidden
        notes += overlapping
    for name, package in packages.items():
        warnings += cycle_warnings(name, config.pipelines[name], package.manifest)
    return Plan(
        path,
        config,
        device,
        packages,
        state_folder,
        state_packages,
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def _load_models(
    path: Path, config: Config, problems: list[Problem]
) -> tuple[dict[str, Package], dict[str, dict[str, Package]], dict[Path, Package]]:
    """Load the packages of all pipelines and compare them with what the pipelines declare.

    Args:
        path: The configuration's file.
        config: What it holds.
        problems: Gets every problem found.

    Returns:
        Packages by pipeline, by pipeline and state, and by folder. A package that cannot be
        loaded is in none of them. If the trusted keys cannot be read, no package is opened.
    """
    packages: dict[str, Package] = {}
    state_packages: dict[str, dict[str, Package]] = {}
    loaded: dict[Path, Package] = {}
    try:
        trust = trust_of(config)
    except ConfigError as error:
        problems += error.problems
        return packages, state_packages, loaded
    for name, pipeline in config.pipelines.items():
        try:
            folder = _find_model(pipeline.model, path, f"pipelines.{name}.model")
            if folder not in loaded:
                loaded[folder] = load_package(folder, trust)
            packages[name] = loaded[folder]
            problems += _misfits(str(path), name, pipeline, packages[name])
            state_packages[name] = _load_state_models(path, name, pipeline, loaded, trust)
            for state, other in state_packages[name].items():
                key = f"pipelines.{name}.states.{state}.model"
                problems += state_model_problems(str(path), key, packages[name], other)
            problems += _endless_states(
                str(path), name, pipeline, packages[name], state_packages[name]
            )
            problems += answer_problems(
                str(path), name, config, packages[name], state_packages[name]
            )
        except ConfigError as error:
            problems += error.problems
        except ModelError as error:
            problems.append(error.problem)
    return packages, state_packages, loaded


def _endless_states(
    file: str, name: str, pipeline: PipelineConfig, package: Package, others: dict[str, Package]
) -> list[Problem]:
    """Return the states whose own threshold and deadband let an alarm never end."""
    problems = []
    for state, one in pipeline.states.items():
        judged = others.get(state, package)
        manifest = judged.manifest
        chosen = pipeline.alarm
        if state in others:
            chosen = chosen.model_copy(update={"threshold": None, "deadband": None})
        rule = state_rule(
            one,
            alarm_rule(
                manifest.threshold.value, manifest.alarm, chosen, manifest.threshold.abnormal
            ),
        )
        is_own = one.threshold is not None or one.deadband is not None
        if is_own and rule.deadband > 0 and not _can_end(rule, judged):
            text = "the alarm could never end: no golden window's score is so far from `threshold`"
            field = f"pipelines.{name}.states.{state}.deadband"
            problems.append(Problem(file, field, text, rule.deadband, has_value=True))
    return problems


def _mapping_warnings(config: Config, packages: Mapping[str, Package]) -> list[str]:
    """Return what messages may hold that the mapping does not read."""
    warnings = position_warnings(config)
    for name, pipeline in config.pipelines.items():
        signals = [signal.name for signal in packages[name].manifest.signals]
        if pipeline.source is not None:
            warnings += undeclared_fields(name, pipeline.source, signals)
    return warnings


def _load_state_models(
    path: Path,
    name: str,
    pipeline: PipelineConfig,
    loaded: dict[Path, Package],
    trust: Trust | None,
) -> dict[str, Package]:
    """Return the packages that the states of a pipeline name, by state; add them to `loaded`."""
    found = {}
    for state, one in pipeline.states.items():
        if one.model is not None:
            folder = _find_model(one.model, path, f"pipelines.{name}.states.{state}.model")
            if folder not in loaded:
                loaded[folder] = load_package(folder, trust)
            found[state] = loaded[folder]
    return found


def load_profile(name: str, config: Path) -> Device:
    """Load a device profile; `auto` is replaced by the candidates for this machine.

    Args:
        name: A shipped device's name, or a file relative to the folder of `config`.
        config: The configuration's file.

    Raises:
        ConfigError: The profile does not exist or breaks a rule.
    """
    device = load_device(_find_device(name, config))
    if device.is_auto:
        from edgeai.providers.selection.hardware import resolve_auto

        device = resolve_auto(device)
    return device


def load_packages(config: Config, path: Path) -> dict[str, Package]:
    """Load the model packages of a configuration, by pipeline; their graphs are not inspected.

    Args:
        config: The configuration.
        path: Its file.

    Raises:
        ConfigError: A model cannot be found.
        ModelError: A package breaks a rule.
    """
    trust = trust_of(config)
    return {
        name: load_package(_find_model(one.model, path, f"pipelines.{name}.model"), trust)
        for name, one in config.pipelines.items()
    }


def load_shipped_packages(state_folder: Path) -> list[Package]:
    """Load and check the shipped models; ModelError if one breaks a rule."""
    folders = sorted(file.parent for file in paths.shipped("models").glob(f"*/{MANIFEST}"))
    packages = [load_package(folder) for folder in folders]
    for error in inspect_packages(packages, state_folder):
        raise error
    return packages


def _find_device(name: str, config: Path) -> Path:
    if name.endswith((".yaml", ".yml")):
        file = config.parent / name
        if not os.path.lexists(file):
            rule = f"no such file: {file}"
            raise ConfigError([Problem(str(config), "device", rule, name, has_value=True)])
        return file
    path = paths.shipped("devices") / f"{name}.yaml"
    if not paths.is_file(path):
        known = sorted(file.stem for file in paths.shipped("devices").glob("*.yaml"))
        rule = f"must be a YAML file or one of the shipped devices: {', '.join(known)}"
        raise ConfigError([Problem(str(config), "device", rule, name, has_value=True)])
    return path


def _find_model(name: str, config: Path, field: str) -> Path:
    """Return the folder of a model: a path relative to the config, or a shipped model's name."""
    beside = config.parent / name
    if paths.is_file(beside / MANIFEST):
        return beside
    shipped = paths.shipped("models")
    if "/" not in name and paths.is_file(shipped / name / MANIFEST):
        return shipped / name
    known = sorted(file.parent.name for file in shipped.glob(f"*/{MANIFEST}"))
    rule = f"must be a folder with a {MANIFEST}, or one of the shipped models: {', '.join(known)}"
    raise ConfigError([Problem(str(config), field, rule, name, has_value=True)])


def _unusable_files(config: Config) -> list[Problem]:
    """Return problems with the secrets and certificates that a configuration names."""
    problems = []
    tls = config.broker.tls

    def read_password() -> None:
        if config.broker.password is not None:
            config.broker.password.reveal("broker.password")

    def read_certificates() -> None:
        if tls is not None:
            from edgeai.mqtt.tls import create_tls_context

            create_tls_context(tls)

    for read in (read_certificates, read_password, config.http.tokens):
        try:
            read()
        except ConfigError as error:
            problems += error.problems
    return problems


def _warnings(config: Config, state_folder: Path) -> list[str]:
    """Return what an operator should know although everything works."""
    secrets = [config.broker.password, config.http.token, config.http.metrics_token]
    files = [secret.file for secret in secrets if secret is not None]
    files.append(config.broker.tls.key_file if config.broker.tls is not None else None)
    found = [paths.secret_file_warning(Path(file)) for file in files if file is not None]
    found.append(paths.state_folder_warning(state_folder))
    if config.http.is_open and config.http.token is None:
        found.append(
            f"http.host {config.http.host}: other machines may read the status page "
            "(`http.token` asks for a token, 127.0.0.1 admits this machine only)"
        )
    return [warning for warning in found if warning is not None]


def _can_end(rule: AlarmRule, package: Package) -> bool:
    """Whether the score of a golden window ends an active alarm."""
    score = next(output.name for output in package.manifest.outputs if output.role == "score")
    alarm = Alarm(replace(rule, off_delay_ns=0))
    alarm.restore("active", 0)
    return any(alarm.update(float(one), 0) for one in package.golden()[1][score])


def _wrong_signals(
    file: str, name: str, pipeline: PipelineConfig, package: Package
) -> list[Problem]:
    """Return the names of signals that nobody knows, in the source and in conditions."""
    manifest = package.manifest
    declared = {
        signal: f"pipelines.{name}.{place}.signals"
        for place, source in pipeline.named_sources.items()
        for signal in source.signals
    }
    """Where each is declared."""
    signals = [signal.name for signal in manifest.measured]
    extras = extra_signals(pipeline, manifest)
    problems = []
    for signal, where in declared.items():
        if signal not in signals and signal not in extras:
            shown = ", ".join(signals[:12]) + (", ..." if len(signals) > 12 else "")
            rule = f"is not a signal of {manifest.name}: {shown}"
            rule += "; and no condition names it" if pipeline.named_signals else ""
            field = f"{where}.{signal}"
            problems.append(Problem(file, field, rule, signal, has_value=True))
    for signal in extras:
        if signal in declared:
            continue
        near = difflib.get_close_matches(signal, [*signals, *declared], 1, MIN_LIKENESS)
        if near:
            rule = (
                f"a condition names it, but it is not a signal of {manifest.name}; did you mean "
                f"`{near[0]}`? If it is another signal, declare it as {{{signal}: {{}}}}"
            )
            field = f"pipelines.{name}.{next(iter(pipeline.named_sources))}.signals"
            problems.append(Problem(file, field, rule, signal, has_value=True))
    frame = None if pipeline.source is None else pipeline.source.frame
    if extras and frame is not None and frame.channels is None and not _is_by_name(frame):
        rule = f"is required, because conditions name signals beside the model's: {extras[0]}"
        problems.append(Problem(file, f"pipelines.{name}.source.frame.channels", rule))
    return problems


def _is_by_name(frame: FrameFormat) -> bool:
    """Return whether a frame names its channels, so that their order is of no importance."""
    return frame.type == "arrow" or getattr(frame, "shape", "") == "by_name"


def _misfits(file: str, name: str, pipeline: PipelineConfig, package: Package) -> list[Problem]:
    """Return the settings of a pipeline that do not fit its model."""
    manifest = package.manifest
    problems = []

    def add(field: str, rule: str, value: object) -> None:
        problems.append(Problem(file, f"pipelines.{name}.{field}", rule, value, has_value=True))

    problems += _wrong_signals(file, name, pipeline, package)
    problems += find_source_faults(file, name, pipeline, manifest)
    problems += cycle_misfits(file, name, pipeline, manifest)
    problems += state_problems(file, name, pipeline)
    alarm = alarm_rule(manifest.threshold.value, manifest.alarm, pipeline.alarm)
    if alarm.deadband > 0 and not _can_end(alarm, package):
        rule = "the alarm could never end: no golden window's score is so far from the threshold"
        add("alarm.deadband", rule, alarm.deadband)
    if pipeline.alarm.outside_domain_seconds is not None and not manifest.domains:
        rule = f"needs a model that says when it is outside its domain; {manifest.name} does not"
        add("alarm.outside_domain_seconds", rule, pipeline.alarm.outside_domain_seconds)
    return problems
