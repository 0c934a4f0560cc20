"""Small model packages for tests: `edgeai.testing`, also for graphs that do not run."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import yaml
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    RuntimeException,
)

from edgeai import testing
from edgeai.testing import GOLDEN_WINDOWS
from tests.support.networks import forest


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


FOREST_LABELS = [0] * 24 + [1] * 16  # of the golden windows of `write_forest`


def write_forest(folder: Path, *, labels: list[int] | None = None, **threshold: Any) -> Path:
    """Write a package with an isolation forest: 24 healthy golden windows and 16 faulty ones."""
    windows = np.full((40, 1, 2), 5.0, np.float32)
    windows += np.linspace(0, 1, 80, dtype=np.float32).reshape(40, 1, 2)
    windows[24:] += 10
    output = {"name": "score", "unit": "1", "meaning": "of the forest", "role": "score"}
    return write_package(
        folder, length=1, model=forest(), windows=windows, labels=labels,
        manifest_changes={
            "outputs": [output],
            "threshold": {"value": 0.0, "method": "as predict", "data": "none", **threshold},
            "onnx": {"opset": 17, "ir_version": 8, "domains": ["ai.onnx", "ai.onnx.ml"]},
        },
    )  # fmt: skip


def write_config(path: Path, port: int, pipelines: dict[str, Any], **more: Any) -> Path:
    """Write a configuration for a broker on a loopback port."""
    return testing.write_config(path, pipelines, port=port, **more)


def write_graph(folder: Path, data: bytes, **manifest_changes: Any) -> Path:
    """Make a package of these bytes, with the right hash."""
    write_package(folder)
    (folder / "model.onnx").write_bytes(data)
    manifest = yaml.safe_load((folder / "model.yaml").read_text())
    manifest["files"]["model.onnx"] = hashlib.sha256(data).hexdigest()
    for key, value in manifest_changes.items():
        manifest[key] = value
    (folder / "model.yaml").write_text(yaml.safe_dump(manifest))
    return folder


def manifest_of(folder: Path) -> Any:
    return yaml.safe_load((folder / "model.yaml").read_text())


def rehash(folder: Path, **changes: Any) -> Path:
    """Write the manifest again with changes and with the hashes of the files as they are now."""
    manifest = manifest_of(folder) | changes
    for name in ("model.onnx", "golden.npz"):
        if (folder / name).is_file():
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            manifest["files"][name] = digest
    (folder / "model.yaml").write_text(yaml.safe_dump(manifest))
    return folder


Arrays = dict[str, npt.NDArray[Any]]


def golden(folder: Path) -> Arrays:
    with np.load(folder / "golden.npz") as arrays:
        return dict(arrays)


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
