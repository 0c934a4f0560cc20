"""Run a model package over a recording, for `edgeai report`.

The content follows from the manifest alone (roles, units, normal ranges, axes, diagnosis), so this
code is the same for every process.
"""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.alarms.alarm import Alarm, AlarmRule, alarm_rule
from edgeai.alarms.diagnosis import Domain, diagnose, domain_distances, is_outside
from edgeai.config.pipeline import AlarmConfig
from edgeai.errors import ConfigError, Problem, listed, one_line
from edgeai.messages import SECOND_NS, Diagnosis
from edgeai.model.manifest import Manifest
from edgeai.model.package import Package, load_package
from edgeai.paths import reason_of
from edgeai.providers.scorer import Scorer
from edgeai.training.data.windows import Floats, Samples, finite, windows_of
from edgeai.training.extra import library

MAX_WINDOWS = 1500  # a longer recording is evaluated at a larger hop
MS_PER_SECOND = 1000.0


@dataclass(frozen=True, eq=False)
class Report:
    """The outputs of a package over a recording.

    Attributes:
        manifest: Manifest of the package.
        recording: Name of the recording's file.
        values: (n, C) readings, engineering units.
        seconds: (n,) time of each reading, s since the first.
        window_seconds: (M,) time of each window's last sample.
        outputs: Outputs by name, (M, ...).
        alarms: (start, end) of each alarm, s.
        diagnoses: (M,), None where the window is normal; empty if the model has no evidence and no
            domain.
    """

    manifest: Manifest
    recording: str
    values: Samples
    seconds: Floats
    window_seconds: Floats
    outputs: dict[str, npt.NDArray[Any]]
    alarms: list[tuple[float, float]]
    diagnoses: list[Diagnosis | None] = field(default_factory=list)


