"""The learning curve: what a network of the same size makes of labels alone, without physics.

The rival has the same aligned features and the same sizes: encoder, operator network and a trunk of
as many modes, all free. It is fitted on the labelled windows alone: hidden field, coolant and
contact coefficient.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeai.progress import Progress
from edgeai.training.pinn import Floats

from . import measure, network, signals
from .monitor import Monitor
from .recipe import Curve
from .runs import Runs
from .windows import MODES

HELD_SHARE = 0.25
"""Of the labels, by which the rival's fit is stopped."""
POINTS = len(signals.FIELD_TIMES) * (len(signals.PART_DEPTHS) + len(signals.STEEL_DEPTHS))


@dataclass(frozen=True, eq=False)
class Labelled:
    """One window of each run with what is hidden.

    Attributes:
        windows: (N, W, 9).
        field: (N, T, P) degC, at the field's places in the true phases.
        logs: (N, 2) logarithms of coolant and contact coefficient.
        at: The field at other times (N, T), s since the start of filling.
    """

    windows: Tensor
    field: Tensor
    logs: Tensor
    at: Callable[[Floats], Floats]


def labelled(runs: Runs, window: int, rng: np.random.Generator) -> Labelled:
    """A window of each run whose shot the run holds, and the truth at the field's times."""
    count, length = runs.values.shape[:2]
    ends = rng.integers(length - 200, length - 60, count)
    everyone = np.arange(count)
    shot = measure.shot_of(runs, everyone, ends)
    windows = np.stack(
        [runs.values[r, e - window + 1 : e + 1] for r, e in zip(everyone, ends, strict=True)]
    )
    plan = runs.cycles
    cycle = shot["cycle"]
    fill, lost, eject = (
        getattr(plan, f"{name}_seconds")[everyone, cycle] for name in ("fill", "lost", "eject")
    )
    starts = np.stack([np.zeros(count), fill, lost], 1)
    spans = np.stack([fill, lost - fill, eject - lost], 1)
    times = np.stack([starts[:, p] + spans[:, p] * z * z for p, z in signals.FIELD_TIMES], 1)
    field = measure.true_field(runs, everyone, shot["start"], times)
    logs = np.log(
        np.stack(
            [plan.coolant_w_m2_k[everyone, cycle], measure.mean_contact(runs, everyone, cycle)], 1
        )
    )

    def at(times: Floats) -> Floats:
        return measure.true_field(runs, everyone, shot["start"], times)

    made = [torch.from_numpy(part).float() for part in (windows, field, logs)]
    return Labelled(made[0], made[1], made[2], at)


class Rival(nn.Module):
    """The same network without physics."""

    centre: Tensor
    spread: Tensor
    log_centre: Tensor

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.operator = network.Encoder(), network.Operator()
        for name, values in encoder.named_buffers():
            getattr(self.encoder, name).copy_(values)
        self.trunk = nn.Linear(MODES, POINTS)
        self.logs = nn.Linear(MODES, 2)
        self.register_buffer("centre", torch.zeros(POINTS))
        self.register_buffer("spread", torch.ones(POINTS))
        self.register_buffer("log_centre", torch.zeros(2))

    def forward(self, aligned: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Field (N, T * P) degC and logarithms (N, 2)."""
        latent = self.encoder(aligned)
        inputs = network.linear_inputs(latent["melt"], latent["water"], latent["profile"])
        amplitude = self.operator(latent["conditions"], inputs)
        return (
            self.trunk(amplitude) * self.spread + self.centre,
            self.logs(amplitude) * 0.1 + self.log_centre,
        )


def fit_rival(labels: Labelled, encoder: nn.Module, steps: int, seed: int) -> Rival:
    """Fit the rival; the weights of its best moment on held labels are kept."""
    torch.manual_seed(seed)
    rival = Rival(encoder)
    flat = labels.field.flatten(1)
    held = max(1, round(len(flat) * HELD_SHARE))
    rival.centre.copy_(flat[held:].mean(0))
    rival.spread.copy_(flat[held:].std(0) + 0.1)
    rival.log_centre.copy_(labels.logs[held:].mean(0))
    with torch.no_grad():
        aligned = network.Aligner(labels.windows.shape[1])(labels.windows)

    def part(rows: Tensor) -> dict[str, Tensor]:
        return {name: values[rows] for name, values in aligned.items()}

    optimiser = torch.optim.AdamW(rival.parameters(), 1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, kept = float("inf"), rival.state_dict()
    everyone = torch.arange(len(flat))
    for step in range(steps):
        rows = held + torch.randint(len(flat) - held, (min(128, len(flat) - held),))
        field, logs = rival(part(rows))
        loss = ((field - flat[rows]) / rival.spread).square().mean()
        loss = loss + ((logs - labels.logs[rows]) / 0.1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 20 == 0 or step == steps - 1:
            with torch.no_grad():
                field, _ = rival(part(everyone[:held]))
                missed = (field - flat[:held]).square().sum().item()
            if missed < best:
                best = missed
                kept = {name: values.clone() for name, values in rival.state_dict().items()}
    rival.load_state_dict(kept)
    return rival


def field_error(field: Tensor, truth: Tensor) -> float:
    """Relative L2 over all windows, degC."""
    wrong = (field - truth.flatten(1)).square().sum()
    return float(torch.sqrt(wrong / truth.square().sum()))


def learning_curve(
    monitor: Monitor,
    labels: Labelled,
    test: Labelled,
    curve: Curve,
    *,
    seed: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Errors on the test windows by number of labels.

    Returns:
        Per number: `labels`, `without_physics` and `with_physics` (relative L2 of the hidden
        field), and their `ratio`. The physics-informed network uses none of the labels.
    """
    with torch.no_grad():
        told = monitor(test.windows)
        # It says itself at which times its field is: the phases are not known to it either.
        truth = torch.from_numpy(test.at(told["field_time"].double().numpy())).float()
        own = field_error(told["field"].flatten(1), truth)
        aligned = network.Aligner(test.windows.shape[1])(test.windows)
    rows: list[dict[str, Any]] = []
    for done, count in enumerate(curve.labels, 1):
        some = replace(
            labels,
            windows=labels.windows[:count],
            field=labels.field[:count],
            logs=labels.logs[:count],
        )
        rival = fit_rival(some, monitor.encoder, curve.steps, seed + count)
        with torch.no_grad():
            other = field_error(rival(aligned)[0], test.field)
        rows.append(
            {
                "labels": count,
                "without_physics": round(other, 5),
                "with_physics": round(own, 5),
                "ratio": round(other / own, 2),
            }
        )
        progress("curve", done, len(curve.labels), f"{count} labels: {other:.4f} against {own:.4f}")
    return rows
