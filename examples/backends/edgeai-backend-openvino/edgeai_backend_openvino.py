"""Native OpenVINO as a compiled backend of edgeai: the worked example of docs/backends.md.

Loads an ONNX graph or an OpenVINO IR (compiled here), or an exported blob (compiled elsewhere).
Refuses another device or precision than requested, which OpenVINO may use without an error. Does
not import edgeai.

Options, all texts:
    precision   fp32 (default), fp16 or bf16: compared with the compiled model's own report;
                `device`: the device's default, which is bfloat16 on many CPUs.
    static      yes: one compiled model for each batch size, as NPUs need; no (default): one model.
    cache       folder in which OpenVINO stores compiled models.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino

HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
PRECISIONS = {hint: precision for precision, hint in HINTS.items()}
OPTIONS = {"precision", "static", "cache"}


def load(request: Any) -> "OpenVinoModel":
    """Load an artefact. This function is the entry point.

    Args:
        request: A LoadRequest of edgeai.providers.child.compiled.

    Raises:
        ValueError: An option is unknown, or the artefact does not fit the request.
        RuntimeError: OpenVINO refuses, or uses another device or precision than requested.
    """
    unknown = set(request.options) - OPTIONS
    if unknown:
        raise ValueError(f"unknown option {min(unknown)!r}; known: {', '.join(sorted(OPTIONS))}")
    device = _device(request.device)
    precision = request.options.get("precision", "fp32")
    if precision not in {*HINTS, "device"}:
        raise ValueError(f"precision must be one of {', '.join(HINTS)}, device: {precision!r}")
    if request.options.get("static", "no") not in {"yes", "no"}:
        raise ValueError("static must be yes or no")
    core = openvino.Core()
    present = core.available_devices
    if device not in present and f"{device}.0" not in present:  # AUTO, HETERO: not devices
        raise RuntimeError(f"OpenVINO finds no {device} here; it finds {', '.join(present)}")
    compiled = [
        _checked(model, device, precision, request)
        for model in _compile(core, request, device, _properties(request, device, precision))
    ]
    return OpenVinoModel(core, device, compiled)


class OpenVinoModel:
    """Compiled models of one graph: one for any batch size, or one for each static size."""

    def __init__(
        self,
        core: openvino.Core,
        device: str,
        compiled: Sequence[tuple[openvino.CompiledModel, list[int]]],
    ) -> None:
        """Create an inference request for each compiled model."""
        self._calls = {
            _batch_of(model): (model.create_infer_request(), order) for model, order in compiled
        }
        self.batch_sizes = tuple(sorted(size for size in self._calls if size))
        self._inputs: list[openvino.Tensor] = []
        self._description = _description(core, device, compiled[0][0])

    def run(self, windows: np.ndarray, *context: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of (B, W, C) float32; the next call overwrites them.

        A model with a second input gets `context` (B, K) too.
        """
        request, order = self._calls[len(windows) if self.batch_sizes else 0]
        given = (windows, *context)
        # Filling tensors is faster than `infer({0: windows})`, which creates one at each call.
        if [tuple(one.shape) for one in self._inputs] != [one.shape for one in given]:
            self._inputs = [
                openvino.Tensor(np.empty(one.shape, one.dtype), shared_memory=True) for one in given
            ]
        for index, (tensor, values) in enumerate(zip(self._inputs, given, strict=True)):
            tensor.data[:] = values
            request.set_input_tensor(index, tensor)
        request.infer()
        return [request.get_output_tensor(index).data for index in order]

    def describe(self) -> dict[str, str]:
        """Return what the compiled model and the device report."""
        return self._description

    def close(self) -> None:
        """Release the device."""
        self._calls = {}
        self._inputs = []


def _device(asked: Mapping[str, str]) -> str:
    kind = asked.get("type", "CPU").upper()
    index = asked.get("index", "0")
    return kind if index == "0" else f"{kind}.{index}"


