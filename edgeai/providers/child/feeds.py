"""The inputs of a graph: a window, or a window and its context, which come as one row.

Self-contained: numpy only; Python 3.10 or newer.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

CONTEXT_NAME = "context"

Array = npt.NDArray[Any]
Feeds = Callable[[Array], dict[str, Array]]
"""Takes rows and returns the graph's inputs by name."""


def row_shape(window: tuple[int, ...], context: int) -> tuple[int, ...]:
    """Return the shape of one row.

    Args:
        window: Shape of a window.
        context: Values of its context, K; 0: the graph has no second input.
    """
    return (math.prod(window) + context,) if context else window


def feeds_of(input_name: str, window: tuple[int, ...], context: int) -> Feeds:
    """Return the function from rows to a graph's inputs; arguments as of `row_shape`."""
    if not context:
        return lambda rows: {input_name: rows}
    size = math.prod(window)

    def feeds(rows: Array) -> dict[str, Array]:
        return {
            input_name: rows[:, :size].reshape(len(rows), *window),
            CONTEXT_NAME: np.ascontiguousarray(rows[:, size:]),
        }

    return feeds
