"""A window and its context as one row: what batches, golden arrays and accelerators hold of both.

A model without a context has its windows (W, C) as rows. With a context of K values, a row is the
window's W x C values followed by the K values: one array passes through batches, shared memory and
proofs, and only the call of the graph takes it apart. (A child process, which imports nothing of
edgeai, does it by `providers.child.feeds`.)
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgeai.model.manifest import CONTEXT_NAME, INPUT_NAME

Floats = npt.NDArray[np.float32]


def join_rows(windows: Floats, context: Floats | None) -> Floats:
    """Return windows (N, W, C) and their context (N, K) as rows; without a context, the windows."""
    if context is None:
        return windows
    return np.concatenate([windows.reshape(len(windows), -1), context], axis=1, dtype=np.float32)


def inputs_of(window: tuple[int, ...], context: int) -> Callable[[Floats], dict[str, Floats]]:
    """Return the function from rows to the inputs of a graph, by name.

    Args:
        window: Shape of a window.
        context: Values of its context, K; 0: the graph has one input.
    """
    if not context:
        return lambda rows: {INPUT_NAME: rows}
    size = math.prod(window)

    def inputs(rows: Floats) -> dict[str, Floats]:
        return {
            INPUT_NAME: rows[:, :size].reshape(len(rows), *window),
            CONTEXT_NAME: np.ascontiguousarray(rows[:, size:]),
        }

    return inputs
