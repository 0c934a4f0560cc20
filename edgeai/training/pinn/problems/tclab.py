"""TCLab: heater temperature and energy balance from one sensor (real hardware).

    CpH TH' = Ua (Tamb - TH) + Ub (TS - TH) + alpha P u
    CpS TS' = Ub (TH - TS)

TH is the heater's temperature (not measured), TS the sensor's (measured as T1), u the heater power
in %, alpha P = 0.032 W/%, Tamb the first reading. One network gives both temperatures over the
900 s of a run. The equation holds over the whole run; readings are used for the first `seconds`
only, so with 300 s of readings the rest is a prediction.

Identifiability: eliminating TH leaves CpH tau TS'' + (CpH + CpS + Ua tau) TS' + Ua TS = input with
tau = CpS/Ub, three coefficients for four parameters. Ua is one of them; CpH + CpS follows within a
few per cent because CpS is small; Ub and CpS cannot be identified (`measures.tclab` gives the
spread). A single step of the heater determines tau poorly: for a prediction, give tau from another
run of the same hardware (`known` in the recipe).

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
FIRST_SECONDS = 60.0  # time constant of the fast change at the start
GUESS = {"Ua": 0.05, "tau": 10.0, "CpH": 8.0, "CpS": 0.3}
"""Initial values in W/K, s, J/K and J/K; Ub = CpS/tau."""
SENSOR_NOISE = 0.3
"""degC; the sensor's resolution is 0.32 degC, and the model's error has the same size."""
TOLERANCES = (0.003, 0.03)
"""Sizes of the two residuals, W and degC; the heater's power is up to 3.2 W."""
GUESS_SPREAD = 1.0  # prior deviation of a guessed parameter's logarithm: a factor of e
KNOWN_SPREAD = 0.01  # prior deviation of a known parameter's logarithm: 1 %
RISE = 40.0  # degC, size of the temperatures above ambient


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
        # The temperatures change fast in the first minute: add an input that resolves it.
        early = jets.exp(t * (-1.0 / FIRST_SECONDS))
        slow = t * (2.0 / RUN_SECONDS) - 1.0
        rises: Jet = (1.0 - early) * self.network(jets.cat([slow, 2.0 * early - 1.0])) * RISE
        return rises

    def balances(self, points: Tensor) -> Tensor:
        """Return the imbalance of heater and sensor together, W, and of the sensor over Ub, degC.

        Shape (N, 2). Without the division by Ub, the sensor's balance would hold trivially for
        small CpS and Ub.
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
        """Return ln(parameter / expected) over the prior's spread, (1, 4)."""
        return (self.log_parameters - torch.log(expected)) / spread

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the stored graph."""
        temperatures = self.temperatures(points).value + self.get_buffer("ambient")
        parameters = torch.exp(self.log_parameters)
        found = {name: each(parameters[i], points) for i, name in enumerate(GUESS)}
        return {"temperatures": temperatures, "residual": self.balances(points), **found}


def problem(data: Arrays, settings: Settings, seconds: float) -> Reference:
    """Return TCLab: four parameters and the heater's temperature from T1 of the first `seconds`."""
    points = torch.from_numpy(np.stack([data["Time"], data["Q1"]], axis=1).astype(float))
    seen = np.asarray(data["Time"]) <= seconds
    observed = column(data["T1"])[seen]
    expected = torch.tensor([[settings.known.get(name, GUESS[name]) for name in GUESS]])
    spread = torch.tensor(
        [[KNOWN_SPREAD if name in settings.known else GUESS_SPREAD for name in GUESS]]
    )
    prior = (expected, spread)
    terms = [
        # The first stage solves the equation with fixed parameters. Otherwise they diverge while
        # the field is still far from a solution.
        Term("hold", Heater.drift, prior, weight=1e6),
        Term("prior", Heater.drift, prior, weight=4.0 / float(seen.sum())),
        Term("sensor", Heater.misfit, (points[seen], observed)),
        Term("equation", Heater.residual, (points[:: max(1, len(points) // settings.points)],)),
    ]
    module = Heater(settings, float(data["T1"][0]))
    return Reference(module, terms, (0.0, 0.0), (RUN_SECONDS, 100.0), {"residual": 60.0})


whole_run = partial(problem, seconds=RUN_SECONDS)
first_300_seconds = partial(problem, seconds=300.0)
