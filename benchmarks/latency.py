"""D: from a message handed to the socket until its prediction arrives, beside a bare paho echo."""

from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.result import Result, Scale, Target, ratio, rounded, shown
from benchmarks.rig import Run, open_rig
from benchmarks.systems import ECHO, EDGEAI
from benchmarks.workload import Workload

RATES = (1_000, 5_000)
QUANTILES = (50, 99)


def latency(scale: Scale) -> Result:
    """Measure both in turns, each with its own broker; every message gives one output."""
    load = Workload(length=1, hop=1)
    runs: dict[str, list[Run]] = {EDGEAI.name: [], ECHO.name: []}
    with ExitStack() as stack:
        rigs = {
            system.name: stack.enter_context(open_rig(system, load)) for system in (ECHO, EDGEAI)
        }
        for name, rig in rigs.items():
            runs[name].append(rig.warm_up())
        for _ in range(scale.rounds):
            for rate in RATES:
                for name, rig in rigs.items():
                    runs[name].append(rig.run(rate, rate * scale.seconds, record=True))
    figures: dict[str, Any] = {}
    table = Table("", *(f"p{q} us at {rate:,}/s" for rate in RATES for q in QUANTILES), "CPU us")
    for name in (EDGEAI.name, ECHO.name):
        prefix = "" if name == EDGEAI.name else f"{name}_"
        for rate in RATES:
            mine = [run for run in runs[name] if run.rate == rate]
            for q in QUANTILES:
                figures[f"{prefix}p{q}_us_at_{rate}"] = rounded(_quantile(mine, q), 1)
            cpu = median(run.cpu_us_per_message for run in mine)
            figures[f"{prefix}cpu_us_per_message_at_{rate}"] = rounded(cpu)
        table.add_row(
            name,
            *(shown(figures[f"{prefix}p{q}_us_at_{rate}"], 0) for rate in RATES for q in QUANTILES),
            " ".join(shown(figures[f"{prefix}cpu_us_per_message_at_{rate}"]) for rate in RATES),
        )
    ratios = {
        f"p{q}_ratio_at_{rate}": rounded(
            ratio(figures[f"p{q}_us_at_{rate}"], figures[f"echo_p{q}_us_at_{rate}"])
        )
        for rate in RATES
        for q in QUANTILES
    }
    table.add_row("ratio", *(shown(value, 2) for value in ratios.values()), "")
    figures |= ratios
    figures["lost"] = sum(run.verdict.lost for run in runs[EDGEAI.name])
    targets = [
        Target("D: p50 over the echo's at 1,000/s", ratios["p50_ratio_at_1000"], 1.3),
        Target("D: p99 over the echo's at 1,000/s", ratios["p99_ratio_at_1000"], 2.0),
    ]
    return Result(figures, [table], targets, runs)


def _quantile(runs: list[Run], q: float) -> float:
    """Return the median over the rounds, so that one disturbed round does not decide."""
    return median(float(np.percentile(run.latencies_us, q)) for run in runs)
