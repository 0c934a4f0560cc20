"""Burgers' equation, forward and inverse.

    u_t + lambda1 u u_x = lambda2 u_xx,   x in [-1, 1], t in [0, 1]

Forward: lambda1 = 1, lambda2 = 0.01/pi, u(x, 0) = -sin(pi x), u(-1, t) = u(1, t) = 0. The ansatz
u = -sin(pi x) + t (1 - x²) N(x, t) fulfils initial and boundary conditions, so the equation is the
only term. Inverse: lambda1 and lambda2 from observations of u; initial and boundary conditions are
not given.

Source: M. Raissi, P. Perdikaris, G. Karniadakis, JCP 378 (2019) 686.
"""

import math

import torch
from torch import Tensor, nn

from edgeai.training.pinn import jets
from edgeai.training.pinn.jets import Jet, coordinates
from edgeai.training.pinn.loss import Term, adaptive, uniform
from edgeai.training.pinn.networks import Mlp
from edgeai.training.pinn.problems.reference import (
    Arrays,
    Reference,
    Settings,
    chosen,
    column,
    each,
    grid,
)

VISCOSITY = 0.01 / math.pi
LOW, HIGH = (-1.0, 0.0), (1.0, 1.0)
OBSERVATIONS = 2000  # points of u that the inverse fit uses
GUESS = 0.01  # initial lambda2; lambda1 starts at 0.5


def burgers(u: Jet, lambda1: float | Tensor, lambda2: float | Tensor) -> Tensor:
    """Return u_t + lambda1 u u_x - lambda2 u_xx, (N, 1)."""
    return u.d("t") + lambda1 * u.value * u.d("x") - lambda2 * u.d("x", "x")


class Forward(nn.Module):
    """The field, with initial and boundary conditions built in."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.network = Mlp([2, *settings.hidden, 1])

    def field(self, points: Tensor) -> Jet:
        """Return u, (N, 1)."""
        z = coordinates(points, ("x", "t"), ("xx",))
        x, t = z[0:1], z[1:2]
        inner: Jet = self.network(jets.cat([x, 2.0 * t - 1.0]))
        return t * (1.0 - x * x) * inner - jets.sin(math.pi * x)

    def residual(self, points: Tensor) -> Tensor:
        """Return the equation's residual, (N, 1)."""
        return burgers(self.field(points), 1.0, VISCOSITY)

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stored graph."""
        u = self.field(points)
        return {
            "u": u.value.squeeze(-1),
            "u_x": u.d("x").squeeze(-1),
            "residual": burgers(u, 1.0, VISCOSITY).squeeze(-1),
        }


def forward_problem(_data: Arrays, settings: Settings) -> Reference:
    """Return Burgers, forward; it uses no data."""
    candidates = uniform(LOW, HIGH, 8 * settings.points)
    draw = adaptive(Forward.residual, candidates, settings.points)
    terms = [Term("equation", Forward.residual, draw)]
    # At the shock, u u_x and lambda2 u_xx are near 150 each and cancel.
    return Reference(Forward(settings), terms, LOW, HIGH, {"residual": 150.0})


class Inverse(nn.Module):
    """The field and the two coefficients."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.network = Mlp([2, *settings.hidden, 1])
        self.lambda1 = nn.Parameter(torch.tensor([0.5]))
        self.log_lambda2 = nn.Parameter(torch.tensor([math.log(GUESS)]))

    def field(self, points: Tensor) -> Jet:
        """Return u, (N, 1)."""
        z = coordinates(points, ("x", "t"), ("xx",))
        u: Jet = self.network(jets.cat([z[0:1], 2.0 * z[1:2] - 1.0]))
        return u

    def residual(self, points: Tensor) -> Tensor:
        """Return the equation's residual, (N, 1)."""
        return burgers(self.field(points), self.lambda1, torch.exp(self.log_lambda2))

    def misfit(self, points: Tensor, observed: Tensor) -> Tensor:
        """Return field minus observation, (N, 1)."""
        return self.field(points).value - observed

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stored graph."""
        u = self.field(points)
        lambda2 = torch.exp(self.log_lambda2)
        return {
            "u": u.value.squeeze(-1),
            "residual": burgers(u, self.lambda1, lambda2).squeeze(-1),
            "lambda1": each(self.lambda1, points),
            "lambda2": each(lambda2, points),
        }


def observed_rows(size: int, seed: int) -> list[int]:
    """Return the rows of the flattened grid that the inverse fit uses; the others are held out."""
    return [int(row) for row in chosen(OBSERVATIONS, size, seed)]


def inverse_problem(data: Arrays, settings: Settings) -> Reference:
    """Return Burgers, inverse: both coefficients from 2,000 points of the field."""
    rows = observed_rows(data["u"].size, settings.seed)
    seen = grid(data["x"], data["t"])[rows]
    values = column(data["u"].ravel()[rows])
    candidates = uniform(LOW, (1.0, 0.99), 8 * settings.points)
    draw = adaptive(Inverse.residual, candidates, settings.points)
    terms = [
        Term("sensors", Inverse.misfit, (seen, values), weight=100.0),
        Term("equation", Inverse.residual, draw),
    ]
    return Reference(Inverse(settings), terms, LOW, HIGH, {"residual": 150.0})
