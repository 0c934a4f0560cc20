"""D: latency from a message to its prediction, compared with a bare paho echo."""

from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.result import PARTS, Result, Scale, Target, ratio, rounded, shown
from benchmarks.rig import Run, open_rig
from benchmarks.systems import ECHO, EDGEAI
from benchmarks.workload import Workload

RATES = (1_000, 5_000)
QUANTILES = (50, 99)


def measure_latency(scale: Scale) -> Result:
    """Measure both alternately, each with its own broker; every message gives one output."""
    load = Workload(length=1, hop=1)
    runs: dict[str, list[Run]] = {EDGEAI.name: [], ECHO.name: []}
    with ExitStack() as stack:
        rigs = {
            system.name: stack.enter_context(open_rig(system, load)) for system in (ECHO, EDGEAI)
        }
        for name, rig in rigs.items():
            runs[name].append(rig.warm_up())
        for number in range(scale.pairs):
            for rate in RATES:
                for name in (list(rigs), list(reversed(rigs)))[number % 2]:
                    seconds = scale.seconds / PARTS
                    runs[name].append(rigs[name].run(rate, rate * seconds, record=True))
    figures: dict[str, Any] = {}
    table = Table("", *(f"p{q} us at {rate:,}/s" for rate in RATES for q in QUANTILES), "CPU us")
    for name in (EDGEAI.name, ECHO.name):
        prefix = "" if name == EDGEAI.name else f"{name}_"
        for rate in RATES:
            mine = [run for run in runs[name] if run.rate == rate]
            for q in QUANTILES:
                figures[f"{prefix}p{q}_us_at_{rate}"] = rounded(median(_quantiles(mine, q)), 1)
            cpu = median(run.cpu_us_per_message for run in mine)
            figures[f"{prefix}cpu_us_per_message_at_{rate}"] = rounded(cpu)
        table.add_row(
            name,
            *(shown(figures[f"{prefix}p{q}_us_at_{rate}"], 0) for rate in RATES for q in QUANTILES),
            " ".join(shown(figures[f"{prefix}cpu_us_per_message_at_{rate}"]) for rate in RATES),
        )
    ratios = {}
    for rate in RATES:
        pairs = [[run for run in found if run.rate == rate] for found in runs.values()]
        for q in QUANTILES:
            own, echo = (_quantiles(found, q) for found in pairs)
            found = sorted(ratio(a, b) or 0.0 for a, b in zip(own, echo, strict=True))
            ratios[f"p{q}_ratio_at_{rate}"] = rounded(median(found))
            quarters = found[len(found) // 4], found[-1 - len(found) // 4]
            figures[f"p{q}_ratio_quartiles_at_{rate}"] = [rounded(value) for value in quarters]
    table.add_row("ratio, the median of pairs", *(shown(one, 2) for one in ratios.values()), "")
    spread = (figures[f"p{q}_ratio_quartiles_at_{rate}"] for rate in RATES for q in QUANTILES)
    table.add_row("its quartiles", *(f"{low:.2f} {high:.2f}" for low, high in spread), "")
    figures |= ratios
    figures["lost"] = sum(run.verdict.lost for run in runs[EDGEAI.name])
    targets = [
        Target("D: p50 over the echo's at 1,000/s", ratios["p50_ratio_at_1000"], 1.2),
        Target("D: p99 over the echo's at 1,000/s", ratios["p99_ratio_at_1000"], 1.5),
        Target("D: p99 over the echo's at 5,000/s", ratios["p99_ratio_at_5000"], 1.5),
    ]
    return Result(figures, [table], targets, runs)


def _quantiles(runs: list[Run], q: float) -> list[float]:
    """Return a percentile of each run's latencies, us."""
    return [float(np.percentile(run.latencies_us, q)) for run in runs]
