"""Result of a benchmark, its JSON file, and facts about the machine."""

import datetime
import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.broker import SETTINGS, broker_version
from benchmarks.rig import Run
from benchmarks.systems import OUT

PACKAGES = ("edgeai", "onnxruntime", "numpy", "msgspec", "paho-mqtt", "orjson")

PARTS = 3  # runs that are compared are this much shorter: many short runs reduce the noise


@dataclass(frozen=True)
class Scale:
    """Duration of the measurements."""

    seconds: float
    """Duration of one run."""
    quick: bool
    """Only check that the benchmarks run."""

    @property
    def rounds(self) -> int:
        """Number of repetitions for a median."""
        return 1 if self.quick else 3

    @property
    def pairs(self) -> int:
        """Number of pairs of neighbouring runs for a ratio.

        On a virtual machine the speed changes within seconds, so a single ratio means little.
        """
        return 1 if self.quick else 15


@dataclass(frozen=True)
class Target:
    """A figure and its limit."""

    what: str
    value: float | None
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure keeps the limit."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass
class Result:
    """Result of a benchmark."""

    figures: dict[str, Any]
    """Figures for the JSON file."""
    tables: list[Table]
    targets: list[Target] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    """Runs by system."""

    faults: list[str] = field(default_factory=list)
    """Faults of outputs or systems; there are no figures for these."""


def write_result(letter: str, title: str, scale: Scale, result: Result) -> Path:
    """Write benchmarks/out/<letter>.json and return its path."""
    OUT.mkdir(exist_ok=True)
    document = {
        "benchmark": letter,
        "title": title,
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": scale.seconds,
        "quick": scale.quick,
        "ok": not result.faults,
        "faults": result.faults,
        **result.figures,
        "targets": [
            {"what": target.what, "value": target.value, "limit": target.limit, "met": target.met}
            for target in result.targets
        ],
        "machine": machine(),
        "mosquitto_settings": list(SETTINGS),
        "runs": {name: [run_facts(run) for run in runs] for name, runs in result.runs.items()},
    }
    path = OUT / f"{letter}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def run_facts(run: Run) -> dict[str, Any]:
    """Return the facts of a run for the JSON file."""
    return {
        "rate": run.rate,
        "messages": run.messages,
        "messages_per_second": round(run.messages_per_second),
        "cpu_us_per_message": round(run.cpu_us_per_message, 2),
        "broker_cpu_us_per_message": round(run.broker_cpu_us_per_message, 2),
        "late_seconds": round(run.late_seconds, 3),
        "lag_seconds": round(run.lag_seconds, 3),
        "others_cores": round(run.others_cores, 2),
        "sustained": run.is_sustained(),
        "outputs": run.verdict.expected,
        "lost": run.verdict.lost,
        "doubled": run.verdict.doubled,
        "disordered": run.verdict.disordered,
        "wrong": run.verdict.wrong,
        "worst_relative_error": run.verdict.worst_relative_error,
        "faults": list(run.verdict.faults),
    }


def machine() -> dict[str, Any]:
    """Return the facts about this machine that the figures depend on."""
    versions = {"python": platform.python_version(), "mosquitto": broker_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    if shutil.which("node"):
        output = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
        versions["node"] = output.stdout.strip()
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "versions": versions,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def target_table(targets: list[Target]) -> Table:
    """Return a table of targets and measured values."""
    table = Table("target", "limit", "measured", "")
    for target in targets:
        sign = "at least" if target.at_least else "at most"
        value = "-" if target.value is None else f"{target.value:,.4g}"
        met = "[green]met[/]" if target.met else "[red]missed[/]"
        table.add_row(target.what, f"{sign} {target.limit:,.6g}", value, met)
    return table


def rounded(value: float | None, digits: int = 2) -> float | None:
    """Round a figure for the JSON file."""
    return None if value is None else round(value, digits)


def ratio(one: float | None, other: float | None) -> float | None:
    """Return one / other, or None if one is missing or zero."""
    return one / other if one is not None and other else None


def shown(value: float | None, digits: int = 1) -> str:
    """Format a figure for a table."""
    return "-" if value is None else f"{value:,.{digits}f}"
