"""Diffusivity and rate of a reaction A + 2B from concentrations, x in [0, 1], t in [0, 10].

    Ca_t = D Ca_xx - kf Ca Cb²,   Cb_t = D Cb_xx - 2 kf Ca Cb²

The fit uses 2,000 points of both concentrations; initial and boundary conditions are not given.

Source: data of DeepXDE's demo.
"""

import math

import torch
from torch import Tensor, nn

from edgeai.training.pinn import jets
from edgeai.training.pinn.jets import Jet, coordinates
from edgeai.training.pinn.loss import Term, uniform
from edgeai.training.pinn.networks import Mlp
from edgeai.training.pinn.problems.reference import (
    Arrays,
    Reference,
    Settings,
    chosen,
    each,
    grid,
)

LOW, HIGH = (0.0, 0.0), (10.0, 1.0)
OBSERVATIONS = 2000  # points that the fit uses
GUESS = {"D": 0.01, "kf": 0.5}  # initial values
RATE = 0.05  # size of the terms of the equations


class DiffusionReaction(nn.Module):
    """Both concentrations and both parameters."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.network = Mlp([2, *settings.hidden, 2])
        self.log_parameters = nn.Parameter(torch.log(torch.tensor(list(GUESS.values()))))

    def concentrations(self, points: Tensor) -> Jet:
        """Return Ca and Cb, (N, 2)."""
        z = coordinates(points, ("t", "x"), ("xx",))
        # The concentrations change fast at the start; a logarithmic time resolves it.
        early = jets.log(z[0:1] + 0.1) * (1.0 / math.log(10.0))
        found: Jet = self.network(jets.cat([early, 2.0 * z[1:2] - 1.0]))
        return found

    def imbalance(self, points: Tensor) -> Tensor:
        """Return left minus right sides, (N, 2)."""
        c, (diffusivity, rate) = self.concentrations(points), torch.exp(self.log_parameters)
        reacted = rate * c.value[:, 0:1] * c.value[:, 1:2] ** 2
        sink = torch.cat([reacted, 2.0 * reacted], dim=1)
        balance: Tensor = c.d("t") - diffusivity * c.d("x", "x") + sink
        return balance

    def residual(self, points: Tensor) -> Tensor:
        """Return the imbalance over its size, (N, 2)."""
        return self.imbalance(points) / RATE

    def misfit(self, points: Tensor, observed: Tensor) -> Tensor:
        """Return concentration minus observation, (N, 2)."""
        return self.concentrations(points).value - observed

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stored graph."""
        parameters = torch.exp(self.log_parameters)
        found = {name: each(parameters[i], points) for i, name in enumerate(GUESS)}
        c = self.concentrations(points).value
        return {"concentrations": c, "residual": self.imbalance(points), **found}


def observed_rows(size: int, seed: int) -> list[int]:
    """Return the rows of the flattened grid that the fit uses; the others are held out."""
    return [int(row) for row in chosen(OBSERVATIONS, size, seed)]


def problem(data: Arrays, settings: Settings) -> Reference:
    """Return the problem: D and kf from 2,000 points of both concentrations."""
    rows = observed_rows(data["Ca"].size, settings.seed)
    seen = grid(data["t"], data["x"])[rows]
    both = torch.from_numpy(data["Ca"].ravel()[rows]), torch.from_numpy(data["Cb"].ravel()[rows])
    inside = uniform(LOW, HIGH, settings.points)
    terms = [
        Term("sensors", DiffusionReaction.misfit, (seen, torch.stack(both, dim=1)), weight=1e4),
        Term("equation", DiffusionReaction.residual, lambda _module, draw: (inside(draw),)),
    ]
    return Reference(DiffusionReaction(settings), terms, LOW, HIGH, {"residual": 1.0})
