"""Estimate the weight of a prior from the data (empirical Bayes).

If the data term is in units of its noise, the loss is the negative log posterior of the network's
weights. The best weight w of the prior maximises the evidence p(data | w). Laplace's method gives

    w m = ( tr[(C + S)^-1 S] - tr[(C + D + S)^-1 S] ) / n

m is the prior's mean square; S, D and C are the Gauss-Newton matrices of prior, data and
constraints; n is the number of readings. The first trace counts the directions that the prior
determines once the constraints hold, the second those that it still determines with the data too;
the difference is what the data determine. A few repetitions converge.

Source: D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4 (1992) 415; the constraints
of the equation are added to both traces here.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from edgeai.training.pinn.loss import Points, Term
from edgeai.training.pinn.newton import normal_equations

RIDGE = 1e-10
"""Regularisation over the largest diagonal entry of D, for directions that no term determines; it
cancels in the difference of the traces."""


def prior_factor(
    module: nn.Module,
    terms: Sequence[Term],
    points: Mapping[str, Points],
    factors: Mapping[str, float],
    *,
    prior: str,
    data: str,
) -> float:
    """Return the factor for the weight of the prior's term.

    Args:
        module: In float64, near the minimum of the loss.
        terms: All terms of the loss; those that are neither prior nor data are constraints.
        points: Points by term.
        factors: Present factor of each term's weight.
        prior: Name of the prior's term.
        data: Name of the data's term, whose residual is in units of the noise.

    Raises:
        ValueError: No term has that name.
    """
    by_name = {term.name: term for term in terms}
    if unknown := {prior, data} - set(by_name):
        raise ValueError(f"no term is called {', '.join(sorted(unknown))}")

    def matrix(chosen: list[Term]) -> tuple[Tensor, float]:
        square, _, loss = normal_equations(module, chosen, points, factors)
        return square, loss

    held = [term for term in terms if term.name not in {prior, data}]
    smooth, weighted = matrix([by_name[prior]])
    observed, _ = matrix([by_name[data]])
    constraint, _ = matrix(held)
    floor = RIDGE * float(torch.diagonal(observed).max())
    base = constraint + smooth + floor * torch.eye(len(smooth), dtype=smooth.dtype)
    before = float(torch.trace(torch.linalg.solve(base, smooth)))
    after = float(torch.trace(torch.linalg.solve(base + observed, smooth)))
    with torch.no_grad():
        readings = by_name[data].residual(module, *points[data]).numel()
    # The loss is 2 weight / readings times the negative log posterior.
    scale = by_name[data].weight * factors.get(data, 1.0) / readings
    return factors.get(prior, 1.0) * scale * max(before - after, 1e-6) / weighted
