"""Which signals contribute most to a window's score."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_WINDOWS_ONE_BY_ONE = 7  # for more, one sort of all windows costs less
MAX_VALUES_IN_PYTHON = 32  # windows x signals; for more, NumPy costs less than a list

Contributor = tuple[str, float]
"""A signal's name and its contribution."""


def largest_contributions(
    contributions: npt.NDArray[Any], signals: list[str], top: int
) -> list[list[Contributor]]:
    """Return the largest contributions of each window, largest first, with their signals.

    Equal contributions come in the order of the model's signals. NaN and -inf are left out.

    Args:
        contributions: (B, C) of any real type. Overwritten.
        signals: (C,) names.
        top: How many to return for each window, at most.
    """
    if contributions.size <= MAX_VALUES_IN_PYTHON:
        return [_largest_of(row, signals, top) for row in contributions.tolist()]
    if contributions.dtype.kind != "f":  # unsigned and whole numbers have no usable negative
        contributions = contributions.astype(np.float64)
    if len(contributions) <= MAX_WINDOWS_ONE_BY_ONE:
        # By index: iterating over an array ends with an exception, 10 us with cold caches.
        return [
            _largest_of_array(contributions[n], signals, top) for n in range(len(contributions))
        ]
    order = (-contributions).argsort(axis=1, kind="stable")[:, :top].tolist()
    return [
        [(signals[n], float(row[n])) for n in channels if row[n] > -math.inf]
        for row, channels in zip(contributions, order, strict=True)
    ]


def _largest_of(row: list[float], signals: list[str], top: int) -> list[Contributor]:
    """Do the same for one window (C,) in plain Python. Overwrites it."""
    largest = []
    for _ in range(min(top, len(row))):
        value = max(row)
        if value != value:  # noqa: PLR0124  `max` returns NaN or skips it, depending on the order
            row = [-math.inf if one != one else one for one in row]  # noqa: PLR0124
            value = max(row)
        if value == -math.inf:
            break
        channel = row.index(value)
        largest.append((signals[channel], float(value)))
        row[channel] = -math.inf
    return largest


def _largest_of_array(row: npt.NDArray[Any], signals: list[str], top: int) -> list[Contributor]:
    """Do the same for one window (C,) with the code of `argmax` alone. Overwrites it."""
    largest = []
    for _ in range(min(top, len(signals))):
        channel = row.argmax()
        value = row.item(channel)
        if not value > -math.inf:
            row[np.isnan(row)] = -math.inf  # `argmax` takes NaN for the largest value
            channel = row.argmax()
            value = row.item(channel)
            if value == -math.inf:
                break
        largest.append((signals[channel], float(value)))
        row[channel] = -math.inf
    return largest
