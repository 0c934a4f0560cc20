"""A device whose accelerator is ONNX Runtime's CPU provider in a child process.

It is a compiled backend with an entry point, like a vendor's adapter, and computes the same as
edgeai's own session. The difference to serving in process is the cost of the child process.
"""

from pathlib import Path
from typing import Any

import yaml

BACKEND = "plain"
PROVIDER = f"compiled:{BACKEND}"
DEADLINE_SECONDS = 5.0  # long, so that a busy machine causes no failure
MODULE = '''
"""Computes with ONNX Runtime on the CPU."""

import onnxruntime


def load(request):
    return Model(request)


class Model:
    batch_sizes = ()

    def __init__(self, request):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        self.session = onnxruntime.InferenceSession(
            str(request.artefact), options, providers=["CPUExecutionProvider"]
        )
        self.outputs = list(request.outputs)
        self.input = request.input_name

    def run(self, windows):
        return self.session.run(self.outputs, {self.input: windows})

    def describe(self):
        runtime = f"onnxruntime {onnxruntime.__version__}"
        return {"device": "CPU", "driver": "none", "runtime": runtime, "precision": "fp32"}

    def close(self):
        pass
'''
PROFILE: dict[str, Any] = {
    "description": "ONNX Runtime in a child",
    "policy": "fixed",
    "candidates": [
        {
            "provider": "compiled",
            "backend": BACKEND,
            "source": "graph",
            "deadline_seconds": DEADLINE_SECONDS,
            "batch_sizes": [1, 8, 64, 512],
        }
    ],
    "known_answer_seconds": 0,
}


def install(folder: Path) -> tuple[Path, Path]:
    """Write adapter and device profile; return the folder for PYTHONPATH, and the profile."""
    site = folder / "site"
    info = site / "edgeai_backend_plain-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (site / "edgeai_backend_plain.py").write_text(MODULE)
    name = "Metadata-Version: 2.1\nName: edgeai-backend-plain\nVersion: 1.0\n"
    (info / "METADATA").write_text(name)
    entry = f"[edgeai.backends]\n{BACKEND} = edgeai_backend_plain:load\n"
    (info / "entry_points.txt").write_text(entry)
    profile = folder / "device.yaml"
    profile.write_text(yaml.safe_dump(PROFILE, sort_keys=False))
    return site, profile
