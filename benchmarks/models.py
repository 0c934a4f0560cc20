"""The models of the benchmarks, with fixed weights, written as model packages."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from benchmarks.frame_load import Frames
from benchmarks.spectral import build_model, rms_graph, spectral_autoencoder
from benchmarks.workload import Workload
from edgeai.testing import mean_graph
from tests.support.packages import write_package

NEVER = 1e9  # a threshold above every score, so that the alarm stays normal
MEAN, SPREAD = 500.0, 50.0
LAYERS = (128, 32, 128)


def autoencoder(
    length: int, channels: int, seed: int = 3, layers: tuple[int, ...] = LAYERS
) -> onnx.ModelProto:
    """Return an autoencoder L*C-128-32-128-L*C; the score is the mean squared error.

    Sums are a MatMul with ones, because ReduceSum over a short axis is not batch invariant.
    """
    rng = np.random.default_rng(seed)
    flat = length * channels
    constants: dict[str, npt.NDArray[Any]] = {
        "mean": np.full((1, 1, channels), MEAN, np.float32),
        "scale": np.full((1, 1, channels), 1 / SPREAD, np.float32),
        "flat": np.array([-1, flat], np.int64),
        "shape": np.array([-1, length, channels], np.int64),
        "by_channel": np.array([-1, channels], np.int64),
        "line": np.array([-1], np.int64),
        "over_time": np.full((1, 1, length), 1 / flat, np.float32),
        "ones": np.ones((channels, 1), np.float32),
    }
    nodes = [
        helper.make_node("Sub", ["window", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "flat"], ["layer0"]),
    ]
    sizes = (flat, *layers, flat)
    for index, (wide, narrow) in enumerate(pairwise(sizes)):
        weights = rng.normal(0, wide**-0.5, (wide, narrow))
        constants[f"weights{index}"] = weights.astype(np.float32)
        constants[f"bias{index}"] = rng.normal(0, 0.1, narrow).astype(np.float32)
        last = index == len(layers)
        result = "rebuilt" if last else f"sum{index}"
        inputs = [f"layer{index}", f"weights{index}", f"bias{index}"]
        nodes.append(helper.make_node("Gemm", inputs, [result]))
        if not last:
            nodes.append(helper.make_node("Tanh", [result], [f"layer{index + 1}"]))
    nodes += [
        helper.make_node("Sub", ["rebuilt", "layer0"], ["error"]),
        helper.make_node("Mul", ["error", "error"], ["squared"]),
        helper.make_node("Reshape", ["squared", "shape"], ["in_time"]),
        helper.make_node("MatMul", ["over_time", "in_time"], ["row"]),
        helper.make_node("Reshape", ["row", "by_channel"], ["contribution"]),
        helper.make_node("MatMul", ["contribution", "ones"], ["column"]),
        helper.make_node("Reshape", ["column", "line"], ["score"]),
    ]
    return build_model("autoencoder", nodes, constants, length, channels)


def distance(length: int, channels: int) -> onnx.ModelProto:
    """Return a squared distance from the mean, weighted by age.

    It is the cheapest model that reads every value, so that edgeai's own cost is visible.
    """
    age = np.linspace(0.5, 1.5, length, dtype=np.float32) / (length * channels)
    constants: dict[str, npt.NDArray[Any]] = {
        "mean": np.full((1, 1, channels), MEAN, np.float32),
        "scale": np.full((1, 1, channels), 1 / SPREAD, np.float32),
        "by_channel": np.array([-1, channels], np.int64),
        "line": np.array([-1], np.int64),
        "over_time": age.reshape(1, 1, length),
        "ones": np.ones((channels, 1), np.float32),
    }
    nodes = [
        helper.make_node("Sub", ["window", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Mul", ["scaled", "scaled"], ["squared"]),
        helper.make_node("MatMul", ["over_time", "squared"], ["row"]),
        helper.make_node("Reshape", ["row", "by_channel"], ["contribution"]),
        helper.make_node("MatMul", ["contribution", "ones"], ["column"]),
        helper.make_node("Reshape", ["column", "line"], ["score"]),
    ]
    return build_model("distance", nodes, constants, length, channels)


def write_model(folder: Path, load: Workload) -> Path:
    """Write the model package for a workload, and return the path of its graph.

    Windows of one sample get a weighted sum as their model.
    """
    channels = len(load.signals)
    length, hop, rate_hz = load.length, load.hop, load.rate_hz
    if isinstance(load, Frames):
        length = hop = load.rows
        rate_hz = load.sample_rate_hz
        make = spectral_autoencoder if load.model == "spectral" else rms_graph
        model = make(length, channels)
    elif load.length == 1:
        model = mean_graph(1, channels, [0.5 + 0.1 * index for index in range(channels)])
    elif load.network == "distance":
        model = distance(load.length, channels)
    else:
        model = autoencoder(load.length, channels, layers=load.hidden)
    write_package(
        folder,
        signals=list(load.signals),
        length=length,
        hop=hop,
        threshold=NEVER,
        rate_hz=rate_hz,
        model=model,
    )
    return folder / "model.onnx"
