"""The network: from a window of readings to the field.

    window -> Aligner -> features -> Encoder -> conditions, profile, drift
           -> Operator (the learned solution of the equations) -> amplitudes of the modes
           -> field, sensors, exact derivatives -> residual, evidence, advice (`monitor`)

All steps are arithmetic on (B, ...) tensors with a free batch, so that they export to ONNX. Inside
the network, temperatures are divided by melt minus water temperature ("excess") and times by the
durations of the phases.
"""

import numpy as np
import torch
from torch import Tensor, nn

from edgeai.plant.mouldcycles import AIR_DEGC

from . import physics, signals
from .windows import (
    LOST_MARGIN_SECONDS,
    MODES,
    PRESSURE_FALL_BAR,
    PRESSURE_ON_BAR,
    PRESSURE_SUDDEN_BAR,
    PROFILE_MODES,
)

HAT_NODES = (3, 6, 3, 6)  # nodes per phase, at equal steps of zeta, for averages of the readings
HATS = sum(HAT_NODES)
MELT_SAMPLES = 100  # last samples whose mean is the melt temperature
RIDGE = 0.3  # samples added to each node's count, so that a node without samples gives 0
FREE = 3  # conditions that the encoder estimates; the other three are read from the window
OUT = FREE + 2 + PROFILE_MODES + 2 + 3
"""Encoder outputs: conditions, drifts, profile, corrections of melt and water, log spreads."""
FINE = 17  # depths in the part for the solidified fraction
FROZEN_DEGC = 130.0
FREEZING_K = 8.0  # width of the transition from molten to solid, for a smooth fraction
OFFSET_SCALE = 3.0  # K, size of a drift


def scaled(conditions: Tensor) -> Tensor:
    """Scale conditions (B, 6) from the trained range to -1 ... 1."""
    low, high = torch.from_numpy(signals.LOW), torch.from_numpy(signals.HIGH)
    middle, half = ((low + high) / 2).to(conditions), ((high - low) / 2).to(conditions)
    return (conditions - middle) / half


class Operator(nn.Module):
    """The solution operator: amplitudes of the modes, linear in the cycle's linear inputs."""

    base: Tensor
    spread: Tensor

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        columns = 2 + PROFILE_MODES
        self.layers = nn.Sequential(
            nn.Linear(7, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, MODES * columns),
        )  # fmt: skip
        self.register_buffer("base", torch.zeros(MODES * columns))
        self.register_buffer("spread", torch.ones(MODES * columns))

    def forward(self, conditions: Tensor, inputs: Tensor) -> Tensor:
        """Return amplitudes (B, MODES) for conditions (B, 6) and [1, air, profile] (B, 2 + P)."""
        unit = scaled(conditions)
        # Contact may be lost right before ejection, so the time between the two is an input.
        gap = torch.log((conditions[:, 5:6] - conditions[:, 4:5]).clamp(min=0.02))
        maps = self.layers(torch.cat([unit, gap], 1)) * self.spread + self.base
        whole = maps.reshape(-1, MODES, 2 + PROFILE_MODES)
        return torch.matmul(whole, inputs.unsqueeze(-1)).squeeze(-1)


