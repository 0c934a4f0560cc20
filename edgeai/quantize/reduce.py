"""Reduce the precision of a graph: chosen layers in fp16 or int8, everything else in float32.

Inputs and outputs stay float32. So do the start of a graph (fp16 cannot represent tenths of
1450.3 degC) and its end (sums of squares overflow fp16), because they contain no layers.
"""

import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
"""Operators that can be reduced; one of their inputs must be a float constant."""
ACTIVATIONS = frozenset({"Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Selu", "Softplus"})
"""Operators that are computed in fp16 if their input is, which saves two casts."""

Windows = npt.NDArray[np.float32]
Inputs = Sequence[dict[str, Windows]]
"""Batches of a graph's inputs, by name."""
Reduce = Callable[[onnx.ModelProto, Collection[str], Inputs], onnx.ModelProto]


def prepare(data: bytes) -> onnx.ModelProto:
    """Parse a graph, name every node, and convert Constant nodes to initialisers."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    kept = []
    for node in graph.node:
        value = next((item for item in node.attribute if item.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value.t)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        else:
            kept.append(node)
    names = set[str]()
    for index, node in enumerate(kept):
        if not node.name or node.name in names:
            node.name = f"{node.op_type}_{index}"
        names.add(node.name)
    _replace_nodes(graph, kept)
    return model


def layers(model: onnx.ModelProto) -> dict[str, int]:
    """Return the layers of a prepared graph that can be reduced, with their numbers of weights."""
    sizes = {
        tensor.name: int(np.prod(tensor.dims, dtype=np.int64))
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }
    found = {}
    for node in model.graph.node:
        weights = sum(sizes.get(name, 0) for name in node.input)
        if node.op_type in LAYERS and weights:
            found[node.name] = weights
    return found


def count_weights(model: onnx.ModelProto) -> int:
    """Return the number of float constants of a prepared graph, also of those in no layer."""
    return sum(
        int(np.prod(tensor.dims, dtype=np.int64))
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    )


def to_fp16(model: onnx.ModelProto, chosen: Collection[str], _inputs: Inputs) -> onnx.ModelProto:
    """Convert the chosen layers and the activations after them to half precision.

    Args:
        model: A prepared graph; it is not changed.
        chosen: Names of layers.
    """
    return _convert_to_half(model, chosen, is_emulated=False)


def emulate_fp16(
    model: onnx.ModelProto, chosen: Collection[str], _inputs: Inputs
) -> onnx.ModelProto:
    """Emulate `to_fp16` on a device with half precision, with float32 operators and rounding.

    ONNX Runtime's CPU provider has no half precision. It computes such layers in float32 and
    removes the casts between them, so its result does not show a device's error. Products are
    summed in float32, as tensor units do.
    """
    return _convert_to_half(model, chosen, is_emulated=True)


def to_int8(model: onnx.ModelProto, chosen: Collection[str], inputs: Inputs) -> onnx.ModelProto:
    """Quantise the chosen layers, with QuantizeLinear and DequantizeLinear around them (QDQ).

    Weights are int8 per output channel. Activations are int8 over their range on the calibration
    inputs (onnxruntime.quantization, MinMax).

    Args:
        model: A prepared graph; it is not changed.
        chosen: Names of layers.
        inputs: The calibration inputs.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self._batches = iter(inputs)

        def get_next(self) -> dict[str, Windows] | None:
            return next(self._batches, None)

    source = onnx.ModelProto()  # a copy, because the quantiser changes its input
    source.CopyFrom(model)
    with tempfile.TemporaryDirectory() as folder, _log_errors_only():
        path = Path(folder) / "reduced.onnx"
        quantize_static(
            source,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=sorted(chosen),
        )
        reduced = onnx.load(path)
    return _clean(reduced)


