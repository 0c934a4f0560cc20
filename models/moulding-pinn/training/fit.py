"""Fit operator and encoder to the equations; no labels are used.

The operator learns the solutions with the smallest physics loss (`physics`). The encoder learns
from windows made of these solutions (`windows`) which conditions, steel profile and drift explain
the readings. Both fits are stored, and an interrupted training continues from there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeai.progress import Progress

from . import network
from .windows import Batch, Table, Windows

CHECK_EVERY = 500  # steps between two reports of progress and two checkpoints
CONDITION_SCALE = (0.05, 0.05, 0.3)  # errors of ln coolant, ln contact and ln lost that count 1
DRIFT_SCALE_K, MELT_SCALE_K, WATER_SCALE_K = 0.5, 0.3, 0.03  # errors that count 1
PROFILE_WEIGHT = (10.0, 5.0, 2.0, 0.5, 0.5, 0.3)  # of the modes of the steel profile
FIELD_WEIGHT, FIELD_LIMIT = 2.0e3, 0.01  # weight of the field error, and its upper bound
HELD_OUT = 200  # conditions on which the operator is not fitted


@dataclass(frozen=True)
class FitSettings:
    """Sizes and lengths of the fits."""

    conditions: int
    operator_steps: int
    encoder_steps: int
    batch: int
    window: int
    seed: int


def fit_operator(table: Table, settings: FitSettings, progress: Progress) -> network.Operator:
    """Fit the solution operator to the solved conditions."""
    torch.manual_seed(settings.seed)
    count = len(table.conditions)
    kept = max(count - HELD_OUT, count // 2)
    profiles = table.profiles.float()
    target = torch.cat([table.maps[:, :, :2], table.maps[:, :, 2:] @ profiles], 2)
    forced = torch.tensor([1.0, 0.0], dtype=torch.float64)
    periodic = ((table.settled @ forced) @ table.profiles).float()
    operator = network.Operator()
    flat = target.reshape(count, -1)
    operator.base.copy_(flat.mean(0))
    operator.spread.copy_(flat.std(0) + 1e-6)
    optimiser = torch.optim.Adam(operator.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 4e-3, total_steps=settings.operator_steps
    )
    conditions = table.conditions.float()
    size = 256
    for step in range(settings.operator_steps):
        pick, other = torch.randint(kept, (size,)), torch.randint(count, (size,))
        cold = periodic[other] * (torch.rand(size, 1) * 1.1)
        profile = torch.where(torch.rand(size, 1) < 0.5, periodic[pick], cold)
        inputs = torch.cat([torch.ones(size, 1), torch.rand(size, 1) * 0.11 - 0.06, profile], 1)
        wanted = torch.matmul(target[pick], inputs.unsqueeze(-1)).squeeze(-1)
        wrong = operator(conditions[pick], inputs) - wanted
        loss = wrong.square().sum(1).mean() / wanted.square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % CHECK_EVERY == 0 or step == settings.operator_steps - 1:
            note = f"relative error {math.sqrt(loss.item()):.5f}"
            progress("operator", step + 1, settings.operator_steps, note)
    return operator.requires_grad_(False)


def prepare_encoder(windows: Windows, aligner: network.Aligner, batch: int) -> network.Encoder:
    """Return an encoder whose scaling of features and profiles is taken from windows."""
    made = [windows.make(batch) for _ in range(8)]
    features = torch.cat([aligner(part.window)["features"] for part in made])
    encoder = network.Encoder()
    encoder.mean.copy_(features.mean(0))
    encoder.scale.copy_(1.0 / (features.std(0) + 1e-3))
    profiles = torch.cat([part.profile for part in made])
    encoder.profile_mean.copy_(profiles.mean(0))
    encoder.profile_scale.copy_(profiles.std(0))
    return encoder


def encoder_loss(
    latent: dict[str, Tensor], made: Batch, encoder: network.Encoder, operator: network.Operator
) -> Tensor:
    """Return the loss between the encoder's estimates and the true state of the windows."""
    huber = nn.functional.huber_loss
    zero = torch.zeros_like
    free = (latent["conditions"] - made.conditions)[:, : network.FREE] / torch.tensor(
        CONDITION_SCALE
    )
    drift = (latent["offsets"] - made.offsets) / DRIFT_SCALE_K
    profile = (latent["profile"] - made.profile) / encoder.profile_scale
    profile = profile * torch.tensor(PROFILE_WEIGHT)
    levels = torch.stack(
        [
            (latent["melt"] - made.melt_degc) / MELT_SCALE_K,
            (latent["water"] - made.water_degc) / WATER_SCALE_K,
        ],
        1,
    )
    inputs = network.linear_inputs(latent["melt"], latent["water"], latent["profile"])
    amplitude = operator(latent["conditions"], inputs)
    excess = (made.melt_degc - made.water_degc)[:, None]
    field = amplitude * (latent["melt"] - latent["water"])[:, None] / excess - made.amplitudes
    missed = field.square().sum(1)
    spreads = torch.clamp(latent["spreads"], -8.0, 3.0)
    found = torch.stack([missed.sqrt() * 100.0, free[:, 0], free[:, 1]], 1).detach()
    likelihood = (spreads + 0.5 * found.square() * torch.exp(-2.0 * spreads)).mean()
    loss: Tensor = (
        huber(free, zero(free), delta=3.0)
        + huber(drift, zero(drift), delta=3.0)
        + 0.3 * huber(profile, zero(profile), delta=3.0)
        + 0.1 * levels.square().clamp(max=25.0).mean()
        + FIELD_WEIGHT * missed.clamp(max=FIELD_LIMIT).mean()
        + 0.1 * likelihood
    )
    return loss


