"""The ONNX graph of a dense autoencoder; for the formulas see `autoencoder`."""

import onnx

from edgeai.training.anomaly.autoencoder import AutoencoderModel
from edgeai.training.graph_builder import GraphBuilder, channel_sums


def autoencoder_graph(model: AutoencoderModel) -> onnx.ModelProto:
    """Build the graph: `window` (B, W, C) to `score` (B,) and `contribution` (B, C).

    Raises:
        ValueError: The first input or last output size is not W*C.
        ModelError: The graph is not valid ONNX.
    """
    channels = len(model.mean)
    size = model.length * channels
    ends = (model.layers[0][0].shape[0], model.layers[-1][0].shape[1])
    if ends != (size, size):
        msg = f"expected layers from {size} to {size}, got {ends}"
        raise ValueError(msg)
    graph = GraphBuilder(model.length, channels)
    z = graph.reshape(graph.standardise(model.mean, model.scale, "standardised"), "z", [-1, size])
    values = z
    for index, (weight, bias) in enumerate(model.layers):
        constants = [
            graph.constant(f"weight_{index}", weight),
            graph.constant(f"bias_{index}", bias),
        ]
        values = graph.node("Gemm", [values, *constants], f"layer_{index}")
        if index < len(model.layers) - 1:
            values = graph.node("Tanh", [values], f"tanh_{index}")
    residual = graph.node("Sub", [z, values], "residual")
    squares = graph.node("Mul", [residual, residual], "squares")
    sums = graph.constant(
        "channel_sums", channel_sums(model.length, channels, model.channel_weights)
    )
    graph.node("MatMul", [squares, sums], "contribution")  # (B, C)
    graph.row_sums("contribution", channels, "score")
    graph.output("score")
    graph.output("contribution", channels)
    return graph.build("autoencoder")
