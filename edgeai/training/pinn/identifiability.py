"""Which parameters the data can tell: Fisher information of a model, spread of each parameter.

    F = Sᵀ S / s²,   S = d prediction / d log parameter,   s² = rms² (1 + r) / (1 - r)

r is the correlation of neighbouring residuals: a model's own error is no white noise, and n samples
of it tell less than n. With a prior that trusts every parameter within a factor of e, the spread of
the logarithms is (F + 1)^-1; a parameter whose spread stays near 1 was told by the prior alone.

Source: E. Walter, L. Pronzato, "Identification of parametric models", Springer 1997, chapter 5.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
STEP = 1e-4
IDENTIFIABLE = 0.1
"""Relative spread up to which a parameter counts as known."""


@dataclass(frozen=True)
class Identified:
    """What the data tell.

    Attributes:
        spread: By parameter or combination, relative standard deviation.
        eigenvalues: Of F, ascending; one near 0 is a direction that no data of this kind tell.
        blind: The direction of the least eigenvalue, by parameter.
    """

    spread: Mapping[str, float]
    eigenvalues: Floats
    blind: Mapping[str, float]


def identify(
    simulate: Callable[[Floats], Floats],
    parameters: Mapping[str, float],
    residuals: Floats,
    combinations: Mapping[str, Callable[[Floats], float]],
) -> Identified:
    """Return the spread of parameters and of combinations of them.

    Args:
        simulate: Parameters (P,) to predictions (n,).
        parameters: Values at which the model is looked at, all positive.
        residuals: (n,), observed minus predicted.
        combinations: By name, a positive function of the parameters (P,).
    """
    names = list(parameters)
    values = np.array([parameters[name] for name in names])

    def slopes(function: Callable[[Floats], npt.ArrayLike]) -> Floats:
        columns = []
        for index in range(len(values)):
            up, down = values.copy(), values.copy()
            up[index] *= np.exp(STEP)
            down[index] *= np.exp(-STEP)
            columns.append((np.asarray(function(up)) - np.asarray(function(down))) / (2 * STEP))
        return np.stack(columns, axis=-1)

    centred = residuals - residuals.mean()
    near = float((centred[1:] * centred[:-1]).sum() / (centred**2).sum())
    near = min(max(near, 0.0), 0.999)
    variance = float(np.mean(residuals**2)) * (1.0 + near) / (1.0 - near)
    sensitivity = slopes(simulate)
    information = sensitivity.T @ sensitivity / variance
    eigenvalues, vectors = np.linalg.eigh(information)
    covariance = np.linalg.inv(information + np.eye(len(values)))
    spread = dict(zip(names, np.sqrt(np.diag(covariance)).tolist(), strict=True))
    for name, function in combinations.items():
        gradient = slopes(function) / function(values)
        spread[name] = float(np.sqrt(gradient @ covariance @ gradient))
    blind = dict(zip(names, vectors[:, 0].tolist(), strict=True))
    return Identified(spread, eigenvalues, blind)
