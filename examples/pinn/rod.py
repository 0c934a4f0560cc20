"""A cooling rod: your own torch network and its equation, for `edgeai export`.

    edgeai export examples/pinn/rod.py --output rod.onnx

A rod of 100 mm with both ends at 20 degC has the initial temperature 20 + 80 sin(pi x / L) degC.
The network is plain torch. It is trained in a few seconds on the heat equation only,

    T_t = a T_xx,

with the diffusivity a = 4 mm²/s of stainless steel. The closed form is
20 + 80 sin(pi x / L) exp(-a (pi / L)² t).
"""

import math

import torch
from torch import nn

LENGTH_MM, SECONDS, DIFFUSIVITY = 100.0, 200.0, 4.0  # mm, s, mm²/s


class Rod(nn.Module):
    """The temperature in degC at points (x in mm, t in s)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)
        )
        self.diffusivity = nn.Parameter(torch.tensor(DIFFUSIVITY), requires_grad=False)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Map (N, 2) to (N, 1); the ansatz fulfils the initial and boundary conditions."""
        x, t = points[:, :1] / LENGTH_MM, points[:, 1:] / SECONDS
        inner = self.inner(torch.cat([2.0 * x - 1.0, 2.0 * t - 1.0], dim=1))
        return 20.0 + 80.0 * (torch.sin(math.pi * x) + t * x * (1.0 - x) * inner)


def equation(fields, _coordinates, parameters):
    """Return the imbalance in degC/s; derivatives are exact, in the units of COORDINATES."""
    temperature = fields["temperature"]
    return temperature.d("t") - parameters["diffusivity"] * temperature.d("x", "x")


def train(steps: int = 25) -> Rod:
    """Train the network on its equation by L-BFGS."""
    from edgeai.training.pinn import AutogradField

    torch.manual_seed(0)
    rod = Rod()
    scale = torch.tensor([LENGTH_MM, SECONDS])
    points = (torch.rand(400, 2) * scale).requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        rod.inner.parameters(), max_iter=20, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        fields = {"temperature": AutogradField(rod(points), points, ("x", "t"))}
        parameters = {"diffusivity": rod.diffusivity}
        total = torch.mean(torch.square(equation(fields, {}, parameters)))
        total.backward()
        return total

    for _ in range(steps):
        optimiser.step(loss)
    return rod


NETWORK = train()
COORDINATES = {"x": "mm", "t": "s"}
FIELDS = {"temperature": "degC"}
PARAMETERS = {"diffusivity": "mm2/s"}
RESIDUAL = {"unit": "degC/s", "scale": 0.3}  # the largest T_t is 80 a (pi / L)²
PROBE = torch.rand(256, 2) * torch.tensor([LENGTH_MM, SECONDS])
