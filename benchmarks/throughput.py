"""A and C: CPU per message and highest sustained rate, compared with peers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from benchmarks.node_peer import node_missing
from benchmarks.ort_alone import cpu_us_per_window
from benchmarks.result import Result, Scale, Target, ratio, rounded, shown
from benchmarks.rig import OutputFaultError, Rig, Run, broker_limit, open_rig
from benchmarks.systems import EDGEAI, NODE, SCRIPT, TUNED, System
from benchmarks.workload import Workload

LOW_RATES = (1_000, 5_000)
FIRST_BURST_MESSAGES = 16_000
STEPS_UP = (1.1, 1.2, 1.32, 1.45, 1.6)
STEPS_DOWN = (0.92, 0.85, 0.78, 0.7, 0.6, 0.5, 0.35, 0.2)
ORT_SECONDS = 0.5
FAULTS = ("lost", "doubled", "disordered", "wrong")


@dataclass
class Measured:
    """Measurements of one system."""

    system: System
    low: dict[int, Run] = field(default_factory=dict)
    flat_out: Run | None = None
    sustained: Run | None = None
    ort_share: float | None = None
    """Share of ONNX Runtime in the CPU at the sustained rate; edgeai only."""
    mean_batch: float | None = None
    resident_bytes: int = 0
    runs: list[Run] = field(default_factory=list)
    fault: str = ""

    def count(self, fault: str) -> int:
        """Return the number of outputs with a fault, over all runs."""
        return sum(getattr(run.verdict, fault) for run in self.runs)

    def figures(self) -> dict[str, Any]:
        """Return the figures for the JSON file; keys of other systems have their name as prefix."""
        prefix = "" if self.system.is_edgeai else f"{self.system.name}_"
        best = self.sustained
        figures: dict[str, Any] = {
            "cpu_us_per_message": rounded(best.cpu_us_per_message if best else None),
            "sustained_messages_per_second": round(best.messages_per_second) if best else None,
        }
        for rate, run in self.low.items():
            figures[f"cpu_us_per_message_at_{rate}"] = rounded(run.cpu_us_per_message)
        if self.flat_out:
            figures["flat_out_messages_per_second"] = round(self.flat_out.messages_per_second)
            figures["flat_out_cpu_us_per_message"] = rounded(self.flat_out.cpu_us_per_message)
        figures |= {fault: self.count(fault) for fault in FAULTS}
        figures["resident_megabytes"] = round(self.resident_bytes / 1e6, 1)
        return {f"{prefix}{key}": value for key, value in figures.items()}


def measure_rows(scale: Scale) -> Result:
    """Measure A: JSON rows of ten values, window 64, hop 16, an autoencoder."""
    result = compare(Workload(), scale)
    figures = result.figures
    cpu = figures["cpu_us_per_message"]
    times = ratio(figures["tuned_script_cpu_us_per_message"], cpu)
    result.targets.append(Target("A: times less than the tuned script", times, 8.0, at_least=True))
    if figures["node_cpu_us_per_message"] is None:
        return result
    times = ratio(figures["node_cpu_us_per_message"], cpu)
    result.targets.append(Target("A: times less than Node.js", times, 3.5, at_least=True))
    for rate in LOW_RATES:
        own, node = (
            figures.get(f"{prefix}cpu_us_per_message_at_{rate}") for prefix in ("", "node_")
        )
        if own is not None and node is not None:
            share = ratio(own, node)
            result.targets.append(Target(f"A: share of Node.js' CPU at {rate:,}/s", share, 0.5))
    return result


def measure_tags(scale: Scale) -> Result:
    """Measure C: each message has one value of one signal, held on the model's grid."""
    return compare(Workload(layout="tag"), scale)


def compare(load: Workload, scale: Scale) -> Result:
    """Measure edgeai and its peers on one workload."""
    missing = node_missing()
    chosen = [EDGEAI, TUNED, SCRIPT] if missing else [EDGEAI, TUNED, NODE, SCRIPT]
    measured = [measure(system, load, scale) for system in chosen]
    figures: dict[str, Any] = {}
    for one in measured:
        figures |= one.figures()
    figures["broker_messages_per_second"] = round(broker_limit(load, scale.seconds))
    figures["ort_share"] = rounded(measured[0].ort_share, 3)
    figures["mean_batch_windows"] = rounded(measured[0].mean_batch, 1)
    if missing:
        figures["node_cpu_us_per_message"] = None
        figures["node_missing"] = missing
    return Result(
        figures,
        [_table(measured)],
        runs={one.system.name: one.runs for one in measured},
        faults=[f"{one.system.title} {one.fault}" for one in measured if one.fault],
    )


