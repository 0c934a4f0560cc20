"""Growth: CPU per message, memory and latency over streams, models, window, channels and rate.

Each series varies one quantity; the others keep the values of MIDDLE. The model is a squared
distance, the cheapest model that reads every value; `ort_alone` measures its cost.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.ort_alone import cpu_us_per_window
from benchmarks.result import Result, Scale, rounded, shown
from benchmarks.rig import Rig, Run, open_rig
from benchmarks.slopes import steps
from benchmarks.systems import EDGEAI
from benchmarks.workload import Workload

RUNS = 3
POINT_SHARE = 0.5  # duration of all runs of a point, as a share of `--seconds`
MIN_RUN_OUTPUTS = 200  # enough outputs for a p99
LARGE_RUN_MESSAGES = 100_000  # a run this long is not repeated (one hop of 10,000 streams)
ORT_SECONDS = 0.2
BURST_MESSAGES = 30_000
SUSTAINED_STEPS = (1.1, 1.0, 0.9, 0.8, 0.7, 0.6)
MIDDLE = Workload(
    network="distance", staggered=True, distinct_samples=64, warm_up_rate=50_000, warm_up_samples=16
)
RATE = 20_000


@dataclass(frozen=True)
class Series:
    """A series of measurements in which one quantity varies."""

    name: str
    unit: str
    sizes: tuple[int, ...]
    load: Callable[[int], Workload]
    linear_cpu: float
    """Exponent of linear growth for the CPU per message."""
    rate: int = RATE
    note: str = ""

    @property
    def linear(self) -> dict[str, float]:
        """Exponent of linear growth, by figure."""
        return {CPU: self.linear_cpu, MEMORY: 1.0, P50: 1.0, P99: 1.0}


@dataclass
class Point:
    """Measurements at one size."""

    size: float
    runs: list[Run] = field(default_factory=list)
    resident_bytes: int = 0
    started_bytes: int = 0
    """Resident memory when ready, before the first message."""
    ort_us_per_message: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Return the figures for the JSON file: the lowest of the runs, the least disturbed one."""
        return {
            "size": self.size,
            CPU: rounded(min(run.cpu_us_per_message for run in self.runs)),
            "ort_cpu_us_per_message": rounded(self.ort_us_per_message),
            MEMORY: rounded(self.resident_bytes / 1e6, 1),
            "started_megabytes": rounded(self.started_bytes / 1e6, 1),
            P50: rounded(min(_quantile(run, 50) for run in self.runs), 3),
            P99: rounded(min(_quantile(run, 99) for run in self.runs), 3),
            "messages_per_second": round(median(run.messages_per_second for run in self.runs)),
            "sustained": all(run.is_sustained() for run in self.runs),
            "others_cores": rounded(min(run.others_cores for run in self.runs)),
        }


CPU = "cpu_us_per_message"
MEMORY = "resident_megabytes"
P50 = "latency_p50_ms"
P99 = "latency_p99_ms"
FIGURES = {CPU: "CPU us/msg", MEMORY: "MB", P50: "p50 ms", P99: "p99 ms"}


def _streams(count: int) -> Workload:
    if count < 1_000:
        return replace(MIDDLE, machines=count)
    # Fewer distinct samples, because all packets are prebuilt in memory.
    return replace(MIDDLE, machines=count, distinct_samples=32, warm_up_rate=30_000)


def _channels(count: int) -> Workload:
    names = tuple(f"signal-{index:03}" for index in range(count))
    return replace(MIDDLE, machines=10, signals=names, warm_up_rate=2_000)


SERIES = (
    Series("streams", "streams", (1, 10, 100, 1_000, 10_000), _streams, 0.0),
    Series(
        "models", "models on the same messages", (1, 2, 5, 10, 20),
        lambda count: replace(MIDDLE, models=count, warm_up_rate=5_000), 1.0, rate=1_000,
    ),
    Series(
        "window", "samples in a window", (16, 64, 256, 1_024, 4_096),
        lambda length: replace(MIDDLE, length=length), 1.0,
    ),
    Series(
        "channels", "channels in a message", (1, 10, 100, 1_000), _channels, 1.0,
        rate=2_000, note="10 streams",
    ),
)  # fmt: skip
RATES = (1_000, 3_000, 10_000, 30_000)
RATE_SERIES = Series("rate", "messages/s", RATES, lambda _: MIDDLE, 0.0)


def growth(scale: Scale) -> Result:
    """Measure every series; the exponents show where growth is worse than linear."""
    figures: dict[str, Any] = {"middle": _middle(), "series": {}}
    tables = []
    runs: dict[str, list[Run]] = {}
    for series in (*SERIES, RATE_SERIES):
        measured = series
        if scale.quick:
            measured = replace(series, sizes=series.sizes[:2])
        points = _rates(measured, scale) if series is RATE_SERIES else _points(measured, scale)
        document = describe(measured, [point.figures() for point in points])
        figures["series"][series.name] = document
        tables.append(table(document))
        runs |= {f"{series.name} {point.size:g}": point.runs for point in points}
    every = [run for found in runs.values() for run in found]
    figures["lost"] = sum(run.verdict.lost for run in every)
    figures["worse_than_linear"] = [
        f"{name}: {key} from {step['from']:g} to {step['to']:g}: {step['exponent']:.2f}"
        for name, document in figures["series"].items()
        for key, found in document["growth"].items()
        for step in found
        if step["worse_than_linear"]
    ]
    return Result(figures, tables, runs=runs)


