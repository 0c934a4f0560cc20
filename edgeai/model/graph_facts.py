"""The child process that reads the graph of a model and prints facts about it as JSON.

    python -P -m edgeai.model.graph_facts MODEL.onnx LENGTHxCHANNELS [control-flow]

The parent process (`edgeai.model.inspection`) applies the rules. A bad model file may crash the
child, which does not harm the parent. It imports little, because one child starts for each graph.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from edgeai.errors import one_line

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
CONTROL_FLOW = frozenset({"Loop", "Scan", "If"})
INPUT_NAME = "window"
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
    external: list[str] = []
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        tensors = list(graph.initializer)
        for sparse in graph.sparse_initializer:
            tensors += [sparse.values, sparse.indices]
        for node in graph.node:
            operators.add(node.op_type)
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors]
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
                graphs.extend(attribute.graphs)
        external += [t.name for t in tensors if t.external_data or t.data_location == t.EXTERNAL]

    def described(values: Any) -> list[Any]:
        found = []
        for value in values:
            tensor = value.type.tensor_type
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
            dims = [
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
                for dim in tensor.shape.dim
            ]
            found.append([value.name, {"FLOAT": "float32"}.get(kind, kind.lower()), dims])
        return found

    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        "domains": {item.domain: item.version for item in model.opset_import},
        "ir_version": model.ir_version,
        "operators": sorted(operators),
        "functions": [function.name for function in model.functions],
        "external_data": external,
        "inputs": described(value for value in model.graph.input if value.name not in constants),
        "outputs": described(model.graph.output),
        "fault": _fault(model),
        "run_shapes": None,
    }


def _fault(model: Any) -> str | None:
    """Return the complaint of onnx's own checker, or None."""
    import onnx

    try:
        onnx.checker.check_model(model)
    except Exception as error:  # noqa: BLE001  onnx raises many kinds; all mean refused
        return f"is not a valid ONNX model: {one_line(error)}"
    return None


def _run_once(data: bytes, facts: dict[str, Any], shape: str) -> None:
    """Create a session and run two windows of zeros, so that a harmful model fails here."""
    import numpy as np
    import onnxruntime

    window = [int(part) for part in shape.split("x")]
    inputs = [(name, kind, dims[1:]) for name, kind, dims in facts["inputs"]]
    if inputs != [(INPUT_NAME, "float32", window)]:
        return  # the parent will refuse it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        names = [output.name for output in session.get_outputs()]
        arrays = session.run(names, {INPUT_NAME: np.zeros((2, *window), np.float32)})
    except Exception as error:  # noqa: BLE001  every ORT error means the model does not run here
        facts["fault"] = f"does not run in ONNX Runtime: {one_line(error)}"
        return
    facts["run_shapes"] = {
        name: list(array.shape) for name, array in zip(names, arrays, strict=True)
    }


def _may_run(facts: dict[str, Any], *, control_flow: bool) -> bool:
    """Whether the graph may be run: it has nothing that the rules refuse."""
    return (
        not facts["fault"]
        and not facts["external_data"]
        and not facts["functions"]
        and set(facts["domains"]) <= ALLOWED_DOMAINS
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
