"""Small model packages for tests, written as `edgeai train` would."""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import yaml
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    RuntimeException,
)


def mean_graph(length: int, channels: int, weights: list[float] | None = None) -> onnx.ModelProto:
    """A graph whose score is the weighted sum of the window's channel means."""
    factor = np.array(weights or [1.0] * channels, np.float32)
    mean = np.full((length,), 1.0 / length, np.float32)
    constants = [
        numpy_helper.from_array(mean.reshape(1, 1, length), "mean"),
        numpy_helper.from_array(factor.reshape(1, 1, channels), "weights"),
        numpy_helper.from_array(np.array([-1, channels], np.int64), "flat"),
        numpy_helper.from_array(np.array([-1], np.int64), "line"),
        numpy_helper.from_array(np.ones((channels, 1), np.float32), "ones"),
    ]
    nodes = [
        helper.make_node("Mul", ["window", "weights"], ["weighted"]),
        helper.make_node("MatMul", ["mean", "weighted"], ["row"]),
        helper.make_node("Reshape", ["row", "flat"], ["contribution"]),
        helper.make_node("MatMul", ["contribution", "ones"], ["column"]),
        helper.make_node("Reshape", ["column", "line"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", length, channels])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", channels]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write_package(
    folder: Path,
    *,
    signals: list[str] | None = None,
    length: int = 4,
    hop: int = 1,
    threshold: float = 10.0,
    rate_hz: float | None = 1.0,
    ranges: dict[str, list[float]] | None = None,
    model: onnx.ModelProto | None = None,
    manifest_changes: dict[str, Any] | None = None,
) -> Path:
    """Write a package whose score is the sum of the channel means of the window."""
    names = signals or ["a", "b"]
    folder.mkdir(parents=True, exist_ok=True)
    model = model or mean_graph(length, len(names))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    rng = np.random.default_rng(0)
    windows = rng.normal(5, 3, (40, length, len(names))).astype(np.float32)
    names_out = [output.name for output in model.graph.output]
    outputs: dict[str, Any] = dict.fromkeys(names_out, np.zeros(40, np.float32))
    with contextlib.suppress(Fail, InvalidArgument, InvalidGraph, RuntimeException):
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        outputs = dict(zip(names_out, session.run(names_out, {"window": windows}), strict=True))
    np.savez(folder / "golden.npz", window=windows, **outputs)
    manifest = {
        "format": 1,
        "name": folder.name,
        "version": "1.0.0",
        "task": "anomaly",
        "description": "Sum of channel means, for tests",
        "signals": [
            {"name": name, "unit": "1"}
            | ({"range": ranges[name]} if ranges and name in ranges else {})
            for name in names
        ],
        "sample_rate_hz": rate_hz,
        "window": {"length": length, "hop": hop},
        "outputs": [
            {"name": "score", "unit": "1", "meaning": "sum of means", "role": "score"},
            {
                "name": "contribution",
                "unit": "1",
                "meaning": "mean of each channel",
                "role": "contribution",
            },
        ],
        "threshold": {"value": threshold, "method": "chosen", "data": "none"},
        "onnx": {"opset": 17, "ir_version": 8, "domains": [""]},
        "training": {"data": "none"},
        "files": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("model.onnx", "golden.npz")
        },
    }
    manifest.update(manifest_changes or {})
    (folder / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    return folder


def write_config(path: Path, port: int, pipelines: dict[str, Any], **more: Any) -> Path:
    """Write a configuration for a broker on a loopback port."""
    config = {
        "node": "test",
        "broker": {"host": "127.0.0.1", "port": port},
        "http": {"enabled": False},
        "pipelines": pipelines,
    }
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            config[key] = config[key] | value
        else:
            config[key] = value
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


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