REDUCE: dict[str, Reduce] = {"fp16": to_fp16, "int8": to_int8}
"""Functions that create a variant."""
EMULATE: dict[str, Reduce] = {"fp16": emulate_fp16, "int8": to_int8}
"""Functions that create a graph with a device's rounding for the CPU."""


def serialise(model: onnx.ModelProto) -> bytes:
    """Return the graph as bytes; the same graph gives the same bytes."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _convert_to_half(
    model: onnx.ModelProto, chosen: Collection[str], *, is_emulated: bool
) -> onnx.ModelProto:
    reduced = onnx.ModelProto()
    reduced.CopyFrom(model)
    graph = reduced.graph
    members = _members(graph, chosen)
    _replace_nodes(graph, list(_half_nodes(graph, members, is_emulated=is_emulated)))
    return _clean(reduced)


def _members(graph: onnx.GraphProto, chosen: Collection[str]) -> set[str]:
    """Return the chosen layers and the activations whose input is one of them."""
    members = set(chosen)
    made_by = {output: node.name for node in graph.node for output in node.output}
    for node in graph.node:  # ONNX requires topological order
        if node.op_type in ACTIVATIONS and made_by.get(node.input[0]) in members:
            members.add(node.name)
    return members


def _half_nodes(
    graph: onnx.GraphProto, members: set[str], *, is_emulated: bool
) -> Iterator[onnx.NodeProto]:
    """Yield the nodes, with members in half precision and casts between the precisions.

    In emulation, a half precision tensor is a float32 tensor with rounded values.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    inside = {out for node in graph.node if node.name in members for out in node.output}
    outside = {name for node in graph.node if node.name not in members for name in node.input}
    outside |= {output.name for output in graph.output}
    halved: set[str] = set()
    for node in graph.node:
        if node.name not in members:
            yield node
            continue
        for name in node.input:
            if not name or name in inside or name in halved:
                continue
            halved.add(name)
            if name in weights:
                graph.initializer.append(_half(weights[name], is_emulated=is_emulated))
            else:
                yield from _to_half(name, _half_name(name), is_emulated=is_emulated)
        half = onnx.NodeProto()
        half.CopyFrom(node)
        del half.input[:], half.output[:]
        half.input.extend(_half_name(name) if name else "" for name in node.input)
        ending = "_exact" if is_emulated else ""
        half.output.extend(f"{_half_name(name)}{ending}" for name in node.output)
        yield half
        if is_emulated:
            for name in node.output:
                exact = f"{_half_name(name)}{ending}"
                yield from _to_half(exact, _half_name(name), is_emulated=True)
        for name in node.output:
            if name in outside:
                yield _cast(_half_name(name), name, TensorProto.FLOAT)


def _half(tensor: onnx.TensorProto, *, is_emulated: bool) -> onnx.TensorProto:
    with np.errstate(over="ignore"):  # the comparison that follows rejects an infinite weight
        values = numpy_helper.to_array(tensor).astype(np.float16)
    held = values.astype(np.float32) if is_emulated else values
    return numpy_helper.from_array(held, _half_name(tensor.name))


def _to_half(source: str, target: str, *, is_emulated: bool) -> Iterator[onnx.NodeProto]:
    if is_emulated:
        yield _cast(source, f"{target}_rounded", TensorProto.FLOAT16)
        yield _cast(f"{target}_rounded", target, TensorProto.FLOAT)
    else:
        yield _cast(source, target, TensorProto.FLOAT16)


def _half_name(name: str) -> str:
    return f"{name}_fp16"


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=kind)


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)


def _clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove unused weights, shapes, domains and tool metadata."""
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    weights = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    del graph.value_info[:], model.metadata_props[:]
    domains = {node.domain for node in graph.node} | {""}
    imports = [(item.domain, item.version) for item in model.opset_import if item.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*item) for item in imports)
    model.producer_name, model.producer_version = "edgeai", ""
    return model


@contextmanager
def _log_errors_only() -> Iterator[None]:
    """Suppress the advice that onnxruntime.quantization logs to the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
