"""What `edgeai devices` shows: each candidate of a device, for each package, and the choice."""

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
from edgeai.providers.cpu import CpuSession
from edgeai.providers.selection.choose import CPU, TIE, Choice, Note, choose, slowness
from edgeai.providers.selection.hardware import (
    Hardware,
    distributions,
    find_hardware,
    fitting_profiles,
)
from edgeai.providers.selection.verdicts import Verdict

BATCH_WINDOWS = 1024
RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "qnn")
"""Parts of the names of distributions that are worth showing."""


@dataclass(frozen=True)
class Surveyed:
    """One package and the candidates for it."""

    package: Package
    choice: Choice
    refused: bool
    """The policy is `fixed` and the candidate is not proven: `edgeai run` would not start."""


@dataclass(frozen=True)
class Survey:
    """All packages on one device."""

    device: Device
    hardware: Hardware
    packages: list[Surveyed] = field(default_factory=list)


def survey(
    packages: list[Package],
    device: Device,
    state_folder: Path,
    *,
    fresh: bool = False,
    note: Note | None = None,
) -> Survey:
    """Prove every candidate of a device for every package.

    Raises:
        ModelError: A package is not right even on the CPU.
    """
    # A `fixed` that fails is to be shown, not raised.
    shown = device.model_copy(update={"on_failure": "cpu"})
    found = []
    for package in packages:
        outputs = [output.name for output in package.manifest.outputs]
        cpu = CpuSession(package.graph, outputs, device.cpu.threads)
        cpu.prove(package, BATCH_WINDOWS)
        choice = choose(shown, package, cpu, state_folder, look_at_all=True, fresh=fresh, note=note)
        refused = (
            device.policy == "fixed"
            and device.on_failure == "refuse"
            and choice.candidate is None
            and bool(device.accelerators)
        )
        found.append(Surveyed(package, choice, refused))
    return Survey(device, find_hardware(), found)


def as_json(result: Survey) -> dict[str, Any]:
    """Return everything measured as plain values; latency in seconds."""
    packages = []
    for one in result.packages:
        chosen = _chosen_index(one.choice)
        candidates = [
            {
                **asdict(verdict),
                "slowness": slowness(verdict) if verdict.latency else None,
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
        "profiles": fitting_profiles(result.hardware),
        "runtimes": _runtimes(result.device),
        "packages": packages,
    }


def as_tables(result: Survey) -> list[RenderableType]:
    """Return a table for each package, and below it why what was not chosen was not."""
    return [_table(result.device, one) for one in result.packages]


def summary(result: Survey) -> list[str]:
    """Return, in lines, the hardware and runtimes found."""
    found = result.hardware
    devices = [
        f"NVIDIA GPU ({found.nvidia_driver or 'no driver version'})" if found.nvidia else "",
        *(f"GPU of PCI vendor {vendor}" for vendor in found.gpus),
        *(f"NPU with the driver {driver}" for driver in found.npus),
        "Qualcomm DSP" if found.qualcomm else "",
    ]
    shown = ", ".join(one for one in devices if one) or "no GPU or NPU"
    lines = [f"{found.cpu} ({found.machine}), {shown}"]
    fitting = ", ".join([*fitting_profiles(found), "cpu"])
    lines.append(f"shipped devices that fit: {fitting}")
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
    """Return which of the verdicts is that of the chosen; the CPU's is the last."""
    return len(choice.verdicts) - 1 if choice.index is None else choice.index


def _table(device: Device, one: Surveyed) -> RenderableType:
    manifest = one.package.manifest
    title = f"{manifest.name} {manifest.version}, policy {device.policy}"
    if one.refused:
        title += ": does not start"
    # Narrow: it is read on terminals of 80 columns, over SSH.
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
        ", ".join(f"{count} {_short(ep)}" for ep, count in verdict.nodes.items()),
        *("" if one is None else f"{one.p50 * 1e6:.0f}/{one.p99 * 1e6:.0f}" for one in latency),
        f"{slowness(verdict):.2f}" if verdict.latency else "",
        "yes" if is_chosen else "",
    ]


def _why_not(device: Device, verdict: Verdict) -> str:
    """Say why a candidate was not chosen; nothing for the CPU, which stands behind all."""
    if not verdict.proven:
        return verdict.reason
    if verdict.provider == CPU:
        return ""
    if device.policy != "fastest":
        return "another comes first"
    if slowness(verdict) * TIE > 1:
        return f"not faster than the CPU by more than {TIE - 1:.0%}"
    return "another is faster"


def _short(execution_provider: str) -> str:
    return execution_provider.removesuffix("ExecutionProvider").removeprefix("compiled:")
