"""Build ONNX graphs node by node.

Every sum over an axis is a MatMul with a constant matrix. ONNX Runtime's ReduceSum over a short
last axis is not batch invariant: the last bits of a row depend on its position in the batch, so a
live prediction would differ from the replayed one (docs/performance.md, "Batch invariance").
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeai.errors import ModelError

OPSET = 17
IR_VERSION = 8  # the version released with opset 17 (ONNX 1.12), so the oldest runtimes accept it

Array = npt.NDArray[Any]


class GraphBuilder:
    """Collects the nodes and constants of one graph with the input `window` (B, W, C).

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
        """Add a constant, float32 by default, and return its name."""
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
        """Reshape; -1 in `shape` means the remaining size, here the batch."""
        return self.node(
            "Reshape", [source, self.constant(f"{output}_shape", shape, np.int64)], output
        )

    def standardise(self, mean: Array, scale: Array, output: str) -> str:
        """Compute (window - mean) * scale; the mean is subtracted first, to keep float32 digits.

        Args:
            mean: (C,), engineering units.
            scale: (C,), 1 / standard deviation; 0 excludes a channel.
            output: Name of the result, (B, W, C).
        """
        centred = self.node("Sub", ["window", self.constant("mean", mean)], "centred")
        return self.node("Mul", [centred, self.constant("scale", scale)], output)

    def row_sums(self, source: str, columns: int, output: str) -> str:
        """Sum each row of a (B, columns) tensor; the result is (B,)."""
        ones = self.constant(f"{output}_ones", np.ones((columns, 1)))
        return self.reshape(self.node("MatMul", [source, ones], f"{output}_column"), output, [-1])

    def output(self, name: str, *shape: int) -> None:
        """Declare an output of shape (B, *shape)."""
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", *shape])
        self._outputs.append(info)

    def build(self, name: str) -> onnx.ModelProto:
        """Check the graph and return the model.

        Raises:
            ModelError: The graph is not valid ONNX.
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
    """Return the matrix (W*C, C) float64 that sums a flattened window over time, per channel.

    Args:
        length: Samples W.
        channels: Channels C.
        weights: Weight of each channel, (C,) or one number.
    """
    sums: Array = np.tile(
        np.diag(np.broadcast_to(np.asarray(weights, float), channels)), (length, 1)
    )
    return sums