def _properties(request: Any, device: str, precision: str) -> dict[str, str]:
    properties = {"PERFORMANCE_HINT": "LATENCY"}
    if precision != "device":
        properties["INFERENCE_PRECISION_HINT"] = HINTS[precision]
    if device == "CPU":
        properties |= {"INFERENCE_NUM_THREADS": str(request.threads), "NUM_STREAMS": "1"}
    if "cache" in request.options:
        properties["CACHE_DIR"] = request.options["cache"]
    return properties


def _compile(
    core: openvino.Core, request: Any, device: str, properties: dict[str, str]
) -> list[openvino.CompiledModel]:
    if request.artefact.suffix == ".blob":
        # It keeps the shapes of its export; `_checked` reads back its precision.
        return [core.import_model(request.artefact.read_bytes(), device, properties)]
    graph = core.read_model(Path(request.artefact))
    if request.options.get("static", "no") == "no":
        return [core.compile_model(graph, device, properties)]
    models = []
    for size in request.batch_sizes:
        graph.reshape({name: [size, *rest] for name, rest in _inputs_of(request).items()})
        models.append(core.compile_model(graph, device, properties))
    return models


def _checked(
    model: openvino.CompiledModel, device: str, precision: str, request: Any
) -> tuple[openvino.CompiledModel, list[int]]:
    """Check device, precision and shapes; return the model with the order of its outputs."""
    devices = [name.strip("()") for name in model.get_property("EXECUTION_DEVICES")]
    if devices not in ([device], [f"{device}.0"]):
        raise RuntimeError(f"OpenVINO runs it on {', '.join(devices)}, not on {device}")
    actual = _precision(model)
    if precision not in ("device", actual):
        raise RuntimeError(f"OpenVINO computes in {actual}, not in {precision}")
    shapes = [one.partial_shape for one in model.inputs]
    wanted = [openvino.PartialShape([-1, *rest]) for rest in _inputs_of(request).values()]
    if len(shapes) != len(wanted) or not all(map(openvino.PartialShape.compatible, shapes, wanted)):
        raise ValueError(f"the inputs must be {_listed(wanted)}: {_listed(shapes)}")
    names = [output.get_names() for output in model.outputs]
    order = []
    for wanted in request.outputs:
        where = [index for index, known in enumerate(names) if wanted in known]
        if not where:
            raise ValueError(f"has no output {wanted!r}: {sorted(set().union(*names))}")
        order.append(where[0])
    return model, order


def _inputs_of(request: Any) -> dict[str, list[int]]:
    """Return the shapes of the graph's inputs without the batch axis, by name, in their order."""
    found = {request.input_name: list(request.window)}
    if request.context:
        found["context"] = [request.context]
    return found


def _listed(shapes: Sequence[openvino.PartialShape]) -> str:
    return ", ".join(map(str, shapes))


def _batch_of(model: openvino.CompiledModel) -> int:
    """Return the static batch size, or 0 for any."""
    batch = model.input(0).partial_shape[0]
    return 0 if batch.is_dynamic else batch.get_length()


def _precision(model: openvino.CompiledModel) -> str:
    hint = str(model.get_property("INFERENCE_PRECISION_HINT").to_string())
    return PRECISIONS.get(hint, hint)


def _description(core: openvino.Core, device: str, model: openvino.CompiledModel) -> dict[str, str]:
    kind = device.split(".", maxsplit=1)[0]
    versions = core.get_versions(device)
    driver = next(iter(versions.values())).build_number
    if kind == "NPU":
        driver = str(core.get_property(device, "NPU_DRIVER_VERSION"))
    batch = _batch_of(model)
    return {
        "device": f"{kind} {core.get_property(device, 'FULL_DEVICE_NAME')}",
        "driver": driver,
        "runtime": f"openvino {openvino.__version__.split('-')[0]}",
        "precision": _precision(model),
        "batch_size": str(batch) if batch else "any",
    }