def measure(system: System, load: Workload, scale: Scale) -> Measured:
    """Measure one system: low rates, full speed, and the highest sustained rate."""
    found = Measured(system)
    try:
        _measure(found, load, scale)
    except OutputFaultError as error:
        found.runs.append(error.run)
        found.fault = str(error)
    return found


def _measure(found: Measured, load: Workload, scale: Scale) -> None:
    with open_rig(found.system, load) as rig:
        found.runs.append(rig.warm_up())
        for rate in LOW_RATES:
            found.low[rate] = rig.run(rate, rate * scale.seconds)
            found.runs.append(found.low[rate])
        burst = rig.run(None, FIRST_BURST_MESSAGES)
        found.flat_out = rig.run(None, burst.messages_per_second * scale.seconds)
        found.runs += [burst, found.flat_out]
        _search(rig, found, scale)
        found.resident_bytes = rig.resident_bytes()


def _search(rig: Rig, found: Measured, scale: Scale) -> None:
    """Find the highest sustained rate, starting from the full-speed rate."""
    assert found.flat_out is not None
    start = found.flat_out.messages_per_second
    steps = [1.0, *STEPS_UP]
    for step in steps if not scale.quick else steps[:2]:
        if not _try(rig, found, start * step, scale):
            break
    if found.sustained is None:
        for step in STEPS_DOWN:
            if _try(rig, found, start * step, scale):
                break


def _try(rig: Rig, found: Measured, rate: float, scale: Scale) -> bool:
    """Run at a rate; keep the run as the best if it is sustained."""
    rate = round(rate, -2)
    before = _batches(rig, found.system)
    run = rig.run(rate, rate * scale.seconds)
    found.runs.append(run)
    if not run.is_sustained():
        return False
    found.sustained = run
    if found.system.is_edgeai:
        windows, calls = (a - b for a, b in zip(_batches(rig, found.system), before, strict=True))
        found.mean_batch = windows / calls if calls else None
        alone = cpu_us_per_window(rig.graph, rig.load, found.mean_batch or 1, ORT_SECONDS)
        per_message = alone * run.verdict.expected / run.messages
        found.ort_share = ratio(per_message, run.cpu_us_per_message)
    return True


def _batches(rig: Rig, system: System) -> tuple[float, float]:
    """Return the numbers of windows and session calls of edgeai."""
    if not system.is_edgeai:
        return 0.0, 0.0
    return rig.metric("edgeai_batch_windows_sum"), rig.metric("edgeai_batch_windows_count")


def _table(measured: list[Measured]) -> Table:
    """Return a table with one column per system."""
    table = Table("", *(one.system.title for one in measured))

    def line(title: str, value: Callable[[Measured], float | None], digits: int = 1) -> None:
        table.add_row(title, *(shown(value(one), digits) for one in measured))

    def fact(run: Run | None, name: str) -> float | None:
        return None if run is None else float(getattr(run, name))

    line("messages/s sustained", lambda one: fact(one.sustained, "messages_per_second"), 0)
    line("  CPU us a message", lambda one: fact(one.sustained, "cpu_us_per_message"))
    line("  broker's CPU us", lambda one: fact(one.sustained, "broker_cpu_us_per_message"))
    line("  of it ONNX Runtime, %", lambda one: one.ort_share and 100 * one.ort_share)
    line("  windows a session call", lambda one: one.mean_batch)
    line("messages/s flat out", lambda one: fact(one.flat_out, "messages_per_second"), 0)
    line("  CPU us a message", lambda one: fact(one.flat_out, "cpu_us_per_message"))
    for rate in LOW_RATES:
        runs = [one.low.get(rate) for one in measured]
        cells = (shown(fact(run, "cpu_us_per_message")) for run in runs)
        table.add_row(f"CPU us at {rate:,}/s", *cells)
    line("MB resident", lambda one: one.resident_bytes / 1e6, 0)
    for fault in FAULTS:
        table.add_row(fault, *(str(one.count(fault)) for one in measured))
    line("cores taken by others", lambda one: max(run.others_cores for run in one.runs), 2)
    return table
