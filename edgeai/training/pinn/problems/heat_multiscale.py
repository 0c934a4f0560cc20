"""Heat conduction with two scales, forward: u_t = u_xx/(500 pi)² + u_yy/pi² on [0,1]² x [0,5].

u = 0 on the boundary, u(x, y, 0) = sin(20 pi x) sin(pi y). A dense network cannot represent 10
waves across the domain, so its inputs are sines and cosines. Their wave numbers are those of the
initial state, found by its sine transform; the network learns the change in time and the mixing of
the waves. The ansatz u = u0 + t N fulfils the initial condition; the boundary is a term.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor, nn

from edgeai.training.pinn import jets
from edgeai.training.pinn.jets import Jet, coordinates
from edgeai.training.pinn.loss import Points, Term, uniform
from edgeai.training.pinn.networks import FourierFeatures, Mlp
from edgeai.training.pinn.problems.reference import Arrays, Reference, Settings

LOW, HIGH = (0.0, 0.0, 0.0), (1.0, 1.0, 5.0)
DIFFUSIVITY_X, DIFFUSIVITY_Y = 1.0 / (500.0 * math.pi) ** 2, 1.0 / math.pi**2
MODES = 64  # of the sine transform, along each axis
ENERGY_SHARE = 0.01  # wave numbers with a larger share of the energy are used


def start(x: Jet, y: Jet) -> Jet:
    """Return the initial state, (N, 1)."""
    return jets.sin(20.0 * math.pi * x) * jets.sin(math.pi * y)


def wave_numbers() -> tuple[list[float], list[float]]:
    """Return the wave numbers along x and y with over 1 % of the initial state's energy."""
    nodes = (np.arange(MODES) + 0.5) / MODES
    sines = np.sin(np.pi * np.outer(np.arange(1, MODES + 1), nodes)) * 2.0 / MODES
    at = torch.from_numpy(nodes.reshape(-1, 1))
    values = start(Jet(at), Jet(at.reshape(1, -1))).value.numpy()
    energy = (sines @ values @ sines.T) ** 2  # (modes of x, modes of y)
    kept = [energy.sum(axis=axis) > ENERGY_SHARE * energy.sum() for axis in (1, 0)]
    along_x, along_y = ((np.flatnonzero(part) + 1) * math.pi for part in kept)
    return along_x.tolist(), along_y.tolist()


class HeatMultiscale(nn.Module):
    """The field, with the initial condition built in."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        along_x, along_y = wave_numbers()
        self.waves_x = FourierFeatures([[k] for k in along_x])
        self.waves_y = FourierFeatures([[k] for k in along_y])
        self.network = Mlp([2 * (len(along_x) + len(along_y)) + 1, *settings.hidden, 1])

    def field(self, points: Tensor) -> Jet:
        """Return u, (N, 1)."""
        z = coordinates(points, ("x", "y", "t"), ("xx", "yy"))
        x, y, t = z[0:1], z[1:2], z[2:3]
        features = [self.waves_x(x), self.waves_y(y), t * 0.4 - 1.0]
        inner: Jet = self.network(jets.cat(features))
        return start(x, y) + t * inner

    def residual(self, points: Tensor) -> Tensor:
        """Return u_t - a u_xx - b u_yy, (N, 1)."""
        return heat(self.field(points))

    def edge(self, points: Tensor) -> Tensor:
        """Return u on the boundary, (N, 1)."""
        return self.field(points).value

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stored graph."""
        u = self.field(points)
        return {"u": u.value.squeeze(-1), "residual": heat(u).squeeze(-1)}


def heat(u: Jet) -> Tensor:
    """Return u_t - a u_xx - b u_yy, (N, 1)."""
    return u.d("t") - DIFFUSIVITY_X * u.d("x", "x") - DIFFUSIVITY_Y * u.d("y", "y")


def boundary(count: int, ends: Sequence[float]) -> Points:
    """Return random points on the four sides of the unit square, (count, 3)."""
    generator = Generator().manual_seed(count)
    points = uniform((0.0, 0.0, 0.0), (1.0, 1.0, ends[2]), count)(generator)
    side = torch.arange(count) % 4
    points[side < 2, 0] = (side[side < 2] % 2).double()
    points[side >= 2, 1] = (side[side >= 2] % 2).double()
    return (points,)


def problem(_data: Arrays, settings: Settings) -> Reference:
    """Return heat conduction with two scales; it uses no data."""
    inside = uniform(LOW, HIGH, settings.points)
    terms = [
        Term("equation", HeatMultiscale.residual, lambda _module, draw: (inside(draw),)),
        Term("boundary", HeatMultiscale.edge, boundary(settings.points // 2, HIGH), weight=10.0),
    ]
    return Reference(HeatMultiscale(settings), terms, LOW, HIGH, {"residual": 1.0})
