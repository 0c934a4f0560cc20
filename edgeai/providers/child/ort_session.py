"""An ONNX Runtime session on one execution provider, without silent fallback.

ORT can fall back to the CPU without an exception, and `get_providers()` does not show it. Here the
CPU provider is not listed, fallback to it is disabled, and the provider of each node is read back.
Any difference from the request is an error that gives the reason.

Self-contained: standard library, numpy, onnxruntime 1.20 or newer and sibling modules; Python 3.10
or newer.
"""

import contextlib
import dataclasses
import importlib
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .feeds import feeds_of
from .io_binding import IoBindingRunner
from .ort_log import ON_CPU, LogCapture, error_message, join_reasons
from .privacy import silence_vendors
from .spec import ChildSpec, Facts, LoadError, ShapeError

CPU = "CPUExecutionProvider"
NVIDIA = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")
WARNING = 2  # ORT's log severity
COPY_NODES = frozenset({"MemcpyFromHost", "MemcpyToHost"})
"""Nodes that ORT adds to copy between devices; the model's graph does not have them."""

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


class OrtSession:
    """A checked session: nodes on the requested provider, run once with every batch size."""

    def __init__(self, session: Any, spec: ChildSpec, facts: Facts) -> None:
        self._session = session
        self._outputs = spec.outputs
        self._feeds = feeds_of(spec.input_name, spec.window, spec.context)
        self._rows: list[tuple[int, ...]] | None = None
        self._bound = IoBindingRunner(session, spec) if spec.io_binding else None
        self.facts = facts
        for size in sorted(set(spec.batch_sizes)):
            windows = np.zeros((size, *spec.row), spec.dtype)
            try:
                outputs = self._call(windows)
                rows = [output.shape[1:] for output in outputs]
                whole = all(output.shape[:1] == (size,) for output in outputs)
            except Exception as error:
                raise LoadError(f"does not run {size} windows: {error_message(error)}") from error
            if not whole or self._rows not in (None, rows):
                shapes = [output.shape for output in outputs]
                raise LoadError(f"gives outputs of the shapes {shapes} for {size} windows")
            self._rows = rows
        assert self._rows is not None
        facts.outputs.update(
            {name: list(row) for name, row in zip(spec.outputs, self._rows, strict=True)}
        )

    def run(self, windows: Floats) -> list[Array]:
        """Return the outputs (B, ...) of windows (B, ...), in the order of the spec.

        With `io_binding` the next call with the same number of windows overwrites them.

        Raises:
            ShapeError: An output has another shape than when the session was built.
            Exception: An error of ORT, whose exception types share no base class.
        """
        outputs = self._call(windows)
        rows = self._rows
        assert rows is not None
        for output, row in zip(outputs, rows, strict=True):
            if output.shape != (len(windows), *row):
                wanted = (len(windows), *row)
                raise ShapeError(f"gave an output of the shape {output.shape}, not {wanted}")
        return outputs

    def _call(self, windows: Floats) -> list[Array]:
        if self._bound is not None:
            return self._bound.run(windows)
        outputs: list[Array] = self._session.run(self._outputs, self._feeds(windows))
        return outputs

    def close(self) -> None:
        """Release the session."""
        self._bound = None
        self._session = None


def build(spec: ChildSpec) -> OrtSession:
    """Build the session of a spec whose kind is `ort`.

    Raises:
        LoadError: This runtime lacks the provider or device, an option has no effect, a node is
            on another provider than requested, or the session does not run. The text says which.
    """
    # The model's metadata must not set session options.
    os.environ.pop("ORT_LOAD_CONFIG_FROM_MODEL", None)
    os.environ.update(spec.environment)
    silence_vendors()
    try:
        import onnxruntime
    except ImportError as error:
        raise LoadError(f"this Python cannot import onnxruntime: {error_message(error)}") from error
    log = LogCapture()
    try:
        with log:
            options = _session_options(onnxruntime, spec)
            devices = _plugin_devices(onnxruntime, spec) if spec.library else []
            session = _create(onnxruntime, spec, options, devices)
            facts = _facts(onnxruntime, spec, session, devices)
        _check_options(spec, session)
        _check_assignment(spec, facts, is_reported=_reports_assignment(session))
        with log:
            return OrtSession(session, spec, facts)
    except LoadError as error:
        raise LoadError(join_reasons(log.reasons(), str(error))) from error
    except Exception as error:  # ORT's exceptions share no base class
        reasons = log.reasons()
        if ON_CPU in str(error) and not reasons:
            reasons = _find_nodes_elsewhere(onnxruntime, spec)
        raise LoadError(join_reasons(reasons, error_message(error))) from error