def make_report(folder: Path, recording: Path, time_column: str = "timestamp") -> Report:
    """Run a package over a recording.

    Args:
        folder: Folder of the package.
        recording: CSV or Parquet with a column for each signal, or JSON lines of messages
            {"payload": {"timestamp": ..., "values": {...}}}; time in ms.
        time_column: Column with the time; without it the package's sample rate is used.

    Raises:
        ConfigError: The recording or the manifest breaks a rule.
        ModelError: A file of the package is missing or does not match its hash.
    """
    package = load_package(folder)
    manifest = package.manifest
    if manifest.cycle is not None:
        rule = f"a window of {manifest.name} is a cycle, which a report does not show: use replay"
        raise ConfigError([Problem(str(folder), "cycle", rule)])
    values, seconds = read_recording(recording, package, time_column)
    length = manifest.window.length
    if len(values) < length:
        rule = f"must contain at least one window, {length} samples"
        raise ConfigError([Problem(str(recording), "", rule, len(values), has_value=True)])
    hop = max(1, -(-(len(values) - length + 1) // MAX_WINDOWS))
    windows = windows_of(values, length, hop)
    good = finite(windows)
    at = seconds[length - 1 :: hop][: len(windows)][good]
    outputs: dict[str, npt.NDArray[Any]] = dict(
        Scorer(package.graph.read_bytes()).outputs(windows[good])
    )
    threshold = manifest.threshold
    rule_of = alarm_rule(threshold.value, manifest.alarm, AlarmConfig(), threshold.abnormal)
    scores = outputs[manifest.score].tolist()
    diagnoses = _diagnoses(manifest, outputs, at, rule_of)
    alarms = _alarms(Alarm(rule_of), at, scores, diagnoses)
    return Report(manifest, recording.name, values, seconds, at, outputs, alarms, diagnoses)


def _diagnoses(
    manifest: Manifest,
    outputs: dict[str, npt.NDArray[Any]],
    at: Floats,
    rule: AlarmRule,
) -> list[Diagnosis | None]:
    scores = outputs[manifest.score].tolist()
    found: list[Diagnosis | None] = []
    if manifest.evidence is not None:
        evidence = outputs[manifest.evidence]
        found = diagnose(evidence, scores, rule.threshold, manifest.diagnosis, rule.abnormal)
    if manifest.domains:
        names = list(outputs)
        domains = [(names.index(name), edge) for name, edge in manifest.domains]
        distances = domain_distances(list(outputs.values()), domains)
        domain = Domain(round(manifest.settle_seconds * SECOND_NS))
        found = [
            domain.diagnose(diagnosis, distance, round(seconds * SECOND_NS))
            for diagnosis, distance, seconds in zip(
                found or [None] * len(scores), distances, at.tolist(), strict=True
            )
        ]
    return found


def _alarms(
    alarm: Alarm, at: Floats, scores: list[float], diagnoses: list[Diagnosis | None]
) -> list[tuple[float, float]]:
    spans: list[tuple[float, float]] = []
    since: float | None = None
    found = diagnoses or [None] * len(scores)
    for seconds, score, diagnosis in zip(at.tolist(), scores, found, strict=True):
        was_active = alarm.state == "active"
        time_ns = round(seconds * SECOND_NS)
        if is_outside(diagnosis):
            alarm.update_outside(0.0, time_ns)
        else:
            alarm.update(score, time_ns)
        if alarm.state == "active":
            since = since if was_active else seconds
        elif since is not None:
            spans.append((since, seconds))
            since = None
    if since is not None:
        spans.append((since, float(at[-1])))
    return spans


def read_recording(path: Path, package: Package, time_column: str) -> tuple[Samples, Floats]:
    """Read a recording: values (n, C) in the package's order, times (n,) in s since the first.

    Raises:
        ConfigError: The file cannot be read, lacks a signal, or has an unknown suffix.
    """
    names = [signal.name for signal in package.manifest.signals]
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        rule = f"must be one of {', '.join(sorted(READERS))}"
        raise ConfigError([Problem(str(path), "", rule, path.suffix, has_value=True)])
    try:
        columns = reader(path, [*names, time_column])
        missing = [name for name in names if name not in columns]
        if not missing:
            return _arrays(columns, names, package, time_column)
    except ConfigError:
        raise
    except Exception as error:  # csv, json and pyarrow raise a dozen kinds on a damaged file
        reason = reason_of(error) if isinstance(error, OSError) else one_line(error)
        raise ConfigError([Problem(str(path), "", f"cannot be read: {reason}")]) from error
    rule = f"must have a column for each signal of the package, but has none for {listed(missing)}"
    raise ConfigError([Problem(str(path), "", rule)])


def _arrays(
    columns: Mapping[str, list[float]], names: list[str], package: Package, time_column: str
) -> tuple[Samples, Floats]:
    """Return values and times of columns; ValueError if they are not numbers."""
    values = np.stack([np.asarray(columns[name], np.float32) for name in names], axis=1)
    if time_column not in columns or not len(values):
        rate = package.manifest.sample_rate_hz or 1.0
        return values, np.arange(len(values)) / rate
    stamps = np.asarray(columns[time_column], np.float64)
    if not np.isfinite(stamps).all():
        row = int(np.flatnonzero(~np.isfinite(stamps))[0]) + 1
        raise ValueError(f"row {row} has no time in the column `{time_column}`")
    return values, (stamps - stamps[0]) / MS_PER_SECOND


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _read_csv(path: Path, wanted: list[str]) -> dict[str, list[float]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        present = [name for name in wanted if name in (rows.fieldnames or ())]
        columns: dict[str, list[float]] = {name: [] for name in present}
        for row in rows:
            for name in present:
                columns[name].append(_number(row[name] or ""))
    return columns


def _read_parquet(path: Path, wanted: list[str]) -> dict[str, list[float]]:
    parquet = library("pyarrow.parquet", "a Parquet recording")
    table = parquet.read_table(path)
    present = [name for name in wanted if name in table.column_names]
    return {name: table.column(name).to_pylist() for name in present}


def _read_jsonl(path: Path, wanted: list[str]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {name: [] for name in wanted}
    with path.open(encoding="utf-8") as file:
        for line in file:
            message = json.loads(line)
            payload = message.get("payload", message) if isinstance(message, dict) else {}
            if not isinstance(payload, dict) or not isinstance(payload.get("values"), dict):
                continue
            row = {**payload["values"], wanted[-1]: payload.get(wanted[-1])}
            for name in wanted:
                value = row.get(name)
                columns[name].append(value if isinstance(value, int | float) else float("nan"))
    return {
        name: values for name, values in columns.items() if not np.isnan(np.array(values)).all()
    }


READERS: dict[str, Callable[[Path, list[str]], dict[str, list[float]]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
}
"""Readers by file suffix; each takes the columns wanted (signals, then time) and returns values."""