class Aligner(nn.Module):
    """Finds the times of the cycle and averages the readings by their position in it."""

    recent: Tensor
    ones: Tensor
    age: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        recent = torch.zeros(length)
        recent[-min(MELT_SAMPLES, length) :] = 1.0 / min(MELT_SAMPLES, length)
        self.register_buffer("recent", recent)
        self.register_buffer("ones", torch.ones(length))
        self.register_buffer("age", torch.linspace(-1.0, 0.0, length) + 0.5)

    def forward(self, window: Tensor) -> dict[str, Tensor]:
        """Return features and times of windows (B, W, 9)."""
        phase, clock, elapsed = (
            window[..., signals.PHASE],
            window[..., signals.CYCLE],
            window[..., signals.ELAPSED],
        )
        is_pack, is_cool, is_open = (
            torch.clamp(1.0 - torch.abs(phase - number), min=0.0) for number in (1.0, 2.0, 3.0)
        )
        began = clock - elapsed
        fill = self._mean(is_pack, began, torch.full_like(clock[:, 0], 0.5))
        eject = self._mean(is_open, began, torch.full_like(clock[:, 0], 4.0))
        lost = self._lost(window[..., signals.PRESSURE], clock, is_pack + is_cool, is_cool, eject)
        lost = torch.maximum(lost, fill + 0.2)
        melt = torch.matmul(window[..., signals.MELT], self.recent)
        water = torch.matmul(
            window[..., signals.INLET] + window[..., signals.OUTLET],
            self.ones * (0.5 / self.length),
        )
        excess = torch.clamp(melt - water, min=20.0)
        starts = torch.stack([torch.zeros_like(fill), fill, lost, eject], 1)
        spans = torch.stack(
            [fill, lost - fill, eject - lost, torch.full_like(fill, physics.OPEN_SECONDS)], 1
        )
        spans = torch.clamp(spans, min=0.02)
        into = (clock.unsqueeze(-1) - starts.unsqueeze(1)) / spans.unsqueeze(1)  # (B, W, 4)
        # Clamp above 0: the root would turn a rounding error of 1e-7 into a difference of 3e-4.
        zeta = torch.sqrt(torch.clamp(into, 1e-4, 1.0))
        # A sample on a border belongs to the phase that begins. The step is a ramp of 10 ms, so
        # that rounding errors are not amplified.
        begun = torch.clamp((clock.unsqueeze(-1) - starts.unsqueeze(1) + 1e-2) * 100.0, 0.0, 1.0)
        inside = begun - torch.cat([begun[..., 1:], torch.zeros_like(begun[..., :1])], -1)
        hats = []
        for number, nodes in enumerate(HAT_NODES):
            at = zeta[..., number : number + 1] * (nodes - 1)
            node = torch.arange(nodes, dtype=window.dtype)
            hat = torch.clamp(1.0 - torch.abs(at - node), min=0.0)
            hats.append(hat * inside[..., number : number + 1])
        hat = torch.cat(hats, -1)  # (B, W, HATS)
        readings = torch.stack([window[..., signals.NEAR], window[..., signals.DEEP]], -1)
        above = (readings - water[:, None, None]) / excess[:, None, None]
        both = torch.cat([above, above * self.age[:, None]], -1)
        gathered = torch.matmul(hat.transpose(1, 2), both)  # (B, HATS, 4)
        count = torch.matmul(self.ones, hat)
        share = 1.0 / (count + RIDGE)
        bend = readings[:, 2:] - 2.0 * readings[:, 1:-1] + readings[:, :-2]
        roughness = torch.matmul(bend.square().transpose(1, 2), self.ones[2:] / self.length)
        now = inside[:, -1]
        features = torch.cat(
            [
                (gathered * share.unsqueeze(-1)).flatten(1),
                count * share,
                torch.stack(
                    [melt / 100.0, water / 10.0, 100.0 / excess, fill, lost, eject,
                     torch.log(torch.clamp(eject - lost, min=0.02)), clock[:, -1]], 1),
                torch.log(roughness + 1e-3),
                now,
            ],
            1,
        )  # fmt: skip
        return {
            "features": features, "hat": hat, "above": above, "share": share, "count": count,
            "timeline": torch.stack([fill, lost, eject], 1), "melt": melt, "water": water,
            "spans": spans, "now": now, "zeta_now": zeta[:, -1], "clock": clock[:, -1],
            "roughness": roughness,
        }  # fmt: skip

    def _lost(
        self, pressure: Tensor, clock: Tensor, is_closed: Tensor, is_cool: Tensor, eject: Tensor
    ) -> Tensor:
        """Return the time at which the cavity pressure reaches zero, mean of the cycles, (B,).

        The line through the last two samples under pressure is extended to zero. If the pressure
        drops to zero between two samples, the time in the middle is used.
        """
        on = torch.clamp(pressure - PRESSURE_ON_BAR + 0.5, 0.0, 1.0)
        turned = (is_closed * on)[:, 1:-1] * is_cool[:, 2:] * (1.0 - on[:, 2:])
        before, last = pressure[:, :-2], pressure[:, 1:-1]
        step = 1.0 / signals.RATE_HZ
        beyond = step * last / torch.clamp(before - last, min=PRESSURE_FALL_BAR)
        beyond = torch.clamp(beyond, 0.0, 2.0 * step)
        sudden = torch.clamp((last - PRESSURE_SUDDEN_BAR) / 5.0, 0.0, 1.0)
        when = clock[:, 1:-1] + beyond * (1.0 - sudden) + 0.5 * step * sudden
        never = eject - LOST_MARGIN_SECONDS
        seen = torch.matmul(turned, self.ones[2:])
        lost = (torch.matmul(turned * when, self.ones[2:]) + 1e-3 * never) / (seen + 1e-3)
        return torch.minimum(lost, never)

    def _mean(self, weight: Tensor, values: Tensor, fallback: Tensor) -> Tensor:
        total = torch.matmul(weight, self.ones)
        return (torch.matmul(weight * values, self.ones) + 1e-4 * fallback) / (total + 1e-4)


