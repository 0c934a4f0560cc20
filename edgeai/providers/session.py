"""The interface of a session, as the engine uses it, and the sizes of its batches."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MAX_BATCH_BYTES = 64 * 1024 * 1024
BATCH_MULTIPLES = (1, 2, 4, 8, 16)
"""Batches are padded to a multiple of the smallest of these that gives every window the same bits.
"""
ROUNDING_EFFECT = 1e-4
"""Largest effect of a batch on a window's outputs that rounding can explain, relative to an
output's largest value: about 1,000 steps of float32."""


class Session(Protocol):
    """A model that computes outputs of windows, on the CPU or on an accelerator."""

    provider: str
    """Provider that computed the last batch."""
    requested: str
    """Provider that was requested."""
    reason: str
    """Why `provider` is not the requested one; empty if it is."""
    batch_bytes: int
    """Size of a batch above which waiting for more windows saves nothing."""

    @property
    def batch_multiple(self) -> int | None:
        """Batches are padded to a multiple of this; None: each window is computed alone."""

    @property
    def batch_effect(self) -> float:
        """Largest effect of the other windows of a batch on a window's outputs; 0: none.

        It is relative to the largest value of the output.
        """

    @property
    def score_effect(self) -> float:
        """Largest relative effect of them on the score of a healthy window; 0: none."""

    def bind(self, batch: Floats) -> None:
        """Bind a batch buffer: each `run` on it may overwrite the outputs of the run before."""

    def run(self, batch: Floats, count: int) -> list[npt.NDArray[np.float32]]:
        """Return the outputs of the first `count` windows of a batch buffer."""

    def close(self) -> None:
        """Release processes and devices."""


def batch_capacity(
    batch_windows: int, window_bytes: int, batch_bytes: int = MAX_BATCH_BYTES
) -> int:
    """Return the number of windows in a batch: `batch_windows`, or fewer to limit its bytes."""
    return min(batch_windows, max(1, batch_bytes // window_bytes))


def padded_capacity(windows: int) -> int:
    """Return the rows of a batch buffer for `windows` windows, enough for any batch multiple."""
    return -(-windows // BATCH_MULTIPLES[-1]) * BATCH_MULTIPLES[-1]
