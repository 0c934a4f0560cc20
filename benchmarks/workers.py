"""One and two workers at full speed, with small messages, heavy models and frames.

Broker, generator and collector run on the same cores, so a second worker can use only the rest.
"""

from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table

from benchmarks.frame_load import Frames
from benchmarks.result import Result, Scale, ratio, rounded, shown
from benchmarks.rig import Run, open_rig
from benchmarks.systems import EDGEAI, Options
from benchmarks.workload import Workload

WORKERS = (1, 2)
RUNS = 2  # the faster one counts, because disturbances only slow a run down
RUN_SHARE = 0.4  # duration of a run as a share of `--seconds`
HEAVY = (2048, 1024, 2048)  # hidden layers; about 0.2 ms per window in large batches
DEEP_QUEUE = {"limits": {"outgoing_messages": 50_000}}


@dataclass(frozen=True)
class Case:
    """One workload at full speed."""

    name: str
    load: Workload
    burst_messages: int


CASES = (
    Case("rows of 10 values (A)", Workload(staggered=True), 20_000),
    Case(
        "rows, hop 4, autoencoder 640-2048-1024-2048-640",
        Workload(hop=4, hidden=HEAVY, staggered=True, warm_up_rate=3_000), 6_000,
    ),
    Case("frames of 80 kB (B), 100 machines", Frames(machines=100), 2_000),
)  # fmt: skip


def workers(scale: Scale) -> Result:
    """Measure each workload at full speed with one and with two workers."""
    table = Table(
        "full speed", "workers", "messages/s", "CPU us/msg", "times", "MB", "others' cores"
    )
    figures: dict[str, Any] = {"cases": {}}
    runs: dict[str, list[Run]] = {}
    for case in CASES[:1] if scale.quick else CASES:
        first = None
        for count in WORKERS:
            run, resident = _measure(case, count, scale)
            rate = run.messages_per_second
            first = first or rate
            runs[f"{case.name}, {count}"] = [run]
            figures["cases"].setdefault(case.name, {})[str(count)] = {
                "messages_per_second": round(rate),
                "cpu_us_per_message": rounded(run.cpu_us_per_message),
                "broker_cpu_us_per_message": rounded(run.broker_cpu_us_per_message),
                "speed_up": rounded(ratio(rate, first)),
                "resident_megabytes": rounded(resident / 1e6, 1),
            }
            table.add_row(
                case.name, str(count), f"{rate:,.0f}", shown(run.cpu_us_per_message),
                shown(ratio(rate, first), 2), shown(resident / 1e6, 0), shown(run.others_cores, 2),
            )  # fmt: skip
    figures["lost"] = sum(run.verdict.lost for found in runs.values() for run in found)
    return Result(figures, [table], runs=runs)


def _measure(case: Case, count: int, scale: Scale) -> tuple[Run, int]:
    options = replace(Options(), more={"workers": count, **DEEP_QUEUE})
    with open_rig(EDGEAI, case.load, options) as rig:
        rig.warm_up()
        rate = rig.run(None, case.burst_messages).messages_per_second
        runs = [rig.run(None, rate * scale.seconds * RUN_SHARE) for _ in range(RUNS)]
        return max(runs, key=lambda run: run.messages_per_second), rig.resident_bytes()