FEATURES = 4 * HATS + HATS + 8 + 2 + 4


class Encoder(nn.Module):
    """Estimates the hidden quantities from the features."""

    mean: Tensor
    scale: Tensor
    profile_mean: Tensor
    profile_scale: Tensor

    def __init__(self, width: int = 224) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, OUT),
        )  # fmt: skip
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.register_buffer("profile_mean", torch.zeros(PROFILE_MODES))
        self.register_buffer("profile_scale", torch.ones(PROFILE_MODES))

    def forward(self, aligned: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return conditions (B, 6), drifts (B, 2) K, profile, melt, water, log spreads (B, 3)."""
        unit = torch.clamp((aligned["features"] - self.mean) * self.scale, -8.0, 8.0)
        out = self.layers(unit)
        low, high = torch.from_numpy(signals.LOW).to(out), torch.from_numpy(signals.HIGH).to(out)
        free = (low + high)[:FREE] / 2 + (high - low)[:FREE] / 2 * out[:, :FREE]
        conditions = torch.cat([free, aligned["timeline"]], 1)
        at = FREE + 2
        profile = out[:, at : at + PROFILE_MODES] * self.profile_scale + self.profile_mean
        at += PROFILE_MODES
        return {
            "conditions": conditions,
            "offsets": OFFSET_SCALE * out[:, FREE : FREE + 2],
            "profile": profile,
            "melt": aligned["melt"] + out[:, at],
            "water": aligned["water"] + 0.1 * out[:, at + 1],
            "spreads": out[:, at + 2 :],
        }


def linear_inputs(melt: Tensor, water: Tensor, profile: Tensor) -> Tensor:
    """Return [1, air, profile] (B, 2 + P), divided by the excess."""
    air = (AIR_DEGC - water) / (melt - water)
    return torch.cat([torch.ones_like(air).unsqueeze(1), air.unsqueeze(1), profile], 1)


def point_rows(
    modes: Tensor,
    phase: int,
    zeta: float,
    depth: float,
    kind: str,
    *,
    order: tuple[int, int] = (0, 0),
) -> Tensor:
    """Return the value or a derivative of every mode at a point, (MODES,).

    Args:
        modes: (CYCLE_SIZE, MODES).
        phase: 0 to 3.
        zeta: Time in the phase.
        depth: In the part over half the wall; in the steel over its thickness.
        kind: `part`, `steel` or `near`.
        order: Order of the derivative in depth and in zeta.
    """
    time = physics.time_basis(np.array([zeta]))
    q = (time.value, time.first)[order[1]][0]
    return space_rows(modes, phase, depth, kind, order=order[0]) @ torch.from_numpy(q)


def space_rows(modes: Tensor, phase: int, depth: float, kind: str, *, order: int = 0) -> Tensor:
    """Return the time coefficients of every mode at a depth, (MODES, TIME_TERMS)."""
    part = modes[physics.phase_slice(phase)]
    first = physics.PART_SIZE if phase < 3 else 0
    if kind == "near":
        return part[first + physics.STEEL_SIZE :].T
    if kind == "part":
        basis, block = physics.part_basis(np.array([depth])), part[: physics.PART_SIZE]
    else:
        basis = physics.steel_basis(np.array([depth]))
        block = part[first : first + physics.STEEL_SIZE]
    space = (basis.value, basis.first, basis.second)[order][0]
    shaped = block.reshape(len(space), physics.TIME_TERMS, -1)
    return torch.einsum("i,ijr->rj", torch.from_numpy(space), shaped)
