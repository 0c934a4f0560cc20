"""How a figure grows: exponents between neighbouring points, and where they pass linear growth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

TOLERANCE = 0.15
"""Above linear by less than this is the machine's noise and its caches."""


@dataclass(frozen=True)
class Step:
    """How a figure grew from one point to the next."""

    low: float
    high: float
    exponent: float
    """1: linear; 0: constant."""
    worse: bool
    """More than linear, beyond the tolerance."""


def exponents(sizes: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the slopes in log-log between neighbours, n - 1 of them.

    Args:
        sizes: (n,) positive, rising.
        values: (n,) positive; a value of 0 or less gives NaN beside it.

    Raises:
        ValueError: Different lengths, or sizes that do not rise.
    """
    pairs = list(zip(sizes, values, strict=True))
    found = []
    for (low, before), (high, after) in pairwise(pairs):
        if not 0 < low < high:
            raise ValueError(f"sizes must be positive and rise: {low} before {high}")
        known = before > 0 and after > 0
        found.append(math.log(after / before) / math.log(high / low) if known else math.nan)
    return found


def steps(sizes: Sequence[float], values: Sequence[float], linear: float) -> list[Step]:
    """Return how a figure grew from point to point.

    Args:
        sizes: (n,) positive, rising.
        values: (n,) of the figure.
        linear: The exponent of linear growth. Of a figure a message that is 0 for the number of
            streams (each message is of one), and 1 for the number of models (each takes it).
    """
    return [
        Step(low, high, exponent, exponent > linear + TOLERANCE)
        for (low, high), exponent in zip(pairwise(sizes), exponents(sizes, values), strict=True)
    ]
