"""The child process that reads the graph of a model and prints facts about it as JSON.

    python -P -m edgeai.model.graph_facts MODEL.onnx LENGTHxCHANNELS[+CONTEXT] [control-flow]

The parent process (`edgeai.model.inspection`) applies the rules. A bad model file may crash the
child, which does not harm the parent. It imports little, because one child starts for each graph.
"""

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from edgeai.errors import one_line

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
CONTROL_FLOW = frozenset({"Loop", "Scan", "If"})
INPUT_NAME = "window"
CONTEXT_NAME = "context"
RANDOM = frozenset(
    {
        "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
        "RandomUniformLike",
    }
)  # fmt: skip
"""Operators that give another result at each call, also with a seed."""
ORT_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
CPP_PLACE = re.compile(r"/onnxruntime_src/\S+:\d+ [^)]*\)(?: const)? ")
NEW_OPSET = re.compile(r"Opset (\d+) is under development.*till opset (\d+)", re.DOTALL)
MEMORY_LIMIT_BYTES = 6 * 1024**3


def graph_facts(data: bytes) -> dict[str, Any]:
    """Return the facts about a serialised ONNX model that the rules need."""
    import onnx

    if not data:
        return {"error": "is not a valid ONNX model: the file is empty"}
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # noqa: BLE001  protobuf raises many kinds; all mean refused
        return {"error": f"is not a valid ONNX model: {one_line(error)}"}
    if not model.graph.node:
        return {"error": "is not a valid ONNX model: it holds no graph"}
    operators: set[str] = set()
    domains: set[str] = set()
    external: list[str] = []
    for graph in _graphs(model.graph):
        tensors = list(graph.initializer)
        for sparse in graph.sparse_initializer:
            tensors += [sparse.values, sparse.indices]
        for node in graph.node:
            operators.add(node.op_type)
            domains.add(node.domain)
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors]
        external += [
            next((entry.value for entry in tensor.external_data if entry.key == "location"), "?")
            for tensor in tensors
            if tensor.external_data or tensor.data_location == tensor.EXTERNAL
        ]

    def described(values: Any) -> list[Any]:
        found = []
        for value in values:
            tensor = value.type.tensor_type
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
            if not value.type.HasField("tensor_type"):  # such as a sequence of maps
                kind = value.type.WhichOneof("value") or "undefined"
            dims = [
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
                for dim in tensor.shape.dim
            ]
            found.append([value.name, {"FLOAT": "float32"}.get(kind, kind.lower()), dims])
        return found

    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        "domains": {item.domain: item.version for item in model.opset_import},
        "used_domains": sorted(domains),
        "ir_version": model.ir_version,
        "operators": sorted(operators),
        "functions": [function.name for function in model.functions],
        "external_data": sorted(set(external)),
        "random": _random_nodes(model),
        "inputs": described(value for value in model.graph.input if value.name not in constants),
        "outputs": described(model.graph.output),
        "fault": _fault(model),
        "run_shapes": None,
    }


def _graphs(graph: Any) -> list[Any]:
    """Return a graph and all graphs inside its nodes: branches and bodies of loops."""
    found, waiting = [], [graph]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for node in one.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)
    return found


def _random_nodes(model: Any) -> list[list[Any]]:
    """Return the nodes whose result is another one at each call.

    Returns:
        A description of each node, and the names of the graph's outputs that depend on it.
    """
    opset = max(
        [0, *[item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}]]
    )
    constants = _constants(model)
    users: dict[str, list[Any]] = {}
    for node in model.graph.node:
        read = {name for graph in _inside(node) for inner in graph.node for name in inner.input}
        for name in {*node.input, *read}:
            users.setdefault(name, []).append(node)
    outputs = {output.name for output in model.graph.output}
    found = []
    for node in model.graph.node:
        inner = [one for graph in _inside(node) for one in graph.node]
        reasons = [why for one in (node, *inner) if (why := _is_random(one, opset, constants))]
        if reasons:
            reached = _reached_from(node, users) & outputs
            found.append([f"{reasons[0]} (node `{node.name or node.output[0]}`)", sorted(reached)])
    return found


def _inside(node: Any) -> list[Any]:
    """Return the graphs inside a node."""
    held = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    held += [graph for attribute in node.attribute for graph in attribute.graphs]
    return [graph for one in held for graph in _graphs(one)]


