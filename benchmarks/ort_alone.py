"""CPU of ONNX Runtime alone on the windows of a workload."""

import time
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.workload import Workload

OUTPUTS = ["score", "contribution"]


def open_session(graph: Path) -> onnxruntime.InferenceSession:
    """Return a session with the same options as edgeai's."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(
        graph.read_bytes(), options, providers=["CPUExecutionProvider"]
    )


def cpu_us_per_window(graph: Path, load: Workload, batch: float, seconds: float) -> float:
    """Return the CPU of `session.run` per window in us, in batches of about `batch` windows."""
    session = open_session(graph)
    windows = load.windows(load.last_samples)
    size = max(1, min(round(batch), len(windows)))
    starts = range(0, len(windows) - size + 1, size)
    batches = [np.ascontiguousarray(windows[start : start + size]) for start in starts]
    for part in batches:
        session.run(OUTPUTS, {"window": part})
    count = 0
    before = time.process_time()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for part in batches:
            session.run(OUTPUTS, {"window": part})
        count += size * len(batches)
    return (time.process_time() - before) / count * 1e6
