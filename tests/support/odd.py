"""A model whose score can be infinite or no number, for finite inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.packages import write_package

NORMAL, INFINITE, MINUS, NOT_A_NUMBER, MILD = (0, 0), (0, 1000), (-100, 0), (-200, 0), (0, 5)
"""Values of a and b for which the score is 5.6, +infinity, -infinity, NaN, and 153."""


def odd_graph() -> onnx.ModelProto:
    """Score = log(a + 100) + exp(b) of a window of one sample; advice = a."""
    constants = [
        numpy_helper.from_array(np.array([100.0, 0.0], np.float32), "shift"),
        numpy_helper.from_array(np.array([-1], np.int64), "line"),
        numpy_helper.from_array(np.array([[1.0], [0.0]], np.float32), "first"),
        numpy_helper.from_array(np.array([[0.0], [1.0]], np.float32), "second"),
    ]
    nodes = [
        helper.make_node("Add", ["window", "shift"], ["shifted"]),
        helper.make_node("MatMul", ["shifted", "first"], ["a"]),
        helper.make_node("MatMul", ["shifted", "second"], ["b"]),
        helper.make_node("Log", ["a"], ["log"]),
        helper.make_node("Exp", ["b"], ["exp"]),
        helper.make_node("Add", ["log", "exp"], ["sum"]),
        helper.make_node("Reshape", ["sum", "line"], ["score"]),
        helper.make_node("Reshape", ["a", "line"], ["flow"]),
    ]
    graph = helper.make_graph(
        nodes, "odd",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", 1, 2])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B"]) for n in ("score", "flow")],
        constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


OUTPUTS = {
    "outputs": [
        {"name": "score", "unit": "1", "meaning": "oddness", "role": "score"},
        {"name": "flow", "unit": "l/min", "meaning": "set the flow to this", "role": "advice"},
    ]
}


def write_odd_package(folder: Path) -> Path:
    """Write the package; its threshold is 20."""
    return write_package(
        folder, model=odd_graph(), length=1, threshold=20.0, manifest_changes=OUTPUTS
    )
