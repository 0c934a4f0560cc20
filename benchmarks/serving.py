"""H: cost of a session in a child process, compared with the same session in process.

The child uses ONNX Runtime's CPU provider, so both compute the same. The difference is the
transfer: copies, two messages, two wake-ups.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.models import write_model
from benchmarks.result import Result, Scale, Target, shown
from benchmarks.workload import Workload
from edgeai.providers.child.spec import ChildSpec
from edgeai.providers.cpu import CpuSession
from edgeai.providers.serving.child_accelerator import ChildAccelerator
from edgeai.providers.session import padded_capacity

OUTPUTS = ["score", "contribution"]
BATCHES = (1, 32, 1024)
PAUSES = {"back to back": 0.0, "every ms": 0.001}
"""Pauses between calls, s; after a pause the core is slower."""
ROUND = 20
DEADLINE_SECONDS = 10.0
LIMIT_US = 60.0


def measure_serving(scale: Scale) -> Result:
    """Time calls of both alternately, so that disturbances affect both."""
    load = Workload()
    window = (load.length, len(load.signals))
    figures = {}
    table = Table("batch", "calls", "in process us", "p99", "child us", "p99", "overhead us")
    with tempfile.TemporaryDirectory(prefix="edgeai-bench-") as name:
        graph = write_model(Path(name) / "model", load)
        spec = ChildSpec(
            "ort", str(graph), "window", OUTPUTS, window, "CPUExecutionProvider",
            batch_sizes=list(BATCHES), io_binding=True,
        )  # fmt: skip
        child = ChildAccelerator(spec)
        child.start()
        cpu = CpuSession(graph, OUTPUTS)
        rng = np.random.default_rng(0)
        windows = rng.normal(500, 50, (padded_capacity(max(BATCHES)), *window)).astype(np.float32)
        try:
            for batch in BATCHES:
                calls: list[Callable[[], object]] = [
                    lambda batch=batch: cpu.run(windows, batch),
                    lambda batch=batch: child.run(windows, batch, DEADLINE_SECONDS),
                ]
                for pace, pause in PAUSES.items():
                    inside, outside = _time_alternately(calls, pause, scale.seconds / 4)
                    overhead = float(np.median(outside) - np.median(inside))
                    key = f"batch_{batch}_{pace.replace(' ', '_')}"
                    figures |= {
                        f"{key}_in_process_us": round(float(np.median(inside)), 1),
                        f"{key}_child_us": round(float(np.median(outside)), 1),
                        f"{key}_child_p99_us": round(float(np.percentile(outside, 99)), 1),
                        f"{key}_overhead_us": round(overhead, 1),
                    }
                    cells = [np.median(inside), np.percentile(inside, 99)]
                    cells += [np.median(outside), np.percentile(outside, 99), overhead]
                    table.add_row(str(batch), pace, *(shown(float(value)) for value in cells))
        finally:
            child.close()
    found = figures["batch_1_back_to_back_overhead_us"]
    target = Target("H: us added by the child, batch 1, back to back", found, LIMIT_US)
    return Result(figures, [table], [target])


def _time_alternately(
    calls: list[Callable[[], object]], pause: float, seconds: float
) -> list[list[float]]:
    """Return the duration of each call in us, for each of the callables."""
    taken: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    due = time.monotonic() + seconds
    while time.monotonic() < due:
        for call, mine in zip(calls, taken, strict=True):
            for _ in range(ROUND):
                if pause:
                    time.sleep(pause)
                start = time.perf_counter()
                call()
                mine.append((time.perf_counter() - start) * 1e6)
    return taken
