"""CPU and latency of another checkout against this one, side by side in one run.

    python -m benchmarks.before_after CHECKOUT [--only A,B,D] [--pairs 30] [--seconds 2]

Both systems are started at once, each with its own broker, and get the same load in turn: one pair
of runs is measured within seconds, so a change of the machine's speed affects both. The ratio is
this checkout over the other; the interval holds the median with 95 % confidence (order statistics
of a binomial distribution, Conover, Practical Nonparametric Statistics, section 3.2).
"""

import argparse
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table
from scipy.stats import binom

from benchmarks.frame_load import Frames
from benchmarks.rig import Rig, Run, open_rig
from benchmarks.systems import EDGEAI, OUT, Setting, System
from benchmarks.workload import Workload

FULL_SPEED_MESSAGES = 100_000
CONFIDENCE = 0.95
NEW_MANIFEST_KEYS = ("held_values",)
"""Keys of the benchmark's packages that 33fd63e does not know."""

Case = tuple[str, Workload, float | None, str]
"""Title, load, messages per second (None: full speed), and the figure to compare."""

CASES: dict[str, list[Case]] = {
    "A": [
        ("A, full speed", Workload(), None, "cpu"),
        ("A, 1,000/s", Workload(), 1_000, "cpu"),
        ("A, 5,000/s", Workload(), 5_000, "cpu"),
    ],
    "B": [
        (f"B, {machines} machines", load, load.frames_per_second, "cpu")
        for machines in (1, 10, 100)
        for load in [Frames(machines=machines)]
    ],
    "D": [
        ("D, p50 at 1,000/s", Workload(length=1, hop=1), 1_000, "p50"),
        ("D, p99 at 1,000/s", Workload(length=1, hop=1), 1_000, "p99"),
        ("D, p99 at 5,000/s", Workload(length=1, hop=1), 5_000, "p99"),
    ],
}


def _system_of(checkout: Path) -> System:
    """Return edgeai as it stands in another checkout, on this environment."""

    def command(setting: Setting) -> list[str]:
        _remove_new_keys(setting.package)
        python, module_flag, *rest = EDGEAI.command(setting)
        return ["env", f"PYTHONPATH={checkout}", python, "-P", module_flag, *rest]

    return replace(EDGEAI, title=str(checkout), command=command)


def _remove_new_keys(package: Path) -> None:
    """Remove the keys of a manifest that an earlier checkout refuses."""
    manifest = yaml.safe_load((package / "model.yaml").read_text())
    for key in NEW_MANIFEST_KEYS:
        manifest.pop(key, None)
    (package / "model.yaml").write_text(yaml.safe_dump(manifest))


def _interval(values: list[float]) -> tuple[float, float]:
    """Return the confidence interval of the median."""
    ordered = sorted(values)
    outside = int(binom.ppf((1 - CONFIDENCE) / 2, len(ordered), 0.5))
    outside = max(0, min(outside - 1, len(ordered) // 2 - 1))
    return ordered[outside], ordered[-1 - outside]


def _figure(run: Run, what: str) -> float:
    if what == "cpu":
        return run.cpu_us_per_message
    return float(np.percentile(run.latencies_us, float(what[1:])))


def _measure(case: Case, systems: dict[str, System], pairs: int, seconds: float) -> list[Run]:
    """Return the runs in turn: other checkout and this one, then the other way round."""
    _, load, rate, what = case
    messages = rate * seconds if rate else FULL_SPEED_MESSAGES
    runs: list[Run] = []
    with ExitStack() as stack:
        rigs: list[Rig] = [stack.enter_context(open_rig(one, load)) for one in systems.values()]
        for rig in rigs:
            rig.warm_up()
            rig.run(rate, messages / 4)
        for number in range(pairs):
            both = [None, None]
            for index in (0, 1) if number % 2 else (1, 0):
                both[index] = rigs[index].run(rate, messages, record=what != "cpu")
            runs += both
    return runs


def main() -> None:
    """Measure and print a table; write benchmarks/out/before_after.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--only", default="A,B,D")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    systems = {"before": _system_of(arguments.checkout.resolve()), "after": EDGEAI}
    table = Table("", "before", "after", "ratio", "95 % interval", "pairs")
    figures = {}
    for letter in arguments.only.split(","):
        for case in CASES[letter]:
            runs = _measure(case, systems, arguments.pairs, arguments.seconds)
            before, after = ([_figure(run, case[3]) for run in runs[n::2]] for n in (0, 1))
            ratios = [new / old for old, new in zip(before, after, strict=True)]
            low, high = _interval(ratios)
            row = median(before), median(after), median(ratios)
            figures[case[0]] = {"before": row[0], "after": row[1], "ratio": row[2]} | {
                "interval": [low, high], "pairs": len(ratios), "time": time.strftime("%F %R"),
            }  # fmt: skip
            cells = (f"{row[0]:.2f}", f"{row[1]:.2f}", f"{row[2]:.3f}", f"{low:.3f} {high:.3f}")
            table.add_row(case[0], *cells, str(len(ratios)))
            print(case[0], *cells, file=sys.stderr, flush=True)
    OUT.mkdir(exist_ok=True)
    (OUT / "before_after.json").write_text(json.dumps(figures, indent=2))
    Console().print(table)


if __name__ == "__main__":
    main()
