"""What an accelerator's child process and its parent say to each other, and where the arrays lie.

Windows and outputs lie in memory that both have mapped; a few bytes in a pipe say that a call may
begin, and that it is done. One call at a time. Self-contained, like everything the child imports.
"""

import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LENGTH = struct.Struct("<I")
"""Before the spec: its bytes."""
REQUEST = struct.Struct("<QI")
"""Number of the call, windows in it."""
ANSWER = struct.Struct("<QII")
"""Number of the call (0: the load), status, bytes of the text that follows."""

DONE, EXCEPTION, WRONG_SHAPE, OUT_OF_MEMORY, NOT_LOADED = range(5)
MAX_TEXT_BYTES = 4 * 1024 * 1024
"""Of an answer: facts name every operator of the graph."""
MAX_SHARED_BYTES = 2 * 1024**3
ALIGNMENT = 64


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
    """Return how much memory the arrays of a session take."""
    return list(_offsets(_shapes(window, largest, rows, outputs)))[-1]


def arrays_in(
    memory: mmap.mmap,
    window: tuple[int, int],
    largest: int,
    rows: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
) -> Arrays:
    """Lay the arrays into memory of `shared_bytes`.

    Args:
        memory: Mapped by both sides.
        window: Length and channels.
        largest: The most windows of a call.
        rows: Shape of one row of each output.
        outputs: Their order.
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
    """Give where each array begins, and where the memory ends."""
    offset = 0
    for shape in shapes:
        yield offset
        values = 1
        for length in shape:
            values *= length
        offset += -(-4 * values // ALIGNMENT) * ALIGNMENT
    yield offset
