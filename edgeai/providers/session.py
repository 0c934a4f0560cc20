"""What the engine needs of a session, whoever computes, and how large its batches may be."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MAX_BATCH_BYTES = 64 * 1024 * 1024
BATCH_MULTIPLES = (1, 2, 4, 8, 16)
"""Batch sizes are padded to the smallest of these that gives every window the same bits."""


class Session(Protocol):
    """What the engine needs of a session."""

    provider: str
    """Who computed the last batch."""
    requested: str
    reason: str
    """Why that is not the one requested; empty when it is."""
    batch_bytes: int
    """The largest batch worth waiting for."""

    @property
    def batch_multiple(self) -> int | None:
        """Batches are padded to a multiple of this; None: each window runs alone."""

    def bind(self, batch: Floats) -> None:
        """Prepare for calls with this buffer: their outputs are overwritten by the next call."""

    def run(self, batch: Floats, count: int) -> list[npt.NDArray[np.float32]]:
        """Return the outputs of the first `count` windows of a batch buffer."""

    def close(self) -> None:
        """Give back what it holds."""


def batch_capacity(
    batch_windows: int, length: int, channels: int, batch_bytes: int = MAX_BATCH_BYTES
) -> int:
    """Return how many windows (W, C) a batch takes: the limit, or what its memory allows."""
    return min(batch_windows, max(1, batch_bytes // (length * channels * 4)))


def padded_capacity(windows: int) -> int:
    """Return the rows a batch buffer needs for so many windows, whatever the multiple."""
    return -(-windows // BATCH_MULTIPLES[-1]) * BATCH_MULTIPLES[-1]
