"""The parts of a reference problem: network, terms of the loss, domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgeai.training.pinn.loss import Term

Arrays = Mapping[str, npt.NDArray[Any]]
"""Arrays of a problem's data file, by name."""
PROBE_POINTS = 512  # points on which the exported graph is checked


@dataclass(frozen=True)
class Settings:
    """The settings of a recipe.

    Attributes:
        hidden: Sizes of the hidden layers.
        points: Number of collocation points.
        seed: Seed of the points; the weights come from torch's generator, which the caller seeds.
        known: Parameters that are known from other measurements.
    """

    hidden: Sequence[int]
    points: int
    seed: int
    known: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference problem, ready to fit.

    Attributes:
        module: The trained module, float64. Its forward maps points (N, d) to the outputs by name
            and is the graph that is exported.
        terms: Terms of the loss.
        low: Lower corner of the domain, (d,).
        high: Upper corner of the domain, (d,).
        scales: Size of each output, see `export`.
    """

    module: nn.Module
    terms: Sequence[Term]
    low: Sequence[float]
    high: Sequence[float]
    scales: Mapping[str, float] = field(default_factory=dict)

    def probe(self) -> npt.NDArray[np.float32]:
        """Return random points of the whole domain, (N, d), on which the graph is checked."""
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
    """Return `count` different row numbers below `size`, ascending."""
    rows: npt.NDArray[np.int64] = np.random.default_rng(seed).permutation(size)[:count]
    return np.sort(rows)


def each(value: Tensor, points: Tensor) -> Tensor:
    """Repeat a parameter (1,) for every row of the points, (N,)."""
    return value.reshape(1).expand(points.shape[0])