def describe(series: Series, points: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a series for the file: points, and the growth of each figure between them."""
    sizes = [point["size"] for point in points]
    growth_of = {
        key: [
            {
                "from": step.low,
                "to": step.high,
                "exponent": rounded(step.exponent),
                "worse_than_linear": step.worse,
            }
            for step in steps(sizes, [point[key] for point in points], linear)
        ]
        for key, linear in series.linear.items()
    }
    return {
        "unit": series.unit,
        "rate": None if series.name == RATE_SERIES.name else series.rate,
        "note": series.note,
        "linear_exponents": series.linear,
        "points": points,
        "growth": growth_of,
    }


def table(document: dict[str, Any]) -> Table:
    """Return a series as a table: each figure with its exponent since the previous point."""
    heads = [f"{title} ^exp." for title in FIGURES.values()]
    made = Table(document["unit"], *heads, "ORT us", "kept up", "others")
    rate = document["rate"]
    made.title = ", ".join(
        part for part in (f"at {rate:,} messages/s" if rate else "", document["note"]) if part
    )
    for index, point in enumerate(document["points"]):
        cells = []
        for key in FIGURES:
            digits = 3 if key in {P50, P99} else 1
            exponent = _exponent(document["growth"][key][index - 1]) if index else ""
            cells.append(f"{shown(point[key], digits)} {exponent}")
        kept_up = "yes" if point["sustained"] else "[red]no[/]"
        ort = shown(point["ort_cpu_us_per_message"])
        cells += [ort, kept_up, shown(point["others_cores"], 2)]
        made.add_row(f"{point['size']:,.0f}", *cells)
    return made


def _exponent(step: dict[str, Any]) -> str:
    text = f"^{step['exponent']:.2f}"
    return f"[red]{text} ![/]" if step["worse_than_linear"] else text


def _points(series: Series, scale: Scale) -> list[Point]:
    points = []
    for size in series.sizes:
        load = series.load(size)
        point = Point(size)
        with open_rig(EDGEAI, load) as rig:
            point.started_bytes = rig.resident_bytes()
            rig.warm_up()
            _measure(rig, point, series.rate, scale)
        points.append(point)
    return points


def _rates(series: Series, scale: Scale) -> list[Point]:
    """Measure one process at increasing rates; the last is the highest sustained rate."""
    points = []
    with open_rig(EDGEAI, series.load(0)) as rig:
        started = rig.resident_bytes()
        rig.warm_up()
        for rate in series.sizes:
            point = Point(rate, started_bytes=started)
            _measure(rig, point, rate, scale)
            points.append(point)
        if not scale.quick:
            best = _sustained(rig, scale)
            if best is not None and best.messages_per_second > series.sizes[-1]:
                point = Point(round(best.messages_per_second, -2), [best], started_bytes=started)
                _finish(rig, point)
                points.append(point)
    return points


def _measure(rig: Rig, point: Point, rate: int, scale: Scale) -> None:
    load = rig.load
    least = load.hop * max(load.machines, MIN_RUN_OUTPUTS // load.models)
    wanted = max(least, rate * scale.seconds * POINT_SHARE / RUNS)
    repeats = 1 if scale.quick or wanted >= LARGE_RUN_MESSAGES else RUNS
    point.runs += [rig.run(rate, wanted, record=True) for _ in range(repeats)]
    _finish(rig, point)


def _finish(rig: Rig, point: Point) -> None:
    point.resident_bytes = rig.resident_bytes()
    windows = point.runs[-1].verdict.expected / point.runs[-1].messages
    alone = cpu_us_per_window(rig.graph, rig.load, 8, ORT_SECONDS)
    point.ort_us_per_message = alone * windows


def _sustained(rig: Rig, scale: Scale) -> Run | None:
    """Find the highest sustained rate, from the full-speed rate downwards."""
    flat_out = rig.run(None, BURST_MESSAGES).messages_per_second
    for step in SUSTAINED_STEPS:
        rate = round(flat_out * step, -2)
        run = rig.run(rate, rate * scale.seconds * POINT_SHARE, record=True)
        if run.is_sustained():
            return run
    return None


def _middle() -> dict[str, Any]:
    return {
        "streams": MIDDLE.machines,
        "models": MIDDLE.models,
        "window": MIDDLE.length,
        "hop": MIDDLE.hop,
        "channels": len(MIDDLE.signals),
        "rate": RATE,
        "model": "squared distance, inside ONNX",
    }


def _quantile(run: Run, q: float) -> float:
    """Return a percentile of the latencies, ms."""
    return float(np.percentile(run.latencies_us, q)) / 1000
