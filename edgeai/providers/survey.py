"""What `edgeai devices` shows: each candidate of a device, for each package, and the choice."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from edgeai.deviceconfig import Device
from edgeai.package import Package
from edgeai.providers.choose import Choice, Note, choose, slowness
from edgeai.providers.discover import Hardware, distributions, find_hardware, fitting_profiles
from edgeai.providers.verdicts import Verdict
from edgeai.session import CpuSession

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
                **verdict.to_json(),
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


def as_tables(result: Survey) -> list[Table]:
    """Return a table for each package."""
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


def _table(device: Device, one: Surveyed) -> Table:
    manifest = one.package.manifest
    title = f"{manifest.name} {manifest.version}, policy {device.policy}"
    if one.refused:
        title += ": does not start"
    table = Table(title=title, title_justify="left")
    for heading in ("provider", "found", "proven", "parity error", "nodes"):
        table.add_column(heading)
    for batch in device.measure_batches:
        table.add_column(f"p50 / p99 µs\nbatch {batch}", justify="right")
    table.add_column("to CPU", justify="right")
    table.add_column("chosen")
    table.add_column("why not", overflow="fold", ratio=1)
    chosen = _chosen_index(one.choice)
    for index, verdict in enumerate(one.choice.verdicts):
        table.add_row(*_cells(device, verdict, is_chosen=index == chosen and not one.refused))
    return table


def _cells(device: Device, verdict: Verdict, *, is_chosen: bool) -> list[str]:
    name = verdict.provider
    if verdict.precision != "fp32":
        name += f" {verdict.precision}"
    error = "" if verdict.parity_error is None else f"{verdict.parity_error:.1e}"
    latency = [verdict.latency.get(batch) for batch in device.measure_batches]
    why = verdict.reason
    if verdict.proven and not is_chosen and device.policy == "fastest":
        why = "not faster than what is chosen"
    elif verdict.proven and not is_chosen:
        why = "another comes first"
    return [
        name,
        "yes" if verdict.found else "no",
        "yes" if verdict.proven else "no",
        error,
        ", ".join(f"{count} {_short(ep)}" for ep, count in verdict.nodes.items()),
        *("" if one is None else f"{one.p50 * 1e6:.0f} / {one.p99 * 1e6:.0f}" for one in latency),
        f"{slowness(verdict):.2f}" if verdict.latency else "",
        "yes" if is_chosen else "",
        why,
    ]


def _short(execution_provider: str) -> str:
    return execution_provider.removesuffix("ExecutionProvider")