def _constants(model: Any) -> dict[str, Any]:
    """Return the scalar constants of a model by name, as Python values."""
    from onnx import numpy_helper

    tensors: dict[str, Any] = {}
    for graph in _graphs(model.graph):
        tensors |= {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
    small = {name: one for name, one in tensors.items() if not one.external_data}
    return {
        name: numpy_helper.to_array(tensor).item()
        for name, tensor in small.items()
        if list(tensor.dims) in ([], [1])
    }


def _is_random(node: Any, opset: int, constants: dict[str, Any]) -> str:
    """Return why a node is random, or an empty text."""
    if node.op_type in RANDOM:
        return str(node.op_type)
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        trained = constants.get(node.input[2], True)
        return "Dropout in training mode" if trained else ""
    if node.op_type == "BatchNormalization":
        mode = {one.name: one.i for one in node.attribute}.get("training_mode", 0)
        old = opset < 14 and sum(map(bool, node.output)) > 1  # more outputs meant training mode
        return "BatchNormalization in training mode" if mode or old else ""
    return ""


def _reached_from(node: Any, users: dict[str, list[Any]]) -> set[str]:
    """Return the names of all values that depend on a node."""
    reached: set[str] = set()
    waiting = [node]
    while waiting:
        for name in waiting.pop().output:
            if name not in reached:
                reached.add(name)
                waiting += users.get(name, [])
    return reached


def _fault(model: Any) -> str | None:
    """Return the complaint of onnx's own checker, or None.

    A model newer than the checker is left to ONNX Runtime, which may know it.
    """
    import onnx

    newest = max([0, *[item.version for item in model.opset_import if not item.domain]])
    if newest > onnx.defs.onnx_opset_version() or model.ir_version > onnx.IR_VERSION:
        return None
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # noqa: BLE001  onnx raises many kinds; all mean refused
        return f"is not a valid ONNX model: {one_line(error)}"
    return None


def _run_once(data: bytes, facts: dict[str, Any], shape: str) -> None:
    """Create a session and run two windows of zeros, so that a harmful model fails here."""
    import numpy as np
    import onnxruntime

    window_shape, _, context = shape.partition("+")
    shapes = {INPUT_NAME: [int(part) for part in window_shape.split("x")]}
    if context:
        shapes[CONTEXT_NAME] = [int(context)]
    inputs = {name: (kind, dims[1:]) for name, kind, dims in facts["inputs"]}
    if inputs != {name: ("float32", dims) for name, dims in shapes.items()}:
        return  # the parent will refuse it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        names = [one.name for one in session.get_outputs() if one.type.startswith("tensor(")]
        feed = {name: np.zeros((2, *dims), np.float32) for name, dims in shapes.items()}
        arrays = session.run(names, feed)
    except Exception as error:  # noqa: BLE001  every ORT error means the model does not run here
        facts["fault"] = f"does not run in ONNX Runtime: {one_line(_reason_of(error))}"
        return
    facts["run_shapes"] = {
        name: list(array.shape) for name, array in zip(names, arrays, strict=True)
    }


def _reason_of(error: Exception) -> str:
    """Return an error of ONNX Runtime without its code and the C++ function that raised it."""
    text = CPP_PLACE.sub("", ORT_CODE.sub("", str(error)))
    opsets = NEW_OPSET.search(text)
    if opsets is not None:
        return f"the model has opset {opsets[1]}, but this ONNX Runtime takes up to {opsets[2]}"
    return text


def _may_run(facts: dict[str, Any], *, control_flow: bool) -> bool:
    """Whether the graph may be run: it has nothing that the rules refuse."""
    return (
        not facts["fault"]
        and not facts["external_data"]
        and not facts["functions"]
        and set(facts["used_domains"]) <= ALLOWED_DOMAINS
        and (control_flow or not CONTROL_FLOW & set(facts["operators"]))
    )


def _child(path: str, shape: str, *, control_flow: bool) -> None:
    import resource

    with contextlib.suppress(OSError):  # if memory runs out, Linux ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    data = Path(path).read_bytes()
    facts = graph_facts(data)
    if "error" not in facts and _may_run(facts, control_flow=control_flow):
        _run_once(data, facts, shape)
    sys.stdout.write(json.dumps(facts))


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2], control_flow="control-flow" in sys.argv[3:])
