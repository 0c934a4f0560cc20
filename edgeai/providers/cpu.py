"""The CPU session: one ONNX Runtime session in the engine's process, proven at start.

Outside `child`, this is the only module of the room that imports onnxruntime.
"""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.errors import ModelError, one_line
from edgeai.model.direction import is_abnormal
from edgeai.model.golden import Golden
from edgeai.model.package import HEALTHY, Package
from edgeai.model.rows import inputs_of
from edgeai.providers.cpu_binding import IoBindingCache
from edgeai.providers.session import (
    BATCH_MULTIPLES,
    ROUNDING_EFFECT,
    Floats,
    batch_capacity,
    padded_capacity,
)
from edgeai.runtime_build import installed_build

# The model's metadata must not set session options.
os.environ.pop("ORT_LOAD_CONFIG_FROM_MODEL", None)
installed_build()  # half a build may be imported, and fails later

import onnxruntime  # noqa: E402

log = logging.getLogger("edgeai.session")

CPU_BATCH_BYTES = 1280 * 1024
"""Fits in a core's cache: a window costs more CPU in a batch that has to go through main memory."""


def runtime_version() -> str:
    """Return the version of onnxruntime in this process."""
    version: str = onnxruntime.__version__
    return version


def available_providers() -> list[str]:
    """Return the execution providers of this process's build of onnxruntime."""
    providers: list[str] = onnxruntime.get_available_providers()
    return providers


def open_cpu(graph: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a session on the CPU execution provider only.

    Args:
        graph: The serialised ONNX model.
        threads: Intra-op threads.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads use a whole core while idle; the arena never shrinks below its peak.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )


