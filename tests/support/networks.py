"""Networks of some size, as ONNX graphs with a score and a contribution."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def dense_graph(length: int, channels: int, widths: list[int], seed: int = 0) -> onnx.ModelProto:
    """An autoencoder-like tanh network on the flattened window."""
    build = _Builder(length, channels, seed)
    size = length * channels
    value = build.add("Reshape", "scaled", build.constant(np.array([-1, size], np.int64)))
    for width in [*widths, size]:
        value = build.dense(value, size, width)
        size = width
        value = build.add("Tanh", value)
    shape = build.constant(np.array([-1, length, channels], np.int64))
    return build.finish(build.add("Reshape", value, shape))


def conv_graph(
    length: int, channels: int, width: int, layers: int, seed: int = 0
) -> onnx.ModelProto:
    """A 1D convolutional network over time, kernel 9, with SiLU as x * sigmoid(x)."""
    build = _Builder(length, channels, seed)
    value = build.add("Transpose", "scaled", perm=[0, 2, 1])
    size = channels
    for target in [*[width] * layers, channels]:
        scale = 1 / np.sqrt(9 * size)
        weights = build.constant(build.rng.normal(0, scale, (target, size, 9)).astype(np.float32))
        value = build.add("Conv", value, weights, kernel_shape=[9], pads=[4, 4])
        if target != channels:
            value = build.add("Mul", value, build.add("Sigmoid", value))
        size = target
    return build.finish(build.add("Transpose", value, perm=[0, 2, 1]))


def chain_graph(length: int, channels: int, steps: int) -> onnx.ModelProto:
    """Scales and offsets of every value, one after another; OpenVINO makes one pass of them."""
    build = _Builder(length, channels, 0)
    value = "scaled"
    for _ in range(steps):
        for operator, number in (("Mul", 0.9), ("Add", 0.1), ("Mul", 0.99)):
            value = build.add(operator, value, build.constant(np.array(number, np.float32)))
    return build.finish(value)


def scaler_graph(length: int, channels: int) -> onnx.ModelProto:
    """A graph with a Scaler of ai.onnx.ml in its middle, which few accelerators know."""
    build = _Builder(length, channels, 0)
    flat = build.constant(np.array([-1, channels], np.int64))
    rows = build.add("Reshape", "scaled", flat)
    factors = {"offset": [0.1] * channels, "scale": [0.9] * channels}
    rows = build.add("Scaler", rows, domain="ai.onnx.ml", **factors)
    build.has_shape(rows, ["N", channels])  # ONNX infers none
    shape = build.constant(np.array([-1, length, channels], np.int64))
    return build.finish(build.add("Reshape", rows, shape))


class _Builder:
    """Nodes and constants of a graph; the last step makes outputs of a (B, W, C) reconstruction."""

    def __init__(self, length: int, channels: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._shape = (length, channels)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._infos: list[onnx.ValueInfoProto] = []
        self.add("Mul", "window", self.constant(np.array(0.1, np.float32)), output="scaled")

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: object) -> str:
        name = output or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def has_shape(self, value: str, shape: list[str | int]) -> None:
        self._infos.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, shape))

    def dense(self, value: str, size: int, width: int) -> str:
        weights = self.rng.normal(0, 1 / np.sqrt(size), (size, width)).astype(np.float32)
        bias = self.constant(np.zeros(width, np.float32))
        return self.add("Gemm", value, self.constant(weights), bias)

    def _opsets(self) -> list[onnx.OperatorSetIdProto]:
        domains = {node.domain for node in self._nodes} | {""}
        return [helper.make_opsetid(domain, 3 if domain else 17) for domain in sorted(domains)]

    def finish(self, rebuilt: str) -> onnx.ModelProto:
        length, channels = self._shape
        error = self.add("Sub", rebuilt, "scaled")
        square = self.add("Mul", error, error)
        mean = self.constant(np.full((1, 1, length), 1 / length, np.float32))
        row = self.add("MatMul", mean, square)
        flat = self.constant(np.array([-1, channels], np.int64))
        self.add("Reshape", row, flat, output="contribution")
        ones = self.constant(np.ones((channels, 1), np.float32))
        column = self.add("MatMul", "contribution", ones)
        self.add("Reshape", column, self.constant(np.array([-1], np.int64)), output="score")
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self._nodes,
            "network",
            [info("window", TensorProto.FLOAT, ["B", length, channels])],
            [
                info("score", TensorProto.FLOAT, ["B"]),
                info("contribution", TensorProto.FLOAT, ["B", channels]),
            ],
            self._constants,
            value_info=self._infos,
        )
        model = helper.make_model(graph, opset_imports=self._opsets(), ir_version=8)
        onnx.checker.check_model(model)
        return model


def add_endless_loop(model: onnx.ModelProto) -> None:
    """Count to 2^60 before the score is given."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Mul", ["value", "one"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, ["B"]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["B"]),
        ],
        [numpy_helper.from_array(np.array(1.0, np.float32), "one")],
    )
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(2**60, np.int64), "times"),
            numpy_helper.from_array(np.array(True), "true"),
        ]
    )
    model.graph.node[-1].output[0] = "raw_score"
    model.graph.node.append(
        helper.make_node("Loop", ["times", "true", "raw_score"], ["score"], body=body)
    )


def forest() -> onnx.ModelProto:
    """An isolation forest as scikit-learn's converter leaves it: its score falls with a fault.

    One tree on the first signal: the window's value is the path; 0.1 is healthy, -0.2 is not.
    """
    tree = helper.make_node(
        "TreeEnsembleRegressor", ["flat"], ["scores"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_values=[8.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0],
        target_weights=[0.1, -0.2],
    )  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["window", "shape"], ["flat"]),
            tree,
            helper.make_node("Reshape", ["scores", "line"], ["score"]),
        ],
        "forest",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", 1, 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"])],
        [
            numpy_helper.from_array(np.array([-1, 2], np.int64), "shape"),
            numpy_helper.from_array(np.array([-1], np.int64), "line"),
        ],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)
