"""E: memory and idle CPU of edgeai after serving 50 streams with one model."""

import time

from rich.table import Table

from benchmarks.result import Result, Scale, Target, shown
from benchmarks.rig import open_rig
from benchmarks.systems import EDGEAI
from benchmarks.workload import Workload

RATE = 10_000
SETTLE_SECONDS = 1.0


def measure_idle(scale: Scale) -> Result:
    """Measure after the start, and without load after serving."""
    with open_rig(EDGEAI, Workload()) as rig:
        started = rig.resident_bytes() / 1e6
        runs = [rig.warm_up(), rig.run(RATE, RATE * scale.seconds)]
        burst = rig.run(None, RATE * scale.seconds)
        time.sleep(SETTLE_SECONDS)
        share = 100 * rig.cpu_ratio_idle(max(scale.seconds, 2.0) * 2)
        served = rig.resident_bytes() / 1e6
    figures = {
        "resident_megabytes_after_start": round(started, 1),
        "resident_megabytes": round(served, 1),
        "idle_cpu_percent": round(share, 2),
        "lost": sum(run.verdict.lost for run in [*runs, burst]),
    }
    table = Table("", "MB after start", "MB after serving", "idle % of a core")
    table.add_row(EDGEAI.title, shown(started), shown(served), shown(share, 2))
    targets = [
        Target("E: MB resident with 50 streams", served, 120.0),
        Target("E: % of a core when idle", share, 1.0),
    ]
    return Result(figures, [table], targets, {EDGEAI.name: [*runs, burst]})
