"""ONNX Runtime's IO binding for the CPU session: calls with bound input and output buffers.

A bound call neither checks its arrays nor allocates outputs (measured in docs/performance.md).
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.model.manifest import INPUT_NAME

log = logging.getLogger("edgeai.session")

MAX_BOUND_WINDOWS = 16  # in larger calls the saving is negligible
ALIGNED_BYTES = 64  # as ONNX Runtime aligns its own buffers on the CPU

Floats = npt.NDArray[np.float32]
Call = tuple[Callable[[], None], list[Floats]]
"""A function that computes, and the arrays to which it writes."""


class IoBindingCache:
    """Bound calls with the first windows of one buffer, one for each number of windows."""

    def __init__(self, session: Any, outputs: list[str], batch: Floats) -> None:
        """Prepare; `bind` creates the calls.

        Args:
            session: ONNX Runtime's session, on the CPU.
            outputs: Names of the outputs.
            batch: (B, W, C); its memory must not move.
        """
        self.batch = batch
        self._session = session
        self._names = outputs
        self._targets: list[Floats] = []
        self._calls: dict[int, Call | None] = {}
        self.get = self._calls.get
        """Return the call for a number of windows, or None."""

    def bind(self, count: int, wanted: list[Floats]) -> None:
        """Create the bound call for a number of windows, if it gives the same bits.

        Args:
            count: Number of windows.
            wanted: The session's outputs for the windows that are in the buffer now.
        """
        if count > MAX_BOUND_WINDOWS or count in self._calls:
            return
        self._calls[count] = None
        try:
            run, outputs = self._bind(count, wanted)
            for output, right in zip(outputs, wanted, strict=True):
                # Start with wrong bits, so that values the call does not write are detected.
                output[...] = np.frombuffer(_invert_bits(right), right.dtype).reshape(right.shape)
            run()
        except Exception as error:  # noqa: BLE001  ORT's exceptions share no base class
            log.debug("calls of %d windows cannot be bound: %s", count, error)
            return
        pairs = zip(outputs, wanted, strict=True)
        if all(one.tobytes() == other.tobytes() for one, other in pairs):
            self._calls[count] = run, outputs

    def disable(self, count: int) -> None:
        """Stop using the bound call: an output has another shape now."""
        self._calls[count] = None

    def _bind(self, count: int, like: list[Floats]) -> Call:
        if not self._targets:
            self._targets = [
                _empty_aligned((MAX_BOUND_WINDOWS, *one.shape[1:]), one.dtype) for one in like
            ]
        binding = self._session.io_binding()
        binding.bind_cpu_input(INPUT_NAME, self.batch[:count])
        outputs = [target[:count] for target in self._targets]
        for name, output in zip(self._names, outputs, strict=True):
            address = output.ctypes.data
            binding.bind_output(name, "cpu", 0, output.dtype.type, output.shape, address)
        # Without the Python wrappers, as in `cpu`.
        plain = getattr(self._session, "_sess", self._session)
        return partial(plain.run_with_iobinding, binding._iobinding, None), outputs


def _invert_bits(values: npt.NDArray[Any]) -> bytes:
    """Return the bytes of an array with every bit inverted."""
    return (~np.frombuffer(values.tobytes(), np.uint8)).tobytes()


def _empty_aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return an array with ONNX Runtime's alignment, on which a kernel's choice may depend."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNED_BYTES, np.uint8)
    start = -memory.ctypes.data % ALIGNED_BYTES
    return memory[start : start + size].view(dtype).reshape(shape)