def _find_nodes_elsewhere(onnxruntime: Any, spec: ChildSpec) -> list[str]:
    """Return which nodes are not on the provider.

    ORT does not name them while fallback is disabled, so a second session allows it.
    """
    lenient = dataclasses.replace(spec, min_nodes_share=1e-9)
    try:
        devices = _plugin_devices(onnxruntime, spec) if spec.library else []
        options = _session_options(onnxruntime, lenient)
        session = _create(onnxruntime, lenient, options, devices)
        facts = _facts(onnxruntime, lenient, session, devices)
        _check_assignment(spec, facts, is_reported=_reports_assignment(session))
    except LoadError as error:
        return [str(error)]
    except Exception:  # noqa: BLE001  the first error is the one to report
        return []
    return []


def _session_options(onnxruntime: Any, spec: ChildSpec) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = spec.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = WARNING
    entries = {
        # Spinning threads use a whole core while idle.
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
        "session.record_ep_graph_assignment_info": "1",
    }
    if spec.provider != CPU and spec.min_nodes_share >= 1:
        # This key also stops OpenVINO from using its own CPU plugin if the NPU compiler fails.
        entries["session.disable_cpu_ep_fallback"] = "1"
    for key, value in (entries | spec.session_config).items():
        options.add_session_config_entry(key, value)
    return options


def _create(onnxruntime: Any, spec: ChildSpec, options: Any, devices: list[Any]) -> Any:
    graph = Path(spec.graph).read_bytes()
    if devices:
        options.add_provider_for_devices(devices, spec.provider_options)
        return onnxruntime.InferenceSession(graph, options, enable_fallback=0)
    known = onnxruntime.get_available_providers()
    if spec.provider not in known:
        raise LoadError(
            f"onnxruntime {onnxruntime.__version__} has no {spec.provider}: "
            f"this build has {', '.join(known)}"
        )
    if spec.provider in NVIDIA and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA and cuDNN that were installed as wheels
    providers: list[Any] = [(spec.provider, spec.provider_options)]
    if spec.provider != CPU and spec.min_nodes_share < 1:
        providers.append(CPU)
    return onnxruntime.InferenceSession(graph, options, providers=providers, enable_fallback=0)


def _plugin_devices(onnxruntime: Any, spec: ChildSpec) -> list[Any]:
    """Register a provider plugin and return the requested device, in a list."""
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise LoadError(f"onnxruntime {onnxruntime.__version__} takes no provider plugins")
    assert spec.library is not None
    path, names = find_library(spec.library)
    if names and spec.provider not in names:
        raise LoadError(f"plugin {spec.library} provides {', '.join(names)}, not {spec.provider}")

    def devices() -> list[Any]:
        # A plugin may name its devices after its registration, which is the provider's name.
        return [one for one in onnxruntime.get_ep_devices() if one.ep_name == spec.provider]

    if not devices():
        onnxruntime.register_execution_provider_library(spec.provider, path)
    found = devices()
    if not found:
        raise LoadError(f"plugin {spec.library} is loaded, but finds no device of its own here")
    wanted = spec.device.get("type", "").upper()
    fit = [one for one in found if wanted in {"", one.device.type.name}]
    index = int(spec.device.get("index", "0"))
    if index >= len(fit):
        kinds = ", ".join(one.device.type.name for one in found)
        raise LoadError(
            f"plugin {spec.library} finds no {wanted or 'device'} {index}; it has {kinds}"
        )
    return [fit[index]]


