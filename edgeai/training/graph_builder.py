"""ONNX graphs built node by node: nothing is in the file that is not written here.

Every sum over an axis is a MatMul with a constant matrix. Measured on the CPU provider of ONNX
Runtime: ReduceSum over a short last axis gives the last row of an odd batch other last bits than
the same row elsewhere, so a live prediction would differ from a replayed one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeai.errors import ModelError

OPSET = 17
IR_VERSION = 8
"""What opset 17 came with (ONNX 1.12): the oldest runtime that can know the operators."""

Array = npt.NDArray[Any]


class GraphBuilder:
    """Collects the nodes and constants of one graph.

    Args:
        length: Samples W in a window.
        channels: Channels C of a sample.
    """

    def __init__(self, length: int, channels: int) -> None:
        self.length = length
        self.channels = channels
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def constant(self, name: str, values: npt.ArrayLike, dtype: Any = np.float32) -> str:
        """Add a constant, float32 unless told, and return its name."""
        array = np.ascontiguousarray(values, dtype)
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def nodes(self, operator: str, inputs: Sequence[str], outputs: list[str], **attrs: Any) -> None:
        """Add a node with several outputs."""
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **attrs))

    def reshape(self, source: str, output: str, shape: Sequence[int]) -> str:
        """Reshape; -1 stands for what is left, the batch."""
        return self.node(
            "Reshape", [source, self.constant(f"{output}_shape", shape, np.int64)], output
        )

    def standardise(self, mean: Array, scale: Array, output: str) -> str:
        """(window - mean) * scale. The mean goes first: float32 keeps the digits of a difference.

        Args:
            mean: (C,), engineering units.
            scale: (C,), 1 / standard deviation; 0 leaves a channel out.
            output: Name of the result, (B, W, C).
        """
        centred = self.node("Sub", ["window", self.constant("mean", mean)], "centred")
        return self.node("Mul", [centred, self.constant("scale", scale)], output)

    def row_sums(self, source: str, columns: int, output: str) -> str:
        """Sum of each row of a (B, columns) tensor, as (B,)."""
        ones = self.constant(f"{output}_ones", np.ones((columns, 1)))
        return self.reshape(self.node("MatMul", [source, ones], f"{output}_column"), output, [-1])

    def output(self, name: str, *shape: int) -> None:
        """Declare an output of shape (B, *shape)."""
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", *shape])
        self._outputs.append(info)

    def build(self, name: str) -> onnx.ModelProto:
        """Return the model, checked.

        Raises:
            ModelError: The graph breaks a rule of ONNX.
        """
        window = helper.make_tensor_value_info(
            "window", TensorProto.FLOAT, ["B", self.length, self.channels]
        )
        graph = helper.make_graph(self._nodes, name, [window], self._outputs, self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="edgeai",
        )
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelError(name, f"is not a valid ONNX graph: {error}") from error
        return model


def channel_sums(length: int, channels: int, weights: npt.ArrayLike = 1.0) -> Array:
    """Matrix (W*C, C) float64 that sums a flattened window over its samples, channel by channel.

    Args:
        length: Samples W.
        channels: Channels C.
        weights: (C,) or a number, the weight of each channel.
    """
    sums: Array = np.tile(
        np.diag(np.broadcast_to(np.asarray(weights, float), channels)), (length, 1)
    )
    return sums
