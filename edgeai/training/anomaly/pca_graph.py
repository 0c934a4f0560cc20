"""The ONNX graph of a PCA monitor; for formulas and sources see `pca.pca_outputs`."""

import numpy as np
import onnx

from edgeai.training.anomaly.pca import PcaModel
from edgeai.training.graph_builder import GraphBuilder, channel_sums


def pca_graph(model: PcaModel) -> onnx.ModelProto:
    """Build the graph: `window` (B, W, C) to `score`, `contribution`, `t2` and `q`.

    Args:
        model: The parameters, fitted by `fit_pca` or computed elsewhere.

    Raises:
        ValueError: Shapes do not match, or `median` is used with an even window length.
        ModelError: The graph is not valid ONNX.
    """
    _check(model)
    channels, components = len(model.mean), model.components
    graph = GraphBuilder(model.length, channels)
    z = graph.standardise(model.mean, model.scale, "standardised")
    z = graph.reshape(z, "flat", [-1, channels * (1 if model.median else model.length)])
    if model.features is not None:
        z = graph.node("MatMul", [z, graph.constant("features", model.features)], "vector")
    t = graph.node("MatMul", [z, graph.constant("components", components)], "t")
    whiten = graph.constant("whiten", (components / np.sqrt(model.variances)).T)
    back = graph.constant("components_transposed", components.T)
    whitened = graph.node("MatMul", [t, whiten], "whitened")
    residual = graph.node("Sub", [z, graph.node("MatMul", [t, back], "explained")], "residual")
    if not model.median:
        graph.constant("channel_sums", channel_sums(len(components) // channels, channels))
    shares = {}
    for name, root in (("t2", whitened), ("q", residual)):
        squares = graph.node("Mul", [root, root], f"{name}_squares")
        reduce = _median_sample if model.median else _sum_of_features
        share = reduce(graph, squares, name)
        limit = model.t2_limit if name == "t2" else model.q_limit
        factor = graph.constant(f"{name}_factor", 1.0 / limit)
        shares[name] = graph.node("Mul", [share, factor], f"{name}_relative")  # (B, C)
    _score(graph, model, shares["t2"], shares["q"])
    for output, shape in (("score", ()), ("contribution", (channels,)), ("t2", ()), ("q", ())):
        graph.output(output, *shape)
    return graph.build("pca")


def _check(model: PcaModel) -> None:
    channels, vector = len(model.mean), len(model.components)
    expected = channels * (1 if model.median else model.length)
    if model.features is not None:
        inputs, expected_features = model.features.shape
        if inputs != expected or expected_features % channels or model.median:
            msg = f"expected features of shape ({expected}, a multiple of {channels}), no median"
            raise ValueError(msg)
        expected = expected_features
    if model.scale.shape != (channels,) or vector != expected:
        msg = f"expected scale ({channels},) and {expected} rows of components, got {vector}"
        raise ValueError(msg)
    if model.variances.shape != model.components.shape[1:] or not (model.variances > 0).all():
        msg = f"expected {model.components.shape[1]} positive variances"
        raise ValueError(msg)
    if model.median and model.length % 2 == 0:
        msg = f"the median of a window needs an odd length, got {model.length}"
        raise ValueError(msg)


def _sum_of_features(graph: GraphBuilder, squares: str, name: str) -> str:
    """Sum (B, D) to the shares (B, C), and to the statistic (B,), named `name`."""
    share = graph.node("MatMul", [squares, "channel_sums"], f"{name}_share")
    graph.row_sums(share, graph.channels, name)
    return share


def _median_sample(graph: GraphBuilder, squares: str, name: str) -> str:
    """Select from (B*W, C) the sample with the median statistic of each window, (B, C)."""
    length, channels = graph.length, graph.channels
    each = graph.reshape(
        graph.row_sums(squares, channels, f"{name}_each"), f"{name}_rows", [-1, length]
    )
    half = (length + 1) // 2  # the median is the smallest of the `half` largest values
    count = graph.constant(f"{name}_half", [half], np.int64)
    graph.nodes("TopK", [each, count], [f"{name}_largest", f"{name}_where"], axis=1)
    ends = [
        graph.constant(f"{name}_{end}", [at], np.int64)
        for end, at in (("from", half - 1), ("to", half), ("axis", 1))
    ]
    median = graph.node("Slice", [f"{name}_largest", *ends], f"{name}_median")
    graph.reshape(median, name, [-1])
    where = graph.node("Slice", [f"{name}_where", *ends], f"{name}_median_where")  # (B, 1)
    by_sample = graph.reshape(squares, f"{name}_by_sample", [-1, length, channels])
    return graph.node("GatherND", [by_sample, where], f"{name}_share", batch_dims=1)


def _score(graph: GraphBuilder, model: PcaModel, t2: str, q: str) -> None:
    if model.statistic == "combined":
        graph.node("Add", [t2, q], "contribution")
    elif model.statistic == "max":
        sums = [
            graph.reshape(
                graph.row_sums(part, graph.channels, f"{name}_total"), f"{name}_score", [-1, 1]
            )
            for name, part in (("t2", t2), ("q", q))
        ]
        first = graph.node("GreaterOrEqual", sums, "t2_is_larger")
        graph.node("Where", [first, t2, q], "contribution")
    else:
        graph.node("Identity", [t2 if model.statistic == "t2" else q], "contribution")
    graph.row_sums("contribution", graph.channels, "score")
