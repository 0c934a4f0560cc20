"""The protocol between an accelerator's child process and its parent.

Windows and outputs are in shared memory; a few bytes in a pipe begin a call, and a few report its
end. One call at a time. Self-contained: standard library, numpy and sibling modules; Python 3.10 or
newer.
"""

import math
import mmap
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .spec import ChildSpec

LENGTH = struct.Struct("<I")
"""Sent before the spec: its length in bytes."""
REQUEST = struct.Struct("<QI")
"""Number of the call, number of its windows."""
ANSWER = struct.Struct("<QII")
"""Number of the call (0: the load), status, length in bytes of the text that follows."""

DONE, EXCEPTION, WRONG_SHAPE, OUT_OF_MEMORY, NOT_LOADED = range(5)
MAX_TEXT_BYTES = 4 * 1024 * 1024
"""Largest text of an answer; `Facts` names every operator of the graph."""
MAX_SHARED_BYTES = 2 * 1024**3
ALIGNMENT = 64  # bytes


@dataclass(frozen=True)
class Arrays:
    """The arrays of a session, in shared memory."""

    windows: npt.NDArray[Any]
    """(largest batch, ...) of the dtype of the model's input."""
    outputs: list[npt.NDArray[np.float32]]
    """(largest batch, ...) each."""


def shared_bytes(spec: ChildSpec, largest: int, rows: Mapping[str, Sequence[int]]) -> int:
    """Return the size in bytes of the arrays of a session; arguments as those of `arrays_in`."""
    return sum(_padded_bytes(*array) for array in _arrays(spec, largest, rows))


def arrays_in(
    memory: mmap.mmap, spec: ChildSpec, largest: int, rows: Mapping[str, Sequence[int]]
) -> Arrays:
    """Return the arrays of a session in shared memory of `shared_bytes`.

    Args:
        memory: Mapped by both processes.
        spec: What the session has loaded: shape and dtype of a window, order of the outputs.
        largest: Largest number of windows in a call.
        rows: Shape of one row of each output.
    """
    offset = 0
    arrays = []
    for shape, dtype in _arrays(spec, largest, rows):
        arrays.append(np.ndarray(shape, dtype, memory, offset))
        offset += _padded_bytes(shape, dtype)
    return Arrays(arrays[0], arrays[1:])


def _arrays(
    spec: ChildSpec, largest: int, rows: Mapping[str, Sequence[int]]
) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return shape and dtype of the windows, then of each output."""
    outputs = [((largest, *rows[name]), np.dtype(np.float32)) for name in spec.outputs]
    return [((largest, *spec.row), np.dtype(spec.dtype)), *outputs]


def _padded_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return the size of an array in bytes, rounded up so that the next one is aligned."""
    return -(-dtype.itemsize * math.prod(shape) // ALIGNMENT) * ALIGNMENT
