"""A coefficient that varies in space, from noisy observations of the state.

Poisson: -div(a grad u) = f on [0,1]², u observed at 2,500 points with noise of 0.1 (u <= 1).
Heat: u_t - div(a grad u) = f on [-1,1]² x [0,1], the same noise.

Given are the source f and a on the boundary; u is known only with noise. Two networks, one for u
and one for a, fulfil the equation to well below the noise, so that the noise averages out over all
states that the equation allows. Where the data do not determine a, a prior does (the term
`smooth`): at first it assumes that a varies by about its mean on the boundary over half the domain;
then its weight is estimated from the data (`evidence`). The reference networks of PINNacle reach an
error of 1.57 on the heat problem, because they give noise and equation the same weight.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from edgeai.training.pinn import jets
from edgeai.training.pinn.jets import Jet, coordinates
from edgeai.training.pinn.loss import Points, Term, uniform
from edgeai.training.pinn.networks import Mlp
from edgeai.training.pinn.problems.reference import Arrays, Reference, Settings, column

NOISE = 0.1  # standard deviation of the observations of u
EDGE_WEIGHT = 1e3
LOOSE_WEIGHT = 1e-3
PATCHES = 12  # independent curvatures of a: four quarters of the domain, three derivatives each


@dataclass(frozen=True)
class Setup:
    """The given quantities of a problem.

    Attributes:
        low: Lower corner of the domain; the last entry is the time, unless the problem is steady.
        high: Upper corner.
        steady: Whether the state does not depend on time.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    steady: bool


POISSON = Setup((0.0, 0.0), (1.0, 1.0), steady=True)
HEAT = Setup((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0), steady=False)


def true_coefficient(x: Jet, y: Jet, *, steady: bool) -> Jet:
    """Return the a from which source and boundary values follow; the fit uses only those."""
    if steady:
        shape = 1.0 + x * x + y * y + (x - 1.0) * (x - 1.0) + (y - 1.0) * (y - 1.0)
        return jets.reciprocal(shape)
    return jets.sin(math.pi * x) * jets.sin(math.pi * y) + 2.0


def source(points: Tensor, *, steady: bool) -> Tensor:
    """Return the known source f, (N, 1)."""
    if steady:
        z = coordinates(points, ("x", "y"), ("xx", "yy"))
        u = jets.sin(math.pi * z[0:1]) * jets.sin(math.pi * z[1:2])
    else:
        z = coordinates(points, ("x", "y", "t"), ("xx", "yy"))
        waves = jets.sin(math.pi * z[0:1]) * jets.sin(math.pi * z[1:2])
        u = jets.exp(-z[2:3]) * waves
    return balance(u, true_coefficient(z[0:1], z[1:2], steady=steady), steady=steady)


def balance(u: Jet, a: Jet, *, steady: bool) -> Tensor:
    """Return [u_t] - div(a grad u), (N, 1)."""
    flow = a.d("x") * u.d("x") + a.d("y") * u.d("y")
    spread = a.value * (u.d("x", "x") + u.d("y", "y"))
    return -(flow + spread) if steady else u.d("t") - flow - spread


class InverseField(nn.Module):
    """The state and the coefficient."""

    def __init__(self, settings: Settings, setup: Setup) -> None:
        super().__init__()
        self.setup = setup
        self.state = Mlp([len(setup.low), *settings.hidden, 1])
        self.coefficient = Mlp([2, *settings.hidden, 1])

    def fields(self, points: Tensor) -> tuple[Jet, Jet]:
        """Return u and a, each (N, 1)."""
        names = ("x", "y") if self.setup.steady else ("x", "y", "t")
        z = coordinates(points, names, ("xx", "yy", "xy"))
        centre = [0.5 * (a + b) for a, b in zip(self.setup.low, self.setup.high, strict=True)]
        half = [0.5 * (b - a) for a, b in zip(self.setup.low, self.setup.high, strict=True)]
        inner = (z - torch.tensor(centre).to(points)) / torch.tensor(half).to(points)
        return self.state(inner), self.coefficient(inner[0:2]) + 1.0

    def misfit(self, points: Tensor, observed: Tensor) -> Tensor:
        """Return (u - observation) / noise, (N, 1)."""
        return (self.fields(points)[0].value - observed) / NOISE

    def residual(self, points: Tensor) -> Tensor:
        """Return the equation's residual over the noise of u, (N, 1)."""
        u, a = self.fields(points)
        steady = self.setup.steady
        return (balance(u, a, steady=steady) - source(points, steady=steady)) / NOISE

    def edge(self, points: Tensor, known: Tensor) -> Tensor:
        """Return a - known on the boundary, (N, 1)."""
        return self.fields(points)[1].value - known

    def bend(self, points: Tensor) -> Tensor:
        """Return the second derivatives of a, (N, 3)."""
        a = self.fields(points)[1]
        return torch.cat([a.d("x", "x"), math.sqrt(2.0) * a.d("x", "y"), a.d("y", "y")], dim=1)

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stored graph."""
        u, a = self.fields(points)
        steady = self.setup.steady
        residual = balance(u, a, steady=steady) - source(points, steady=steady)
        return {
            "u": u.value.squeeze(-1),
            "a": a.value.squeeze(-1),
            "residual": residual.squeeze(-1),
        }


def edges(setup: Setup, count: int) -> Points:
    """Return points on the four sides and the values of a there."""
    share = torch.linspace(0.0, 1.0, count, dtype=torch.float64)
    low, high = setup.low, setup.high
    sides = []
    for axis in (0, 1):
        for end in (low[axis], high[axis]):
            points = torch.zeros(count, len(low), dtype=torch.float64)
            points[:, 1 - axis] = low[1 - axis] + (high[1 - axis] - low[1 - axis]) * share
            points[:, axis] = end
            sides.append(points)
    where = torch.cat(sides)
    known = true_coefficient(Jet(where[:, 0:1]), Jet(where[:, 1:2]), steady=setup.steady)
    return where, known.value


def _problem(data: Arrays, settings: Settings, setup: Setup) -> Reference:
    key = "xy" if setup.steady else "xyt"
    seen = (torch.from_numpy(np.array(data[key], float)), column(data["u_noisy"]))
    generator = Generator().manual_seed(settings.seed)
    inside = uniform(setup.low, setup.high, settings.points)(generator)
    edge = edges(setup, 50)
    half = 0.5 * (setup.high[0] - setup.low[0])
    bend = float(edge[1].mean()) / half**2
    module = InverseField(settings, setup)
    terms = [
        Term("sensors", InverseField.misfit, seen),
        Term("equation", InverseField.residual, (inside,)),
        # For the first stage: with the full weight from the start, Gauss-Newton is slow.
        Term("equation, loose", InverseField.residual, (inside,), weight=LOOSE_WEIGHT),
        Term("boundary of a", InverseField.edge, edge, weight=EDGE_WEIGHT),
        Term("smooth", InverseField.bend, (inside,), weight=PATCHES / len(seen[0]) / bend**2),
    ]
    return Reference(module, terms, setup.low, setup.high, {"residual": 20.0})


def poisson_problem(data: Arrays, settings: Settings) -> Reference:
    """Return Poisson: a from noisy u."""
    return _problem(data, settings, POISSON)


def heat_problem(data: Arrays, settings: Settings) -> Reference:
    """Return heat conduction: a from noisy u."""
    return _problem(data, settings, HEAT)
