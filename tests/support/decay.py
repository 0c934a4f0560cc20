"""A small problem with a known solution, and a fit of it that can be stopped and resumed."""

import torch
from torch import nn

from edgeai.training.pinn.fitting import fit
from edgeai.training.pinn.jets import coordinates
from edgeai.training.pinn.loss import Term, adaptive, uniform
from edgeai.training.pinn.networks import Mlp
from edgeai.training.pinn.stages import Adam, Lbfgs, Newton


class Decay(nn.Module):
    """u' = -rate u, u(0) = 1 by the form 1 + t N(t)."""

    def __init__(self, rate=None):
        super().__init__()
        torch.manual_seed(0)
        self.network = Mlp([1, 6, 6, 1])
        self.rate = nn.Parameter(torch.tensor([0.3]), requires_grad=rate is None)
        if rate is not None:
            self.rate.data.fill_(rate)
        self.double()

    def field(self, t):
        z = coordinates(t, ("t",))
        return 1.0 + z * self.network(z - 1.0)

    def residual(self, t):
        u = self.field(t)
        return u.d("t") + self.rate * u.value

    def misfit(self, t, observed):
        return self.field(t).value - observed


TIMES = torch.linspace(0.0, 2.0, 41, dtype=torch.float64)[:, None]


DRAWN = uniform((0.0,), (2.0,), 200)


def equation(points=None):
    return Term("equation", Decay.residual, points or (lambda _module, draw: (DRAWN(draw),)))


STAGES = [
    Adam(steps=40, balance_every=10),
    Lbfgs(steps=12, iterations=4, redraw_every=5),
    Newton(steps=12, redraw_every=5),
]


def resumable(module, **options):
    seen = TIMES[::10]
    greedy = adaptive(Decay.residual, uniform((0.0,), (2.0,), 300), 100)
    terms = [equation(greedy), Term("sensor", Decay.misfit, (seen, torch.exp(-0.7 * seen)))]
    return fit(module, terms, STAGES, seed=3, **options)


def fit_and_report(checkpoint, connection):
    """Fit with a checkpoint at each step, and send stage and step after each."""
    resumable(
        Decay(), checkpoint=checkpoint, checkpoint_seconds=0.0,
        progress=lambda stage, done, _total, _note: connection.send((stage, done)),
    )  # fmt: skip
