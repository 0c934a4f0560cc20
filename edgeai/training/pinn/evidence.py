"""How far a prior is to be trusted, asked of the data: empirical Bayes.

With a data term in units of its noise, the loss is the posterior of the weights, and the prior's
weight w is where the evidence p(data | w) is largest. By Laplace's method that is

    w m = ( tr[(C + S)^-1 S] - tr[(C + D + S)^-1 S] ) / n

with m the prior's mean square, S, D, C the Gauss-Newton matrices of prior, data and constraints,
and n the number of readings: what of the prior is left after the constraints, less what is left
after the data too, is what the data tell. Repeated a few times it comes to rest.

Source: D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4 (1992) 415, with the
constraints of the equation held in both traces.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from edgeai.training.pinn.loss import Points, Term
from edgeai.training.pinn.newton import normal_equations

RIDGE = 1e-10
"""Of directions that nothing holds: they are the same in both traces."""


def prior_factor(
    module: nn.Module,
    terms: Sequence[Term],
    points: Mapping[str, Points],
    factors: Mapping[str, float],
    *,
    prior: str,
    data: str,
) -> float:
    """Return what the weight of the prior's term has to be multiplied by.

    Args:
        module: In float64, near the minimum of the loss.
        terms: All that count; those that are neither prior nor data are constraints.
        points: By term.
        factors: By term, what multiplies its weight at present.
        prior: Name of the prior's term.
        data: Name of the data's term, whose residual is in units of the noise.

    Raises:
        ValueError: No term has such a name.
    """
    by_name = {term.name: term for term in terms}
    if unknown := {prior, data} - set(by_name):
        raise ValueError(f"no term is called {', '.join(sorted(unknown))}")

    def matrix(chosen: list[Term]) -> tuple[Tensor, float]:
        square, _, loss = normal_equations(module, chosen, points, factors)
        return square, loss

    held = [term for term in terms if term.name not in {prior, data}]
    smooth, weighted = matrix([by_name[prior]])
    told, _ = matrix([by_name[data]])
    constraint, _ = matrix(held)
    floor = RIDGE * float(torch.diagonal(told).max())
    base = constraint + smooth + floor * torch.eye(len(smooth), dtype=smooth.dtype)
    before = float(torch.trace(torch.linalg.solve(base, smooth)))
    after = float(torch.trace(torch.linalg.solve(base + told, smooth)))
    with torch.no_grad():
        readings = by_name[data].residual(module, *points[data]).numel()
    # The loss is the posterior times 2 weight / readings.
    scale = by_name[data].weight * factors.get(data, 1.0) / readings
    return factors.get(prior, 1.0) * scale * max(before - after, 1e-6) / weighted
