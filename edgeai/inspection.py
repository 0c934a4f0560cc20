"""Read a model's graph in a child process with limits on memory and time, and judge what it says.

A model file is input from outside: a parser may crash on it, a graph may ask for all memory. What
the child prints is facts only; the rules are applied here. The verdict is cached by the file's hash
and the versions of onnx and ONNX Runtime, so that a restart does not pay again.

    python -m edgeai.inspection MODEL.onnx SHAPE    the child: prints facts as JSON
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgeai.errors import ModelError
from edgeai.package import ALLOWED_DOMAINS, CONTROL_FLOW, MAX_OPSET, Manifest, Package

MEMORY_LIMIT_BYTES = 6 * 1024**3
TIME_LIMIT_SECONDS = 60
MAX_GRAPH_BYTES = 1024**3
FACTS_VERSION = 1
INPUT_NAME = "window"


def inspect_package(package: Package, state_folder: Path) -> None:
    """Refuse a package whose graph breaks a rule.

    Raises:
        ModelError: Names the file, the rule and the value.
    """
    facts = _cached_facts(package, state_folder)
    check_facts(facts, package.manifest, str(package.graph))


def check_facts(facts: dict[str, Any], manifest: Manifest, file: str) -> None:
    """Apply the rules to what the child found; ModelError names the first that is broken."""

    def refuse(rule: str, value: Any) -> None:
        raise ModelError(file, rule, value, has_value=True)

    if facts.get("error"):
        raise ModelError(file, facts["error"])
    if facts["external_data"]:
        refuse("must not refer to data in other files", facts["external_data"])
    foreign = sorted(set(facts["domains"]) - ALLOWED_DOMAINS)
    if foreign:
        refuse("must use standard operators only; foreign domain", foreign[0])
    if facts["functions"]:
        refuse("must not define functions of its own", facts["functions"][0])
    control = sorted(CONTROL_FLOW & set(facts["operators"]))
    if control and not manifest.onnx.control_flow:
        refuse("control flow needs onnx.control_flow: true in the manifest; operator", control[0])
    opset = facts["domains"].get("", facts["domains"].get("ai.onnx", 0))
    if opset != manifest.onnx.opset or opset > MAX_OPSET:
        refuse(f"opset must be {manifest.onnx.opset}, as the manifest says", opset)
    shape = [manifest.window.length, len(manifest.signals)]
    inputs = facts["inputs"]
    if [name for name, _, _ in inputs] != [INPUT_NAME]:
        refuse(f"must have one input, `{INPUT_NAME}`", [name for name, _, _ in inputs])
    _, kind, dims = inputs[0]
    if kind != "float32" or len(dims) != 3 or isinstance(dims[0], int) or dims[1:] != shape:
        rule = f"input `{INPUT_NAME}` must be float32 of shape (B, {shape[0]}, {shape[1]}), B free"
        refuse(rule, f"{kind} {tuple(dims)}")
    names = {name for name, _, _ in facts["outputs"]}
    missing = [output.name for output in manifest.outputs if output.name not in names]
    if missing:
        refuse(f"has no output `{missing[0]}`, which the manifest names; outputs", sorted(names))
    _check_run_shapes(facts, manifest, refuse)


def _check_run_shapes(
    facts: dict[str, Any], manifest: Manifest, refuse: Callable[[str, Any], None]
) -> None:
    """Hold the shapes that two windows gave against the roles of the outputs."""
    if facts["run_shapes"] is None:
        return
    wanted = {"score": [2], "contribution": [2, len(manifest.signals)]}
    for output in manifest.outputs:
        actual = facts["run_shapes"][output.name]
        if actual[:1] != [2] or actual != wanted.get(output.role, actual):
            rule = f"output `{output.name}` must have one row a window; for 2 windows, shape"
            refuse(rule, tuple(actual))


def _cached_facts(package: Package, state_folder: Path) -> dict[str, Any]:
    manifest = package.manifest
    shape = f"{manifest.window.length}x{len(manifest.signals)}"
    versions = f"{version('onnx')}-{version('onnxruntime')}-{FACTS_VERSION}"
    cache = state_folder / "inspection" / f"{package.graph_hash}-{shape}-{versions}.json"
    with contextlib.suppress(OSError, ValueError):
        facts = json.loads(cache.read_text(encoding="utf-8"))
        if isinstance(facts, dict):
            return facts
    facts = _facts_from_child(package.graph, shape)
    # A cache that cannot be written (a read-only root) costs a second at the next start.
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=cache.parent, delete=False, encoding="utf-8"
        ) as file:
            json.dump(facts, file)
        Path(file.name).replace(cache)
    return facts


def _facts_from_child(graph: Path, shape: str) -> dict[str, Any]:
    """Run this module as a child and return the facts it prints."""
    if graph.stat().st_size > MAX_GRAPH_BYTES:
        rule = f"must not be larger than {MAX_GRAPH_BYTES} bytes"
        raise ModelError(str(graph), rule, graph.stat().st_size)
    environment = {k: v for k, v in os.environ.items() if k != "ORT_LOAD_CONFIG_FROM_MODEL"}
    command = [sys.executable, "-m", "edgeai.inspection", str(graph), shape]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=TIME_LIMIT_SECONDS,
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(str(graph), f"could not be read within {TIME_LIMIT_SECONDS} s") from error
    try:
        facts: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        rule = f"could not be read: the reader ended with {done.returncode}"
        raise ModelError(str(graph), rule, last[0] if last else None) from error
    return facts


# ------------------------------------------------------------------------------------ in the child


def graph_facts(data: bytes) -> dict[str, Any]:
    """Return what the rules need to know of a serialised ONNX model."""
    import onnx

    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except Exception as error:  # noqa: BLE001  protobuf and onnx raise many kinds; all mean refused
        return {"error": f"is not a valid ONNX model: {' '.join(str(error).split())[:200]}"}
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
        "run_shapes": None,
    }


def _run_once(data: bytes, facts: dict[str, Any], shape: str) -> None:
    """Create a session and run two windows of zeros, so that a bomb goes off here."""
    import numpy as np
    import onnxruntime

    length, channels = (int(part) for part in shape.split("x"))
    if [dims[1:] for _, _, dims in facts["inputs"]] != [[length, channels]]:
        return  # the rules will refuse it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        names = [output.name for output in session.get_outputs()]
        arrays = session.run(names, {INPUT_NAME: np.zeros((2, length, channels), np.float32)})
    except Exception as error:  # noqa: BLE001  every ORT error means the model does not run here
        facts["error"] = f"does not run in ONNX Runtime: {' '.join(str(error).split())[:200]}"
        return
    facts["run_shapes"] = {
        name: list(array.shape) for name, array in zip(names, arrays, strict=True)
    }


def _child(path: str, shape: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    data = Path(path).read_bytes()
    facts = graph_facts(data)
    allowed = not facts.get("error") and not facts["external_data"] and not facts["functions"]
    if allowed and set(facts["domains"]) <= ALLOWED_DOMAINS:
        _run_once(data, facts, shape)
    sys.stdout.write(json.dumps(facts))


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2])
