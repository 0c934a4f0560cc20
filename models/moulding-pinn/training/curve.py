"""The learning curve: the accuracy of a network without physics over the number of labels.

The network without physics has the same features and sizes (encoder, operator and as many modes),
but all its weights are free. It is fitted to labelled windows: hidden field, coolant coefficient
and contact coefficient.
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

HELD_SHARE = 0.25  # of the labels, to choose the best weights during the fit
POINTS = len(signals.FIELD_TIMES) * (len(signals.PART_DEPTHS) + len(signals.STEEL_DEPTHS))


@dataclass(frozen=True, eq=False)
class Labelled:
    """One window of each run with its labels.

    Attributes:
        windows: (N, W, 9).
        field: (N, T, P) degC, at the field's points in the true phases.
        logs: (N, 2), logarithms of coolant and contact coefficient.
        at: Function from times (N, T) in s since the start of filling to the field.
    """

    windows: Tensor
    field: Tensor
    logs: Tensor
    at: Callable[[Floats], Floats]


def labelled(runs: Runs, window: int, rng: np.random.Generator) -> Labelled:
    """Return a window of each run, with a complete cycle at its end, and its labels."""
    count, length = runs.values.shape[:2]
    ends = rng.integers(length - 200, length - 60, count)
    everyone = np.arange(count)
    shot = measure.cycle_at(runs, everyone, ends)
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


class FreeNetwork(nn.Module):
    """The network without physics."""

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
        """Return the field (N, T * P) in degC and the logarithms (N, 2)."""
        latent = self.encoder(aligned)
        inputs = network.linear_inputs(latent["melt"], latent["water"], latent["profile"])
        amplitude = self.operator(latent["conditions"], inputs)
        return (
            self.trunk(amplitude) * self.spread + self.centre,
            self.logs(amplitude) * 0.1 + self.log_centre,
        )


def fit_free(labels: Labelled, encoder: nn.Module, steps: int, seed: int) -> FreeNetwork:
    """Fit the network without physics; return the weights that are best on held-out labels."""
    torch.manual_seed(seed)
    free = FreeNetwork(encoder)
    flat = labels.field.flatten(1)
    held = max(1, round(len(flat) * HELD_SHARE))
    free.centre.copy_(flat[held:].mean(0))
    free.spread.copy_(flat[held:].std(0) + 0.1)
    free.log_centre.copy_(labels.logs[held:].mean(0))
    with torch.no_grad():
        aligned = network.Aligner(labels.windows.shape[1])(labels.windows)

    def part(rows: Tensor) -> dict[str, Tensor]:
        return {name: values[rows] for name, values in aligned.items()}

    optimiser = torch.optim.AdamW(free.parameters(), 1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, kept = float("inf"), free.state_dict()
    everyone = torch.arange(len(flat))
    for step in range(steps):
        rows = held + torch.randint(len(flat) - held, (min(128, len(flat) - held),))
        field, logs = free(part(rows))
        loss = ((field - flat[rows]) / free.spread).square().mean()
        loss = loss + ((logs - labels.logs[rows]) / 0.1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 20 == 0 or step == steps - 1:
            with torch.no_grad():
                field, _ = free(part(everyone[:held]))
                missed = (field - flat[:held]).square().sum().item()
            if missed < best:
                best = missed
                kept = {name: values.clone() for name, values in free.state_dict().items()}
    free.load_state_dict(kept)
    return free


def field_error(field: Tensor, truth: Tensor) -> float:
    """Return the relative L2 error over all windows, in degC."""
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
    """Return the errors on the test windows for each number of labels.

    Returns:
        Rows with `labels`, `without_physics` and `with_physics` (relative L2 error of the hidden
        field) and their `ratio`. The physics-informed network uses none of the labels.
    """
    with torch.no_grad():
        outputs = monitor(test.windows)
        # The network also estimates the phases, so it returns the times of its field.
        truth = torch.from_numpy(test.at(outputs["field_time"].double().numpy())).float()
        own = field_error(outputs["field"].flatten(1), truth)
        aligned = network.Aligner(test.windows.shape[1])(test.windows)
    rows: list[dict[str, Any]] = []
    for done, count in enumerate(curve.labels, 1):
        some = replace(
            labels,
            windows=labels.windows[:count],
            field=labels.field[:count],
            logs=labels.logs[:count],
        )
        free = fit_free(some, monitor.encoder, curve.steps, seed + count)
        with torch.no_grad():
            other = field_error(free(aligned)[0], test.field)
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
