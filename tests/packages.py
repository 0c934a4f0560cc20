"""Small model packages for tests: `edgeai.testing`, also for graphs that do not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    RuntimeException,
)

from edgeai import testing
from edgeai.testing import GOLDEN_WINDOWS, mean_graph

__all__ = ["mean_graph", "write_config", "write_package"]


def write_package(folder: Path, *, model: onnx.ModelProto | None = None, **options: Any) -> Path:
    """Write a package whose score is the sum of the channel means of the window."""
    try:
        return testing.build_package(folder, model=model, **options)
    except (
        Fail,
        InvalidArgument,
        InvalidGraph,
        RuntimeException,
    ):  # a graph that ONNX Runtime refuses: tests of that
        assert model is not None
        outputs = {one.name: np.zeros(GOLDEN_WINDOWS, np.float32) for one in model.graph.output}
        return testing.build_package(folder, model=model, outputs=outputs, **options)


def write_config(path: Path, port: int, pipelines: dict[str, Any], **more: Any) -> Path:
    """Write a configuration for a broker on a loopback port."""
    return testing.write_config(path, pipelines, port=port, **more)