def find_library(name: str) -> tuple[str, list[str]]:
    """Return the path of a plugin and its providers' names (empty for a path).

    Args:
        name: Path of a shared library, or a module with `get_library_path()`.

    Raises:
        LoadError: The library or the module does not exist.
    """
    if "/" in name or "\\" in name:
        if not Path(name).is_file():
            raise LoadError(f"plugin {name}: no such file")
        return name, []
    try:
        module = importlib.import_module(name)
        path = str(module.get_library_path())
    except Exception as error:
        raise LoadError(f"plugin module {name} cannot be used: {error_message(error)}") from error
    if hasattr(module, "get_ep_names"):
        return path, [str(one) for one in module.get_ep_names()]
    return path, [str(module.get_ep_name())]


def _facts(onnxruntime: Any, spec: ChildSpec, session: Any, devices: list[Any]) -> Facts:
    assignment: dict[str, list[str]] = {}
    if _reports_assignment(session):
        for part in session.get_provider_graph_assignment_info():
            operators = [node.op_type for node in part.get_nodes()]
            assignment.setdefault(part.ep_name, []).extend(operators)
    if devices:
        device = devices[0].device
        metadata = dict(device.metadata)
        shown = metadata.get("Description") or f"{device.vendor} {device.device_id:#06x}"
        kind = f"{device.type.name} {shown}"
        driver = dict(devices[0].ep_metadata).get("version", "")
    else:
        kind = spec.provider_options.get("device_type") or spec.device.get("type") or ""
        driver = ""
    if spec.provider in NVIDIA:
        kind = kind or f"GPU {spec.provider_options.get('device_id', '0')}"
        driver = _first_line("/proc/driver/nvidia/version") or driver
    return Facts(
        providers=list(session.get_providers()),
        assignment=assignment,
        device=kind or "CPU",
        driver=driver or f"{platform.system()} {platform.release()}",
        runtime=f"onnxruntime {onnxruntime.__version__}",
    )


def _reports_assignment(session: Any) -> bool:
    """Return whether this runtime reports the provider of each node (ORT 1.24 or newer)."""
    return hasattr(session, "get_provider_graph_assignment_info")


def _check_options(spec: ChildSpec, session: Any) -> None:
    """Raise if the session reports another value of an option than requested."""
    effective = session.get_provider_options().get(spec.provider, {})
    for name, wanted in spec.provider_options.items():
        actual = effective.get(name)
        # Compare only numbers and switches: a text may be reported in another form.
        if actual is None or not (_normalize(actual).isdigit() and _normalize(wanted).isdigit()):
            continue
        if _normalize(actual) != _normalize(wanted):
            raise LoadError(f"option {name} must be {wanted}, but the provider took {actual}")


def _normalize(value: str) -> str:
    lower = value.strip().lower()
    return {"true": "1", "false": "0"}.get(lower, lower)


def _check_assignment(spec: ChildSpec, facts: Facts, *, is_reported: bool) -> None:
    """Raise if too few of the graph's nodes are on the provider; name the others."""
    if not facts.assignment:
        # ORT before 1.24 reports nothing; with fallback disabled ORT itself raises an error.
        if is_reported or (spec.provider != CPU and spec.min_nodes_share < 1):
            raise LoadError("onnxruntime does not report which provider each node is on")
        return
    on = [one for one in facts.assignment.get(spec.provider, []) if one not in COPY_NODES]
    off = {
        name: [one for one in operators if one not in COPY_NODES]
        for name, operators in facts.assignment.items()
        if name != spec.provider
    }
    missing = sum(len(operators) for operators in off.values())
    share = len(on) / (len(on) + missing) if on else 0.0
    if share >= spec.min_nodes_share:
        return
    where = "; ".join(
        f"{', '.join(sorted(set(operators)))} on {name}" for name, operators in off.items()
    )
    raise LoadError(f"only {len(on)} of {len(on) + missing} nodes are on {spec.provider}: {where}")


def _first_line(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
    return ""
