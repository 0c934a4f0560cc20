"""One ONNX session on the CPU, in the engine's process: proven on the golden windows at start.

The only importer of onnxruntime in the engine's process.
"""

import logging
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeai.errors import ModelError
from edgeai.model.golden import Golden
from edgeai.model.manifest import INPUT_NAME
from edgeai.model.package import Package
from edgeai.providers.cpu_binding import BoundCalls
from edgeai.providers.session import BATCH_MULTIPLES, Floats, batch_capacity, padded_capacity

# Model metadata must not set session options.
os.environ.pop("ORT_LOAD_CONFIG_FROM_MODEL", None)

import onnxruntime

log = logging.getLogger("edgeai.session")

CPU_BATCH_BYTES = 1280 * 1024
"""What a core's cache holds: a larger batch is written to memory and read back, and costs the CPU a
third more for each window (frames of 80 kB, 142 against 18 at a time; 26 a twentieth more than
16)."""


def open_cpu(graph: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a session on the CPU execution provider, and on no other.

    Args:
        graph: The serialised ONNX model.
        threads: Intra-op threads.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A spinning pool burns a core while idle; the arena keeps its peak for ever.
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

    def __init__(self, graph: Path, outputs: list[str], threads: int = 1) -> None:
        """Load a graph.

        Args:
            graph: The ONNX file, already checked (`edgeai.model.inspection`).
            outputs: The outputs to compute, in this order.
            threads: Intra-op threads.

        Raises:
            ModelError: ONNX Runtime refuses the graph.
        """
        try:
            session = open_cpu(graph.read_bytes(), threads)
        except Exception as error:  # ORT's exceptions share no base of their own
            rule = f"ONNX Runtime refuses it: {' '.join(str(error).split())[:200]}"
            raise ModelError(str(graph), rule) from error
        # Without the four functions of Python around it, which look into each input anew and cost
        # as much as a small inference with cold caches. It has the same arguments.
        self._run = getattr(session, "_sess", session).run
        self._session = session
        self._graph = graph
        self._outputs = outputs
        self._bound: BoundCalls | None = None
        self.requested, self.reason = self.provider, ""
        self.batch_multiple: int | None = 1
        self.batch_bytes = CPU_BATCH_BYTES

    def run(self, batch: Floats, count: int) -> list[npt.NDArray[np.float32]]:
        """Return the outputs of the first `count` windows of a batch buffer.

        Args:
            batch: (>= count rounded up, W, C). Rows beyond count are computed and thrown away.
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
        """Prepare for calls with this buffer: their outputs are overwritten by the next call."""
        self._bound = BoundCalls(self._session, self._outputs, batch)

    def _call_bound(self, bound: BoundCalls, windows: int) -> list[npt.NDArray[np.float32]]:
        """Compute the first windows of the bound buffer."""
        call = bound.find(windows)
        if call is not None:
            run, outputs = call
            try:
                run()
            except Exception as error:  # noqa: BLE001  ORT's exceptions share no base of their own
                log.debug("%s: %d windows are bound no more: %s", self._graph, windows, error)
                bound.forget(windows)
            else:
                return outputs
        plain = self._call(bound.batch[:windows])
        bound.learn(windows, plain)
        return plain

    def _call(self, windows: Floats) -> list[npt.NDArray[np.float32]]:
        try:
            outputs: list[npt.NDArray[np.float32]] = self._run(
                self._outputs, {INPUT_NAME: windows}, None
            )
        except Exception as error:  # ORT's exceptions share no base of their own
            raise self._fault(len(windows), error) from error
        return outputs

    def _fault(self, windows: int, error: Exception) -> ModelError:
        reason = " ".join(str(error).split())[:200]
        rule = f"does not run in ONNX Runtime with {windows} windows: {reason}"
        return ModelError(str(self._graph), rule)

    def close(self) -> None:
        """Nothing: the process's memory is all it holds."""

    def prove(self, package: Package, batch_windows: int) -> None:
        """Reproduce the golden outputs, decisions included, and find the batch multiple.

        Raises:
            ModelError: An output is off by more than the manifest's tolerance, or a window is on
                the other side of the threshold.
        """
        golden = Golden.of(package)
        windows = golden.windows
        self.batch_multiple = self._invariant_multiple(windows, batch_windows)
        capacity = padded_capacity(len(windows))
        buffer = np.zeros((capacity, *windows.shape[1:]), np.float32)
        buffer[: len(windows)] = windows
        actual = dict(zip(self._outputs, self.run(buffer, len(windows)), strict=True))
        fault = golden.compare(actual).fault
        if fault is not None:
            raise ModelError(str(package.graph), fault.rule, fault.value)

    def _invariant_multiple(self, windows: Floats, batch_windows: int) -> int | None:
        """Find the padding that makes a window's outputs independent of its batch.

        Vectorised kernels take other paths for one row, or for the rows left over at the end of a
        batch, and give other last bits. Live and replayed runs batch differently and must agree bit
        for bit, so the sizes in use are those that agree here.
        """
        capacity = batch_capacity(batch_windows, *windows.shape[1:])
        largest = max(padded_capacity(capacity), len(windows))
        repeats = -(-largest // len(windows))
        tiled = np.ascontiguousarray(np.tile(windows, (repeats, 1, 1))[:largest])
        reference = [output[: len(windows)] for output in self._call(tiled)]
        order = np.random.default_rng(0).permutation(len(windows))
        for multiple in BATCH_MULTIPLES:
            if all(
                self._agrees(windows, order, size, reference)
                for size in (multiple, 3 * multiple, 5 * multiple, 32)
                if size <= len(windows)
            ):
                return multiple
        return None

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