class CpuSession:
    """A session on ONNX Runtime's CPU execution provider."""

    provider = "cpu"

    def __init__(
        self,
        graph: Path,
        outputs: list[str],
        threads: int = 1,
        *,
        window: tuple[int, ...] = (),
        context: int = 0,
    ) -> None:
        """Load a graph.

        Args:
            graph: The ONNX file, already checked (`edgeai.model.inspection`).
            outputs: Names of the outputs to compute, in order.
            threads: Intra-op threads.
            window: Shape of a window; needed with a context.
            context: Values of the second input `context`; 0: there is none. Windows then come with
                it, as `edgeai.model.rows` says.

        Raises:
            ModelError: ONNX Runtime refuses the graph.
        """
        try:
            session = open_cpu(graph.read_bytes(), threads)
        except Exception as error:  # ORT's exceptions share no base class
            rule = f"ONNX Runtime refuses it: {one_line(error)}"
            raise ModelError(str(graph), rule) from error
        # The C++ method with the same arguments. The Python wrappers around it check each input
        # and cost as much as a small inference with cold caches.
        self._run = getattr(session, "_sess", session).run
        self._session = session
        self._graph = graph
        self._outputs = outputs
        self._bound: IoBindingCache | None = None
        self._inputs = inputs_of(window, context)
        self._has_context = context > 0
        self.requested, self.reason = self.provider, ""
        self.batch_multiple: int | None = 1
        self.batch_effect = self.score_effect = 0.0
        self.batch_bytes = CPU_BATCH_BYTES

    def run(self, batch: Floats, count: int) -> list[npt.NDArray[np.float32]]:
        """Return the outputs of the first `count` windows of a batch buffer.

        Args:
            batch: (>= count rounded up to the batch multiple, W, C). Outputs of rows beyond count
                are discarded.
            count: At least 1.
        """
        if self.batch_multiple is None:
            single = [self._call(batch[index : index + 1]) for index in range(count)]
            return [np.concatenate(parts) for parts in zip(*single, strict=True)]
        padded = -(-count // self.batch_multiple) * self.batch_multiple
        bound = self._bound
        if bound is None or batch is not bound.batch:
            outputs = self._call(batch[:padded])
        else:
            outputs = self._call_bound(bound, padded)
        return outputs if padded == count else [output[:count] for output in outputs]

    def bind(self, batch: Floats) -> None:
        """Bind a batch buffer: each `run` on it then overwrites the outputs of the run before."""
        if not self._has_context:  # its rows are taken apart for each call
            self._bound = IoBindingCache(self._session, self._outputs, batch)

    def _call_bound(self, bound: IoBindingCache, windows: int) -> list[npt.NDArray[np.float32]]:
        """Return the outputs of the first windows of the bound buffer."""
        call = bound.get(windows)
        if call is not None:
            run, outputs = call
            try:
                run()
            except Exception as error:  # noqa: BLE001  ORT's exceptions share no base class
                log.debug("%s: no IO binding for %d windows: %s", self._graph, windows, error)
                bound.disable(windows)
            else:
                return outputs
        plain = self._call(bound.batch[:windows])
        bound.bind(windows, plain)
        return plain

    def _call(self, windows: Floats) -> list[npt.NDArray[np.float32]]:
        try:
            outputs: list[npt.NDArray[np.float32]] = self._run(
                self._outputs, self._inputs(windows), None
            )
        except Exception as error:  # ORT's exceptions share no base class
            raise self._fault(len(windows), error) from error
        return outputs

    def _fault(self, windows: int, error: Exception) -> ModelError:
        rule = f"does not run in ONNX Runtime with {windows} windows: {one_line(error)}"
        return ModelError(str(self._graph), rule)

    def close(self) -> None:
        """Do nothing: the session holds only this process's memory."""

    def prove(self, package: Package, batch_windows: int) -> None:
        """Find the batch multiple, and compare outputs and decisions with the golden windows.

        Raises:
            ModelError: An output differs by more than the manifest's tolerance, or a window is on
                the other side of the threshold.
        """
        golden = Golden.of(package)
        windows = golden.windows
        self.batch_multiple = self._invariant_multiple(windows, batch_windows, package)
        capacity = padded_capacity(len(windows))
        buffer = np.zeros((capacity, *windows.shape[1:]), np.float32)
        buffer[: len(windows)] = windows
        actual = dict(zip(self._outputs, self.run(buffer, len(windows)), strict=True))
        fault = golden.compare(actual).fault
        if fault is not None:
            cause = ""
            if self.batch_effect > ROUNDING_EFFECT:
                score = f", the score of a healthy window by up to {self.score_effect:.2g} of it"
                cause = (
                    "; the graph's outputs depend on the other windows of a batch by up to "
                    f"{self.batch_effect:.2g} of an output's largest value"
                    f"{score if self.score_effect else ''}: compute the golden outputs one window "
                    "at a time"
                )
            raise ModelError(str(package.graph), fault.rule + cause, fault.value)

    def _invariant_multiple(
        self, windows: Floats, batch_windows: int, package: Package
    ) -> int | None:
        """Return the batch multiple that makes a window's outputs independent of its batch.

        Vectorised kernels use other code for a single row, or for the last rows of a batch, with
        other last bits in the result. Live and replayed runs form different batches and must agree
        bit for bit, so batches are padded to a multiple with which all sizes agree. None: there is
        no such multiple.
        """
        capacity = batch_capacity(batch_windows, windows[0].nbytes)
        largest = max(padded_capacity(capacity), len(windows))
        repeats = -(-largest // len(windows))
        tiled = np.concatenate([windows] * repeats)[:largest]
        reference = [output[: len(windows)] for output in self._call(tiled)]
        self._check_repeatable(windows)
        order = np.random.default_rng(0).permutation(len(windows))
        for multiple in BATCH_MULTIPLES:
            if all(
                self._agrees(windows, order, size, reference)
                for size in (multiple, 3 * multiple, 5 * multiple, 32)
                if size <= len(windows)
            ):
                return multiple
        alone = [self._call(windows[index : index + 1]) for index in range(len(windows))]
        parts = [np.concatenate(output) for output in zip(*alone, strict=True)]
        self.batch_effect = max(map(_difference, parts, reference))
        index = self._outputs.index(package.manifest.score)
        self.score_effect = _healthy_change(parts[index], reference[index], package)
        return None

    def _check_repeatable(self, windows: Floats) -> None:
        """Refuse a graph that gives other outputs for the same batch.

        Raises:
            ModelError: With the size of the difference.
        """
        first = [output.copy() for output in self._call(windows)]
        for name, one, again in zip(self._outputs, first, self._call(windows), strict=True):
            if one.tobytes() != again.tobytes():
                rule = (
                    f"output `{name}` must be the same for the same windows, but two calls differ, "
                    "relative to its largest value, by"
                )
                raise ModelError(str(self._graph), rule, float(f"{_difference(one, again):.2g}"))

    def _agrees(
        self, windows: Floats, order: npt.NDArray[np.intp], size: int, reference: list[Floats]
    ) -> bool:
        """Whether batches of one size, in another order, give the reference bits."""
        for start in range(0, len(windows) - size + 1, size):
            rows = order[start : start + size]
            outputs = self._call(np.ascontiguousarray(windows[rows]))
            for output, wanted in zip(outputs, reference, strict=True):
                if output.tobytes() != wanted[rows].tobytes():
                    return False
        return True


def open_cpu_session(package: Package, threads: int = 1) -> CpuSession:
    """Load the graph of a package on the CPU; ModelError if ONNX Runtime refuses it.

    Args:
        package: Already checked.
        threads: Intra-op threads.
    """
    manifest = package.manifest
    outputs = [output.name for output in manifest.outputs]
    return CpuSession(
        package.graph, outputs, threads,
        window=manifest.input_shape, context=len(manifest.context),
    )  # fmt: skip


def _difference(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return the largest difference of two outputs, relative to the largest value."""
    distance = np.abs(one.astype(np.float64) - other)
    scale = float(np.abs(other).max(initial=0.0)) or 1.0
    return float(np.nanmax(distance, initial=0.0)) / scale


def _healthy_change(alone: Floats, together: Floats, package: Package) -> float:
    """Return the largest relative difference of two scores of one healthy golden window.

    Healthy are the windows that the package labels so; without labels those whose score is on the
    normal side of the threshold.
    """
    labels, threshold = package.labelled_golden()[2], package.manifest.threshold
    healthy = labels == HEALTHY
    if not healthy.any():
        healthy = ~is_abnormal(alone, threshold.value, threshold.abnormal)
    healthy &= np.isfinite(alone) & np.isfinite(together) & (alone != 0)
    one, other = alone[healthy].astype(np.float64), together[healthy]
    return float(np.abs(other / one - 1).max(initial=0.0))
