"""The protocol between an accelerator's child process and its parent.

Windows and outputs are in shared memory; a few bytes in a pipe begin a call, and a few report its
end. One call at a time. Self-contained: standard library and numpy; Python 3.10 or newer.
"""

import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

    windows: npt.NDArray[np.float32]
    """(largest batch, W, C)."""
    outputs: list[npt.NDArray[np.float32]]
    """(largest batch, ...) each."""


def shared_bytes(
    window: tuple[int, int], largest: int, rows: Mapping[str, Sequence[int]], outputs: Sequence[str]
) -> int:
    """Return the size in bytes of the arrays of a session."""
    return list(_offsets(_shapes(window, largest, rows, outputs)))[-1]


def arrays_in(
    memory: mmap.mmap,
    window: tuple[int, int],
    largest: int,
    rows: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
) -> Arrays:
    """Return the arrays of a session in shared memory of `shared_bytes`.

    Args:
        memory: Mapped by both processes.
        window: Length and channels.
        largest: Largest number of windows in a call.
        rows: Shape of one row of each output.
        outputs: Order of the outputs.
    """
    shapes = _shapes(window, largest, rows, outputs)
    arrays = [
        np.ndarray(shape, np.float32, memory, offset)
        for shape, offset in zip(shapes, _offsets(shapes), strict=False)
    ]
    return Arrays(arrays[0], arrays[1:])


def _shapes(
    window: tuple[int, int], largest: int, rows: Mapping[str, Sequence[int]], outputs: Sequence[str]
) -> list[tuple[int, ...]]:
    return [(largest, *window), *((largest, *rows[name]) for name in outputs)]


def _offsets(shapes: Sequence[tuple[int, ...]]) -> Iterator[int]:
    """Yield the offset of each array, then the size of the memory."""
    offset = 0
    for shape in shapes:
        yield offset
        values = 1
        for length in shape:
            values *= length
        offset += -(-4 * values // ALIGNMENT) * ALIGNMENT
    yield offset
