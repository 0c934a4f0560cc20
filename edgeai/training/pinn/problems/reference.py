"""What a reference problem is: a network, its terms, and the graph that is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgeai.training.pinn.loss import Term

Arrays = Mapping[str, npt.NDArray[Any]]
"""The arrays of a problem's data file."""
PROBE_POINTS = 512


@dataclass(frozen=True)
class Settings:
    """What a recipe sets.

    Attributes:
        hidden: Sizes of the hidden layers.
        points: Collocation points.
        seed: Of the points; weights are drawn from torch's generator, seeded before.
        known: Parameters that are known from elsewhere.
    """

    hidden: Sequence[int]
    points: int
    seed: int
    known: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference problem, ready to fit.

    Attributes:
        module: What is trained, float64; its forward takes points (N, d) and gives the outputs
            (N,) by name, so it is the stored graph too.
        terms: What it must fulfil.
        low: Lower corner of the domain, (d,).
        high: Upper corner, (d,).
        scales: By output, the size against which float32 is judged (`export`).
    """

    module: nn.Module
    terms: Sequence[Term]
    low: Sequence[float]
    high: Sequence[float]
    scales: Mapping[str, float] = field(default_factory=dict)

    def probe(self) -> npt.NDArray[np.float32]:
        """Points of the whole domain, (N, d), on which the graph is proven."""
        draws = np.random.default_rng(0).uniform(size=(PROBE_POINTS, len(self.low)))
        low, high = np.asarray(self.low), np.asarray(self.high)
        points: npt.NDArray[np.float32] = (low + (high - low) * draws).astype(np.float32)
        return points


def grid(*axes: npt.ArrayLike) -> Tensor:
    """Return all combinations of the axes' values, (N, d) float64, the last axis fastest."""
    parts = np.meshgrid(*[np.asarray(axis, float).ravel() for axis in axes], indexing="ij")
    return torch.from_numpy(np.stack([part.ravel() for part in parts], axis=1))


def column(values: npt.ArrayLike) -> Tensor:
    """Return values as a column, (N, 1) float64."""
    return torch.from_numpy(np.asarray(values, float).reshape(-1, 1).copy())


def chosen(count: int, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Return `count` different row numbers under `size`, in order."""
    rows: npt.NDArray[np.int64] = np.random.default_rng(seed).permutation(size)[:count]
    return np.sort(rows)


def each(value: Tensor, points: Tensor) -> Tensor:
    """Return a parameter (1,) for every row of the points, (N,)."""
    return value.reshape(1).expand(points.shape[0])
