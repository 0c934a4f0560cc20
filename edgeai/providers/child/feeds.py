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
Split = Callable[[Array], tuple[Array, ...]]
"""Takes rows and returns the graph's inputs in their order."""


def row_shape(window: tuple[int, ...], context: int) -> tuple[int, ...]:
    """Return the shape of one row.

    Args:
        window: Shape of a window.
        context: Values of its context, K; 0: the graph has no second input.
    """
    return (math.prod(window) + context,) if context else window


def feeds_of(input_name: str, window: tuple[int, ...], context: int) -> Feeds:
    """Return the function from rows to a graph's inputs; arguments as of `row_shape`."""
    split = inputs_of(window, context)
    names = (input_name, CONTEXT_NAME) if context else (input_name,)
    return lambda rows: dict(zip(names, split(rows), strict=True))


def inputs_of(window: tuple[int, ...], context: int) -> Split:
    """Return the function from rows to windows, and their context if there is one.

    Arguments as of `row_shape`. The arrays are contiguous.
    """
    if not context:
        return lambda rows: (np.ascontiguousarray(rows),)
    size = math.prod(window)

    def split(rows: Array) -> tuple[Array, ...]:
        windows = np.ascontiguousarray(rows[:, :size]).reshape(len(rows), *window)
        return windows, np.ascontiguousarray(rows[:, size:])

    return split
