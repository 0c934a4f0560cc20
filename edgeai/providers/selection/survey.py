"""The report of `edgeai devices`: each candidate of a device for each package, and the choice."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgeai.config.device import Device
from edgeai.model.package import Package
from edgeai.providers.cpu import open_cpu_session
from edgeai.providers.selection.choose import (
    CPU,
    MIN_SPEEDUP,
    Choice,
    ReportProgress,
    choose,
    latency_ratio,
)
from edgeai.providers.selection.hardware import (
    Hardware,
    distributions,
    find_hardware,
    matching_profiles,
)
from edgeai.providers.selection.verdicts import Verdict

BATCH_WINDOWS = 1024
RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "qnn")
"""Distributions with one of these in their name are shown."""


@dataclass(frozen=True)
class PackageSurvey:
    """One package with the verdicts of its candidates."""

    package: Package
    choice: Choice
    refused: bool
    """True if `edgeai run` would not start: policy `fixed`, candidate not proven."""


@dataclass(frozen=True)
class Survey:
    """The candidates of one device for all packages."""

    device: Device
    hardware: Hardware
    packages: list[PackageSurvey] = field(default_factory=list)


def survey(
    packages: list[Package],
    device: Device,
    state_folder: Path,
    *,
    fresh: bool = False,
    report_progress: ReportProgress | None = None,
) -> Survey:
    """Prove every candidate of a device for every package.

    Raises:
        ModelError: A package does not reproduce its golden outputs on the CPU.
    """
    # Show a candidate of the policy `fixed` that fails, instead of raising an error.
    shown = device.model_copy(update={"on_failure": "cpu"})
    found = []
    for package in packages:
        cpu = open_cpu_session(package, device.cpu.threads)
        cpu.prove(package, BATCH_WINDOWS)
        choice = choose(
            shown,
            package,
            cpu,
            state_folder,
            prove_all=True,
            fresh=fresh,
            report_progress=report_progress,
        )
        refused = (
            device.policy == "fixed"
            and device.on_failure == "refuse"
            and choice.candidate is None
            and bool(device.accelerators)
        )
        found.append(PackageSurvey(package, choice, refused))
    return Survey(device, find_hardware(), found)


def as_json(result: Survey) -> dict[str, Any]:
    """Return all results as JSON values; latency in seconds."""
    packages = []
    for one in result.packages:
        chosen = _chosen_index(one.choice)
        candidates = [
            {
                **asdict(verdict),
                "slowness": latency_ratio(verdict) if verdict.latency else None,
                "chosen": index == chosen and not one.refused,
            }
            for index, verdict in enumerate(one.choice.verdicts)
        ]
        packages.append(
            {
                "model": one.package.manifest.name,
                "version": one.package.manifest.version,
                "provider": None if one.refused else one.choice.provider,
                "requested": one.choice.requested,
                "reason": one.choice.reason,
                "refused": one.refused,
                "candidates": candidates,
            }
        )
    return {
        "device": result.device.description,
        "policy": result.device.policy,
        "hardware": asdict(result.hardware),
        "profiles": matching_profiles(result.hardware),
        "runtimes": _runtimes(result.device),
        "packages": packages,
    }


def as_tables(result: Survey) -> list[RenderableType]:
    """Return a table for each package; below it, why each other candidate was not chosen."""
    return [_table(result.device, one) for one in result.packages]


def summary(result: Survey) -> list[str]:
    """Return lines that describe the hardware and the runtimes found."""
    found = result.hardware
    devices = [
        f"NVIDIA GPU ({found.nvidia_driver or 'no driver version'})" if found.nvidia else "",
        *(f"GPU of PCI vendor {vendor}" for vendor in found.gpus),
        *(f"NPU with the driver {driver}" for driver in found.npus),
        "Qualcomm DSP" if found.qualcomm else "",
    ]
    shown = ", ".join(one for one in devices if one) or "no GPU or NPU"
    lines = [f"{found.cpu} ({found.machine}), {shown}"]
    fitting = ", ".join([*matching_profiles(found), "cpu"])
    lines.append(f"shipped devices for this machine: {fitting}")
    for python, names in _runtimes(result.device).items():
        lines.append(f"{python}: {', '.join(names) or 'no runtime'}")
    return lines


def _runtimes(device: Device) -> dict[str, list[str]]:
    found = {}
    for python in dict.fromkeys([None, *(one.python for one in device.accelerators)]):
        known = distributions(python)
        names = [name for name in known if any(part in name for part in RUNTIMES)]
        found[python or "edgeai's Python"] = [f"{name} {known[name]}" for name in sorted(names)]
    return found


def _chosen_index(choice: Choice) -> int:
    """Return the index of the chosen verdict; the CPU's is the last."""
    return len(choice.verdicts) - 1 if choice.index is None else choice.index


def _table(device: Device, one: PackageSurvey) -> RenderableType:
    manifest = one.package.manifest
    title = f"{manifest.name} {manifest.version}, policy {device.policy}"
    if one.refused:
        title += ": does not start"
    # Must fit a terminal of 80 columns, as over SSH.
    table = Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        pad_edge=False,
    )
    table.add_column(
        "provider", min_width=max(len(verdict.provider) for verdict in one.choice.verdicts)
    )
    for heading in ("found", "proven", "parity\nerror", "nodes"):
        table.add_column(heading, overflow="fold")
    for batch in device.measure_batches:
        table.add_column(f"batch {batch}\np50/p99", justify="right", no_wrap=True)
    table.add_column("to\nCPU", justify="right")
    table.add_column("chosen")
    chosen = _chosen_index(one.choice)
    below = []
    for index, verdict in enumerate(one.choice.verdicts):
        is_chosen = index == chosen and not one.refused
        table.add_row(*_cells(device, verdict, is_chosen=is_chosen))
        why = "" if is_chosen else _why_not(device, verdict)
        if why:
            below.append(Padding(Text(f"{_name(verdict)}: {why}", overflow="fold"), (0, 0, 0, 2)))
    return Group(table, *below, "")


def _name(verdict: Verdict) -> str:
    name = verdict.provider
    return name if verdict.precision == "fp32" else f"{name} {verdict.precision}"


def _cells(device: Device, verdict: Verdict, *, is_chosen: bool) -> list[str]:
    error = "" if verdict.parity_error is None else f"{verdict.parity_error:.1e}"
    latency = [verdict.latency.get(batch) for batch in device.measure_batches]
    return [
        _name(verdict),
        "yes" if verdict.found else "no",
        "yes" if verdict.proven else "no",
        error,
        ", ".join(f"{count} {_short_name(ep)}" for ep, count in verdict.nodes.items()),
        *("" if one is None else f"{one.p50 * 1e6:.0f}/{one.p99 * 1e6:.0f}" for one in latency),
        f"{latency_ratio(verdict):.2f}" if verdict.latency else "",
        "yes" if is_chosen else "",
    ]


def _why_not(device: Device, verdict: Verdict) -> str:
    """Return why a candidate was not chosen; empty for the CPU, which always is the fallback."""
    if not verdict.proven:
        return verdict.reason
    if verdict.provider == CPU:
        return ""
    if device.policy != "fastest":
        return "another comes first"
    if latency_ratio(verdict) * MIN_SPEEDUP > 1:
        return f"not faster than the CPU by more than {MIN_SPEEDUP - 1:.0%}"
    return "another is faster"


def _short_name(execution_provider: str) -> str:
    return execution_provider.removesuffix("ExecutionProvider").removeprefix("compiled:")
