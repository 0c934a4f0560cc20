"""Variation of a healthy plant: slow disturbances, and set-points that an operator changes."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from edgeai.plant.signals import FloatArray, Normals

_LIMIT_SIGMAS = 3.0  # disturbances are clipped here, in standard deviations


class Wander:
    """Independent slow disturbances, each an Ornstein-Uhlenbeck process of mean zero.

    x(t + dt) = a x(t) + sigma sqrt(1 - a^2) n,  a = exp(-dt / tau),  n standard normal: exact for
    every dt. Starts in the stationary distribution.

    Args:
        sigmas_and_taus: Per disturbance (sigma, tau): stationary standard deviation in the
            disturbance's unit, and correlation time in seconds.
        dt_seconds: Time between two steps.
        rng: Source of randomness.

    Source: D. T. Gillespie, "Exact numerical simulation of the Ornstein-Uhlenbeck process and its
    integral", Physical Review E 54 (1996) 2084, eq. 1.9.
    """

    def __init__(
        self,
        sigmas_and_taus: Sequence[tuple[float, float]],
        dt_seconds: float,
        rng: np.random.Generator,
    ) -> None:
        sigma, tau = np.array(sigmas_and_taus).T
        self._decay = np.exp(-dt_seconds / tau)
        self._kick = sigma * np.sqrt(1.0 - self._decay**2)
        self._limit = _LIMIT_SIGMAS * sigma
        self._normals = Normals(rng, len(sigma))
        self._state: FloatArray = self._cut(sigma * self._normals.next())

    def _cut(self, state: FloatArray) -> FloatArray:
        # Faster than np.clip on small arrays.
        cut: FloatArray = np.minimum(np.maximum(state, -self._limit), self._limit)
        return cut

    def values(self) -> list[float]:
        """Return the present disturbances, one float each."""
        values: list[float] = self._state.tolist()
        return values

    def step(self) -> list[float]:
        """Advance by dt_seconds and return the disturbances."""
        self._state = self._cut(self._decay * self._state + self._kick * self._normals.next())
        return self.values()


class SetPoints:
    """Set-points that change at random times, as an operator or a recipe would change them.

    Changes form a Poisson process. Each change draws a new target for every set-point, uniform in
    its range. A set-point moves to its target at once or, if it has a ramp, at that rate.

    Args:
        ranges: Set-point name -> (low, high), in the set-point's unit.
        mean_gap_seconds: Mean time between two changes.
        rng: Source of randomness.
        ramps: Set-point name -> largest change per second, in the set-point's unit.

    Attributes:
        values: Present set-points by name.
    """

    def __init__(
        self,
        ranges: Mapping[str, tuple[float, float]],
        mean_gap_seconds: float,
        rng: np.random.Generator,
        ramps: Mapping[str, float] | None = None,
    ) -> None:
        self._ranges = dict(ranges)
        self._mean_gap_seconds = mean_gap_seconds
        self._rng = rng
        self._ramps = dict(ramps or {})
        self._left_seconds = 0.0
        self._targets: dict[str, float] = {}
        self._change()
        self.values = dict(self._targets)

    def _change(self) -> None:
        self._targets = {name: self._rng.uniform(*limits) for name, limits in self._ranges.items()}
        self._left_seconds = self._rng.exponential(self._mean_gap_seconds)

    def step(self, dt_seconds: float) -> None:
        """Advance by dt_seconds; `values` may change."""
        self._left_seconds -= dt_seconds
        if self._left_seconds <= 0.0:
            self._change()
        for name, target in self._targets.items():
            limit = self._ramps.get(name, math.inf) * dt_seconds
            value = self.values[name]
            self.values[name] = value + min(limit, max(-limit, target - value))
