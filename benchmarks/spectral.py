"""The models of B: an autoencoder on a spectrum computed in the graph, and an RMS.

In every matrix product the windows are on the right side and constants on the left, so each window
is a separate product of the same shape, and its bits do not depend on the batch.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

BANDS = 16
LAYERS = (128, 32, 128)
"""Of the autoencoder, as in A."""
POWER_FLOOR = 1e-6
MEAN_ENERGY = -3.0  # about the log energy of the frames

Constants = dict[str, npt.NDArray[Any]]


def spectral_autoencoder(length: int, channels: int, seed: int = 3) -> onnx.ModelProto:
    """Return a model: DFT with a Hann window, log energies of 16 bands, an autoencoder.

    At 200 samples of 100 channels: 100 complex bins (a product 200 x 200 x 100, 8 MFLOP), bands
    (16 x 200 x 100), dense layers 1600-128-32-128-1600. The score is the mean squared error of
    the log energies; a contribution is the error of one channel.
    """
    rng = np.random.default_rng(seed)
    bins = length // 2
    features = BANDS * channels
    # Real parts of the bins 1 to W/2, then the imaginary parts; the mean is omitted.
    angle = 2 * np.pi / length * np.outer(np.arange(1, bins + 1), np.arange(length))
    hann = np.hanning(length) / np.hanning(length).sum()
    fourier = np.concatenate([np.cos(angle), np.sin(angle)]) * hann
    band_of = np.arange(bins) * BANDS // bins
    bands = (band_of == np.arange(BANDS)[:, None]).astype(np.float32)
    constants: Constants = {
        "fourier": fourier[np.newaxis].astype(np.float32),
        "bands": np.concatenate([bands, bands], axis=1)[np.newaxis],
        "power_floor": np.full((1, 1, 1), POWER_FLOOR, np.float32),
        "column": np.array([-1, features, 1], np.int64),
        "by_band": np.array([-1, BANDS, channels], np.int64),
        "over_bands": np.full((1, 1, BANDS), 1 / BANDS, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["fourier", "window"], ["spectrum"]),
        helper.make_node("Mul", ["spectrum", "spectrum"], ["power"]),
        helper.make_node("MatMul", ["bands", "power"], ["band_power"]),
        helper.make_node("Add", ["band_power", "power_floor"], ["positive"]),
        helper.make_node("Log", ["positive"], ["energy"]),
        helper.make_node("Reshape", ["energy", "column"], ["layer0"]),
    ]
    for index, (wide, narrow) in enumerate(pairwise((features, *LAYERS, features))):
        last = index == len(LAYERS)
        weights = rng.normal(0, wide**-0.5, (1, narrow, wide))
        bias = rng.normal(MEAN_ENERGY if last else 0.0, 0.1, (1, narrow, 1))
        constants[f"weights{index}"] = weights.astype(np.float32)
        constants[f"bias{index}"] = bias.astype(np.float32)
        result = "rebuilt" if last else f"sum{index}"
        nodes += [
            helper.make_node("MatMul", [f"weights{index}", f"layer{index}"], [f"product{index}"]),
            helper.make_node("Add", [f"product{index}", f"bias{index}"], [result]),
        ]
        if not last:
            nodes.append(helper.make_node("Tanh", [result], [f"layer{index + 1}"]))
    nodes += [
        helper.make_node("Sub", ["rebuilt", "layer0"], ["error"]),
        helper.make_node("Mul", ["error", "error"], ["squared"]),
        helper.make_node("Reshape", ["squared", "by_band"], ["squared_by_band"]),
        helper.make_node("MatMul", ["over_bands", "squared_by_band"], ["row"]),
    ]
    return _add_score("spectral", nodes, constants, length, channels)


def rms_graph(length: int, channels: int) -> onnx.ModelProto:
    """Return a model: the root mean square of each channel, and their mean."""
    constants: Constants = {"over_time": np.full((1, 1, length), 1 / length, np.float32)}
    nodes = [
        helper.make_node("Mul", ["window", "window"], ["squared"]),
        helper.make_node("MatMul", ["over_time", "squared"], ["mean_square"]),
        helper.make_node("Sqrt", ["mean_square"], ["row"]),
    ]
    return _add_score("rms", nodes, constants, length, channels)


def _add_score(
    name: str, nodes: list[onnx.NodeProto], constants: Constants, length: int, channels: int
) -> onnx.ModelProto:
    """Complete a graph from its `row` (B, 1, C): contributions, and their mean as the score."""
    constants |= {
        "flat": np.array([-1, channels], np.int64),
        "tall": np.array([-1, channels, 1], np.int64),
        "over_channels": np.full((1, 1, channels), 1 / channels, np.float32),
        "line": np.array([-1], np.int64),
    }
    nodes += [
        helper.make_node("Reshape", ["row", "flat"], ["contribution"]),
        helper.make_node("Reshape", ["row", "tall"], ["tall_row"]),
        helper.make_node("MatMul", ["over_channels", "tall_row"], ["mean"]),
        helper.make_node("Reshape", ["mean", "line"], ["score"]),
    ]
    return build_model(name, nodes, constants, length, channels)


def build_model(
    name: str, nodes: list[onnx.NodeProto], constants: Constants, length: int, channels: int
) -> onnx.ModelProto:
    """Return a checked model with input `window` and outputs `score` and `contribution`."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", length, channels])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", channels]),
        ],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
