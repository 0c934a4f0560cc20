"""The Lorenz system's parameters from 25 observations of its three states, t in [0, 3].

    x' = sigma (y - x),   y' = x (rho - z) - y,   z' = x y - beta z

The first observation is the initial state; the ansatz x = x0 + 20 t N(t) fulfils it.

Source: E. N. Lorenz, J. Atmos. Sci. 20 (1963) 130; data of DeepXDE's demo.
"""

import math

import torch
from torch import Tensor, nn

from edgeai.training.pinn.jets import Jet, coordinates
from edgeai.training.pinn.loss import Term
from edgeai.training.pinn.networks import Mlp
from edgeai.training.pinn.problems.reference import Arrays, Reference, Settings, column, each

END = 3.0  # time of the last observation
SIZE = 20.0  # of the states
RATE = 100.0  # size of the states' derivatives
LARGEST_TERM = 300.0  # size of the largest terms, which cancel
PARAMETERS = ("sigma", "rho", "beta")
GUESS = 5.0  # initial value of every parameter


class Lorenz(nn.Module):
    """The three states over time and the three parameters."""

    def __init__(self, settings: Settings, start: Tensor) -> None:
        super().__init__()
        self.network = Mlp([1, *settings.hidden, 3], first_gain=3.0)
        self.log_parameters = nn.Parameter(torch.full((3,), math.log(GUESS)))
        self.register_buffer("start", start.reshape(1, 3))

    def states(self, times: Tensor) -> Jet:
        """Return x, y, z at times (N, 1), (N, 3)."""
        t = coordinates(times, ("t",))
        states: Jet = t * self.network(t * (2.0 / END) - 1.0) * SIZE + self.get_buffer("start")
        return states

    def imbalance(self, times: Tensor) -> Tensor:
        """Return left minus right sides, (N, 3)."""
        states, (sigma, rho, beta) = self.states(times), torch.exp(self.log_parameters).unbind()
        x, y, z = (states.value[:, i : i + 1] for i in range(3))
        right = torch.cat([sigma * (y - x), x * (rho - z) - y, x * y - beta * z], dim=1)
        return states.d("t") - right

    def residual(self, times: Tensor) -> Tensor:
        """Return the imbalance over its size, (N, 3)."""
        return self.imbalance(times) / RATE

    def misfit(self, times: Tensor, observed: Tensor) -> Tensor:
        """Return (state - observation) / size, (N, 3)."""
        return (self.states(times).value - observed) / SIZE

    def forward(self, times: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stored graph."""
        parameters = torch.exp(self.log_parameters)
        found = {name: each(parameters[i], times) for i, name in enumerate(PARAMETERS)}
        return {"states": self.states(times).value, "residual": self.imbalance(times), **found}


def problem(data: Arrays, settings: Settings) -> Reference:
    """Return Lorenz: three parameters from 25 points of each state."""
    times, observed = column(data["t"]), torch.from_numpy(data["y"].copy())
    collocation = torch.linspace(0.0, END, settings.points, dtype=torch.float64)[:, None]
    terms = [
        Term("sensors", Lorenz.misfit, (times, observed), weight=100.0),
        Term("equation", Lorenz.residual, (collocation,)),
    ]
    return Reference(
        Lorenz(settings, observed[0]), terms, (0.0,), (END,), {"residual": LARGEST_TERM}
    )