def fit_encoder(
    table: Table,
    operator: network.Operator,
    settings: FitSettings,
    checkpoint: Path | None,
    progress: Progress,
) -> network.Encoder:
    """Fit the encoder to windows made from the equations."""
    windows = Windows(table, settings.window, settings.seed + 1)
    aligner = network.Aligner(settings.window)
    torch.manual_seed(settings.seed + 2)
    encoder = prepare_encoder(windows, aligner, settings.batch)
    optimiser = torch.optim.Adam(encoder.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2.5e-3, total_steps=settings.encoder_steps, pct_start=0.1
    )
    parts: dict[str, Any] = {"encoder": encoder, "optimiser": optimiser, "schedule": schedule}
    first = resume(checkpoint, parts, windows.generator)
    total = 0.0
    for step in range(first, settings.encoder_steps):
        with torch.no_grad():
            made = windows.make(settings.batch)
            aligned = aligner(made.window)
        loss = encoder_loss(encoder(aligned), made, encoder, operator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(encoder.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == settings.encoder_steps:
            count = (step % CHECK_EVERY) + 1
            progress("encoder", step + 1, settings.encoder_steps, f"loss {total / count:.3f}")
            total = 0.0
            save(checkpoint, parts, windows.generator, step + 1)
    return encoder.requires_grad_(False)


def save(path: Path | None, parts: dict[str, Any], generator: torch.Generator, step: int) -> None:
    """Write a checkpoint atomically."""
    if path is None:
        return
    state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
    state |= {"step": step, "generator": generator.get_state()}
    beside = path.with_suffix(".part")
    torch.save(state, beside)
    beside.replace(path)


def resume(path: Path | None, parts: dict[str, Any], generator: torch.Generator) -> int:
    """Restore a checkpoint if there is one; return the number of steps done."""
    if path is None or not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    generator.set_state(state["generator"])
    return int(state["step"])


def cached_table(path: Path | None, solve: Callable[[], Table]) -> Table:
    """Return the solved conditions, from the checkpoint if there is one."""
    if path is not None and path.is_file():
        return Table(**torch.load(path, weights_only=True))
    table = solve()
    if path is not None:
        names = ("conditions", "maps", "modes", "profiles", "settled")
        torch.save({name: getattr(table, name) for name in names}, path)
    return table


def cached_operator(path: Path | None, fit: Callable[[], network.Operator]) -> network.Operator:
    """Return the fitted operator, from the checkpoint if there is one."""
    if path is not None and path.is_file():
        operator = network.Operator()
        operator.load_state_dict(torch.load(path, weights_only=True))
        return operator.requires_grad_(False)
    operator = fit()
    if path is not None:
        torch.save(operator.state_dict(), path)
    return operator
