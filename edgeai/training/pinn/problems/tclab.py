"""A heater that is never measured: TCLab's energy balance from one sensor (real hardware).

    CpH TH' = Ua (Tamb - TH) + Ub (TS - TH) + alpha P u
    CpS TS' = Ub (TH - TS)

TH heater, TS sensor (measured), u heater power in %, alpha P = 0.032 W/%, Tamb the first reading.
One network gives both temperatures over the 900 s of a run; the equation holds on all of it, the
sensor speaks on the first `seconds`. With 300 s of sensor the rest is a prediction.

What T1 can tell: eliminating TH leaves  CpH tau TS'' + (CpH + CpS + Ua tau) TS' + Ua TS = input,
tau = CpS/Ub: three coefficients for four parameters. Ua is one of them; CpH + CpS follows within a
few per cent because CpS is small; Ub and CpS alone cannot be known (`measures.tclab` prints it).
A heater that is only switched on tells its lag badly too: for a prediction, give the lag that
another run of the same hardware told (`known` in the recipe).

Source: model and data of dowlinglab/pyomo-doe (BSD-3).
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from edgeai.training.pinn import jets
from edgeai.training.pinn.jets import Jet, coordinates
from edgeai.training.pinn.loss import Term
from edgeai.training.pinn.networks import Mlp
from edgeai.training.pinn.problems.reference import Arrays, Reference, Settings, column, each

WATT_PER_PERCENT = 0.032
RUN_SECONDS = 900.0
FIRST_SECONDS = 60.0
GUESS = {"Ua": 0.05, "tau": 10.0, "CpH": 8.0, "CpS": 0.3}
"""W/K, s, J/K, J/K; Ub = CpS/tau."""
SENSOR_NOISE = 0.3
"""degC: the sensor's step is 0.32, and the model's own error is of that size."""
TOLERANCES = (0.003, 0.03)
"""W and degC to which the balances must hold; the heater gives up to 3.2 W."""
GUESS_SPREAD, KNOWN_SPREAD = 1.0, 0.01
"""Of the logarithms: a guess is trusted within a factor of e, what is known within 1 %."""
RISE = 40.0
"""degC, size of the temperatures above ambient."""


class Heater(nn.Module):
    """Both temperatures over time and the four parameters."""

    def __init__(self, settings: Settings, ambient: float) -> None:
        super().__init__()
        self.network = Mlp([2, *settings.hidden, 2])
        self.log_parameters = nn.Parameter(torch.log(torch.tensor(list(GUESS.values()))))
        self.register_buffer("ambient", torch.tensor([ambient]))

    def temperatures(self, points: Tensor) -> Jet:
        """Return TH and TS above ambient at points (t, u), (N, 2) degC."""
        t = coordinates(points, ("t", ""))[0:1]
        # The first minute is steep: a second clock runs fast there.
        early = jets.exp(t * (-1.0 / FIRST_SECONDS))
        slow = t * (2.0 / RUN_SECONDS) - 1.0
        rises: Jet = (1.0 - early) * self.network(jets.cat([slow, 2.0 * early - 1.0])) * RISE
        return rises

    def balances(self, points: Tensor) -> Tensor:
        """Return the imbalance of the whole, W, and of the sensor over Ub, degC; (N, 2).

        Divided by Ub, the sensor's balance cannot be met by making all of it small.
        """
        rise, parameters = self.temperatures(points), torch.exp(self.log_parameters)
        loss, lag, heater, sensor = parameters.unbind()
        hot, sensed = rise.value[:, 0:1], rise.value[:, 1:2]
        hot_rate, sensed_rate = rise.d("t")[:, 0:1], rise.d("t")[:, 1:2]
        stored = heater * hot_rate + sensor * sensed_rate
        whole = stored + loss * hot - WATT_PER_PERCENT * points[:, 1:2]
        return torch.cat([whole, lag * sensed_rate + sensed - hot], dim=1)

    def residual(self, points: Tensor) -> Tensor:
        """Return the balances over their tolerances, (N, 2)."""
        return self.balances(points) / torch.tensor(TOLERANCES).to(points)

    def misfit(self, points: Tensor, observed: Tensor) -> Tensor:
        """Return (TS - observed) / noise, (N, 1)."""
        sensed = self.temperatures(points).value[:, 1:2] + self.get_buffer("ambient")
        return (sensed - observed) / SENSOR_NOISE

    def drift(self, expected: Tensor, spread: Tensor) -> Tensor:
        """Return how far the parameters are from what is expected, (1, 4), over its spread."""
        return (self.log_parameters - torch.log(expected)) / spread

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stored graph."""
        temperatures = self.temperatures(points).value + self.get_buffer("ambient")
        parameters = torch.exp(self.log_parameters)
        found = {name: each(parameters[i], points) for i, name in enumerate(GUESS)}
        return {"temperatures": temperatures, "residual": self.balances(points), **found}


def problem(data: Arrays, settings: Settings, seconds: float) -> Reference:
    """TCLab: four parameters and the hidden heater from T1 of the first `seconds`."""
    points = torch.from_numpy(np.stack([data["Time"], data["Q1"]], axis=1).astype(float))
    seen = np.asarray(data["Time"]) <= seconds
    observed = column(data["T1"])[seen]
    expected = torch.tensor([[settings.known.get(name, GUESS[name]) for name in GUESS]])
    spread = torch.tensor(
        [[KNOWN_SPREAD if name in settings.known else GUESS_SPREAD for name in GUESS]]
    )
    prior = (expected, spread)
    terms = [
        # The first stage solves the equation with the guess held; else the parameters run away
        # while the field is still far from any solution.
        Term("hold", Heater.drift, prior, weight=1e6),
        Term("prior", Heater.drift, prior, weight=4.0 / float(seen.sum())),
        Term("sensor", Heater.misfit, (points[seen], observed)),
        Term("equation", Heater.residual, (points[:: max(1, len(points) // settings.points)],)),
    ]
    module = Heater(settings, float(data["T1"][0]))
    return Reference(module, terms, (0.0, 0.0), (RUN_SECONDS, 100.0), {"residual": 60.0})


whole_run = partial(problem, seconds=RUN_SECONDS)
first_300_seconds = partial(problem, seconds=300.0)
