"""Growth of a figure: exponents between neighbouring points, compared with linear growth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

TOLERANCE = 0.15  # smaller excess above linear growth is noise, or the effect of caches


@dataclass(frozen=True)
class Step:
    """Growth of a figure between two points."""

    low: float
    high: float
    exponent: float
    """1: linear; 0: constant."""
    worse: bool
    """Whether growth is worse than linear, beyond the tolerance."""


def exponents(sizes: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the n - 1 slopes in log-log between neighbouring points.

    Args:
        sizes: (n,) positive, increasing.
        values: (n,) positive; a value of 0 or less gives NaN for the slopes next to it.

    Raises:
        ValueError: The lengths differ, or the sizes do not increase.
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
    """Return the growth of a figure from point to point.

    Args:
        sizes: (n,) positive, increasing.
        values: (n,) values of the figure.
        linear: Exponent of linear growth. For a figure per message it is 0 over streams (a message
            belongs to one stream) and 1 over models (every model takes the message).
    """
    return [
        Step(low, high, exponent, exponent > linear + TOLERANCE)
        for (low, high), exponent in zip(pairwise(sizes), exponents(sizes, values), strict=True)
    ]
