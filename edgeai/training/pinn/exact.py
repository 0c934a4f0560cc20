"""Closed forms and numerical solutions that the networks are compared with."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def burgers(x: Floats, t: Floats, viscosity: float, nodes: int = 200) -> Floats:
    """Return the solution u of Burgers' equation for u(x, 0) = -sin(pi x), by Cole-Hopf.

        u = -∫ sin(pi (x - s)) f(x - s) exp(-s²/(4 nu t)) ds / ∫ f(x - s) exp(-s²/(4 nu t)) ds
        f(y) = exp(-cos(pi y) / (2 pi nu))

    by Gauss-Hermite quadrature. Source: C. Basdevant et al., Computers & Fluids 14 (1986) 23.

    Args:
        x: (N,).
        t: (N,), not negative.
        viscosity: nu.
        nodes: Number of quadrature nodes.
    """
    at, weights = np.polynomial.hermite.hermgauss(nodes)
    y = x[:, None] - np.sqrt(4.0 * viscosity * np.maximum(t, 0.0))[:, None] * at[None, :]
    power = -np.cos(np.pi * y) / (2.0 * np.pi * viscosity)
    # Subtract the largest exponent before exp: f spans hundreds of decades.
    kernel = weights * np.exp(power - power.max(axis=1, keepdims=True))
    result: Floats = -(kernel * np.sin(np.pi * y)).sum(axis=1) / kernel.sum(axis=1)
    return result


def heater(seconds: Floats, power: Floats, parameters: Sequence[float]) -> Floats:
    """Return TCLab's sensor temperature above ambient, by the Runge-Kutta method of order 4.

    Args:
        seconds: (n,) times.
        power: (n,) W, constant between two samples.
        parameters: Ua in W/K, tau = CpS/Ub in s, CpH and CpS in J/K.

    Returns:
        (n,) degC.
    """
    loss, lag, heat, sensor = parameters

    def slope(hot: float, sensed: float, watt: float) -> tuple[float, float]:
        sensed_rate = (hot - sensed) / lag
        return (watt - loss * hot - sensor * sensed_rate) / heat, sensed_rate

    hot, sensed, rises = 0.0, 0.0, [0.0]
    for step, watt in zip(np.diff(seconds).tolist(), power.tolist(), strict=False):
        a = slope(hot, sensed, watt)
        b = slope(hot + step / 2 * a[0], sensed + step / 2 * a[1], watt)
        c = slope(hot + step / 2 * b[0], sensed + step / 2 * b[1], watt)
        d = slope(hot + step * c[0], sensed + step * c[1], watt)
        hot += step / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0])
        sensed += step / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1])
        rises.append(sensed)
    return np.array(rises)
