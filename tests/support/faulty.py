"""A compiled backend that fails on demand, which real hardware does not.

It computes honestly with ONNX Runtime until its control file names a fault. It is a real adapter,
found as an entry point in the child's environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeai.providers.child.spec import ChildSpec

ENTRY_POINT = "faulty"
MODULE = '''
"""Computes with ONNX Runtime on the CPU, unless the control file names a fault."""

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import onnxruntime


def load(request):
    return Model(request)


class Model:
    batch_sizes = ()

    def __init__(self, request):
        self.control = Path(request.options["control"])
        fault = self.fault()
        if fault == "load abort":
            os.write(2, b"vendor library: assertion failed: dma_ready\\n")
            os.abort()
        if fault == "load hang":
            time.sleep(3600)
        if fault == "load raise":
            raise RuntimeError("the device is taken")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(request.artefact), options, providers=["CPUExecutionProvider"]
        )
        self.outputs = list(request.outputs)
        self.input = request.input_name
        self.hoard = []

    def fault(self):
        return self.control.read_text().strip() if self.control.exists() else ""

    def run(self, windows):
        outputs = self.session.run(self.outputs, {self.input: windows})
        fault = self.fault()
        if fault == "nan":
            outputs[0] = np.full_like(outputs[0], np.nan)
        elif fault == "slightly wrong":
            outputs[0] = outputs[0] * np.float32(1.001)
        elif fault == "wrong shape":
            outputs[0] = outputs[0][:, None]
        elif fault == "one row":
            outputs = [output[:1] for output in outputs]
        elif fault in {"raise", "run and close raise"}:
            raise RuntimeError("ZE_RESULT_ERROR_DEVICE_LOST")
        elif fault == "memory error":
            raise MemoryError
        elif fault == "hang":
            time.sleep(3600)
        elif fault == "helper":
            helper = subprocess.Popen(["sleep", "60"])
            self.control.with_name("helper").write_text(str(helper.pid))
        elif fault == "slow":
            time.sleep(0.25)
        elif fault == "abort":
            os.write(2, b"vendor library: device lost\\n")
            os.abort()
        elif fault == "exit":
            os._exit(3)
        elif fault == "hoard":
            self.hoard.append(np.ones(50_000_000))
        elif fault == "chatter":
            os.write(1, b"chatter " * 20_000 + b"\\n")
        return outputs

    def describe(self):
        runtime = f"onnxruntime {onnxruntime.__version__}"
        return {"device": "CPU", "driver": "none", "runtime": runtime, "precision": "fp32"}

    def close(self):
        if self.fault() in {"close raise", "run and close raise"}:
            raise RuntimeError("the device is not there any more")
'''


def install(folder: Path) -> Path:
    """Write the adapter into a folder for PYTHONPATH."""
    info = folder / "edgeai_backend_faulty-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (folder / "edgeai_backend_faulty.py").write_text(MODULE)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: edgeai-backend-faulty\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        f"[edgeai.backends]\n{ENTRY_POINT} = edgeai_backend_faulty:load\n"
    )
    return folder


def faulty_spec(package: Path, control: Path, **changes: Any) -> ChildSpec:
    """The adapter on the graph of a package of `tests.packages`, with 4 x 2 windows."""
    fields: dict[str, Any] = {
        "kind": "compiled",
        "graph": str(package / "model.onnx"),
        "input_name": "window",
        "outputs": ["score", "contribution"],
        "window": (4, 2),
        "provider": ENTRY_POINT,
        "provider_options": {"control": str(control)},
        "batch_sizes": [1, 8, 32],
    }
    return ChildSpec(**fields | changes)
