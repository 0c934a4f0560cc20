"""Training windows made from solved cycles, so that training needs no labels.

`physics` solves the cycle for sampled conditions. Here, solved cycles are chained (the steel's
profile at the end of one cycle is the start of the next) and evaluated at the depths of the sensors
and the sample times. Noise, sensor drift and a spread of conditions are added. No simulator is
used: the network learns from the governing equations only.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeai.plant import mould
from edgeai.plant.mouldcycles import AIR_DEGC
from edgeai.progress import Progress

from . import physics
from .signals import (
    CYCLE,
    DEEP,
    ELAPSED,
    HIGH,
    INLET,
    LOW,
    MELT,
    MELT_RANGE,
    NEAR,
    NOISE,
    OPEN_RANGE,
    OUTLET,
    PHASE,
    PRESSURE,
    PRESSURE_NOISE_BAR,
    RATE_HZ,
    SIGNALS,
    WATER_RANGE,
)

PRESSURE_ON_BAR, PRESSURE_FALL_BAR, PRESSURE_SUDDEN_BAR = 7.5, 5.0, 60.0
"""Pressure above which there is contact; smallest fall per sample used for extrapolation; a last
reading above the third value dropped to zero between two samples."""
LOST_MARGIN_SECONDS = 0.05  # shortest phase between the loss of pressure and ejection
MODES, PROFILE_MODES = 48, 6  # modes of a cycle and of the steel's initial profile
SOUND_COOLANT = 6000.0  # W/(m2 K); above it the cooling is not at fault
CHAIN = 8  # consecutive cycles from which a window is cut
STEEL_WEIGHT, NEAR_WEIGHT = 3.0, 10.0  # over the part's, in the reduction to modes


def sample_conditions(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (count, 6) conditions: three quarters healthy, the others from the whole range."""
    drawn = rng.uniform(LOW, HIGH, (count, 6))
    eject = drawn[:, 5]
    healthy = rng.random(count) < 0.75
    drawn[healthy, 0] = np.log(rng.uniform(SOUND_COOLANT, np.exp(HIGH[0]), healthy.sum()))
    drawn[healthy, 1] = np.log(rng.uniform(0.88, 1.12, healthy.sum()))
    drawn[healthy, 2] = np.log(1250.0) + drawn[healthy, 1] + rng.normal(0, 0.05, healthy.sum())
    late = eject - rng.uniform(LOST_MARGIN_SECONDS, 1.1, count)
    early = rng.uniform(1.2, eject - LOST_MARGIN_SECONDS)
    drawn[:, 4] = np.where(healthy, late, early)
    return drawn


@dataclass(frozen=True, eq=False)
class Table:
    """Solved cycles, reduced to modes.

    Attributes:
        conditions: (N, 6) float64.
        maps: (N, MODES, INPUTS) float32, amplitude of each mode per linear input.
        modes: (CYCLE_SIZE, MODES) float64, coefficients of each mode.
        profiles: (STEEL_TERMS + 1, PROFILE_MODES), basis of the profiles at the start of filling.
        settled: (N, STEEL_TERMS + 1, 2), initial profile of the periodic cycle, per melt and air.
    """

    conditions: Tensor
    maps: Tensor
    modes: Tensor
    profiles: Tensor
    settled: Tensor


def weights() -> Tensor:
    """Return weights of the coefficients, (CYCLE_SIZE,): the steel is measured but varies less."""
    closed = [1.0] * physics.PART_SIZE
    rest = [STEEL_WEIGHT] * physics.STEEL_SIZE + [NEAR_WEIGHT] * physics.TIME_TERMS
    return torch.tensor((closed + rest) * 3 + rest, dtype=torch.float64)


def at_open(coefficients: Tensor, seconds: Tensor) -> Tensor:
    """Return the profile (B, STEEL_TERMS + 1, ...) at `seconds` (B,) after ejection."""
    part = coefficients[:, physics.phase_slice(3)]
    zeta = torch.sqrt(seconds / physics.OPEN_SECONDS)
    time = legendre(zeta).to(coefficients.dtype)
    shape = (len(part), physics.STEEL_TERMS, physics.TIME_TERMS, *part.shape[2:])
    steel = part[:, : physics.STEEL_SIZE].reshape(shape)
    profile = torch.einsum("bij...,bj->bi...", steel, time)
    near = torch.einsum("bj...,bj->b...", part[:, physics.STEEL_SIZE :], time)
    return torch.cat([profile, near.unsqueeze(1)], 1)


def legendre(zeta: Tensor) -> Tensor:
    """Return the time polynomials (..., TIME_TERMS), by operators that export to ONNX."""
    x = 2.0 * zeta - 1.0
    terms = [torch.ones_like(x), x]
    for n in range(1, physics.TIME_TERMS - 1):
        terms.append(((2 * n + 1) * x * terms[-1] - n * terms[-2]) / (n + 1))
    return torch.stack([(2 * n + 1) ** 0.5 * term for n, term in enumerate(terms)], -1)


def solve_table(count: int, seed: int, progress: Progress) -> Table:
    """Solve the cycle for `count` sampled conditions and reduce the solutions to modes."""
    rng = np.random.default_rng(seed)
    conditions = torch.from_numpy(sample_conditions(count, rng))
    solvers = (physics.PhaseSolver(closed=True), physics.PhaseSolver(closed=False))
    size = 50
    maps = torch.empty(count, physics.CYCLE_SIZE, physics.INPUTS, dtype=torch.float32)
    for start in range(0, count, size):
        maps[start : start + size] = physics.solve_cycles(conditions[start : start + size], solvers)
        progress("equations", min(count, start + size), count)
    steel = physics.STEEL_TERMS + 1
    nominal = torch.full((count,), 2.1, dtype=torch.float64)
    ends = at_open(maps, nominal).double()  # (N, steel, INPUTS)
    settled = torch.linalg.solve(
        torch.eye(steel, dtype=torch.float64) - ends[:, :, 2:], ends[:, :, :2]
    )
    # Snapshots: the periodic cycle, and cycles that start from the profile of another one.
    air = torch.from_numpy(rng.uniform(-0.06, 0.05, (count, 1)))
    forced = torch.cat([torch.ones(count, 1, dtype=torch.float64), air], 1)
    own = torch.einsum("bij,bj->bi", settled, forced)
    other = own[torch.from_numpy(rng.permutation(count))]
    share = torch.from_numpy(rng.uniform(0.0, 1.1, (count, 1)))
    profiles = torch.cat([own, other * share])
    inputs = torch.cat([forced.repeat(2, 1), profiles], 1)
    snapshots = torch.cat(
        [
            torch.einsum("bri,bi->br", maps, part.float()).double()
            for part in (inputs[:count], inputs[count:])
        ]
    )
    scale = weights()
    _, _, right = torch.linalg.svd(snapshots * scale, full_matrices=False)
    modes = right[:MODES].T / scale[:, None]
    reduce = (right[:MODES] * scale).float()
    _, _, shapes = torch.linalg.svd(profiles, full_matrices=False)
    return Table(
        conditions,
        torch.einsum("rc,bci->bri", reduce, maps),
        modes,
        shapes[:PROFILE_MODES].T.contiguous(),
        settled,
    )


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of windows with the true state of the cycle at their last sample.

    Attributes:
        window: (B, W, 9) float32 readings.
        conditions: (B, 6).
        amplitudes: (B, MODES), modes of the field divided by melt minus water temperature.
        profile: (B, PROFILE_MODES), steel at the start of filling, divided likewise.
        offsets: (B, 2) K, drift of the near and the deep thermocouple at the last sample.
        melt_degc: (B,).
        water_degc: (B,).
    """

    window: Tensor
    conditions: Tensor
    amplitudes: Tensor
    profile: Tensor
    offsets: Tensor
    melt_degc: Tensor
    water_degc: Tensor


class Windows:
    """Makes random windows from solved cycles."""

    def __init__(self, table: Table, length: int, seed: int) -> None:
        self._table, self._length = table, length
        self.generator = torch.Generator().manual_seed(seed)
        modes = table.modes
        near, deep = [], []
        probe = physics.steel_basis(np.array([mould.DEEP_DEPTH_M / mould.CHANNEL_DEPTH_M])).value[0]
        for phase in range(4):
            part = modes[physics.phase_slice(phase)]
            first = physics.PART_SIZE if phase < 3 else 0
            steel = part[first : first + physics.STEEL_SIZE]
            shaped = steel.reshape(physics.STEEL_TERMS, physics.TIME_TERMS, -1)
            deep.append(torch.einsum("i,ijr->jr", torch.from_numpy(probe), shaped))
            near.append(part[first + physics.STEEL_SIZE :])
        self._sensors = torch.stack([torch.cat(near), torch.cat(deep)]).float()  # (2, 36, R)
        self._modes = modes.float()
        self._unproject = torch.linalg.pinv(table.profiles).float()

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def make(self, count: int) -> Batch:
        """Return `count` windows of independent machines."""
        table, generator = self._table, self.generator
        pick = torch.randint(len(table.conditions), (count,), generator=generator)
        before = torch.randint(len(table.conditions), (count,), generator=generator)
        steady = torch.rand(count, generator=generator) < 0.6
        before = torch.where(steady, pick, before)
        conditions = table.conditions[pick].float()
        water = self._uniform(*WATER_RANGE, count)
        far = torch.rand(count, generator=generator) < 0.25
        melt = torch.where(
            far, self._uniform(*MELT_RANGE, count), self._uniform(218.0, 242.0, count)
        )
        wander = 0.3 * torch.randn(count, CHAIN, generator=generator).cumsum(1)
        melts = melt[:, None] + wander - wander[:, -1:]
        air = (AIR_DEGC - water) / (melt - water)
        start = torch.einsum(
            "bij,bj->bi", table.settled[before].float(), torch.stack([torch.ones(count), air], 1)
        )
        cold = torch.rand(count, generator=generator) < 0.2
        state = start * torch.where(cold, self._uniform(0.0, 1.1, count), 1.0)[:, None]
        maps = table.maps[pick]
        opened = self._uniform(*OPEN_RANGE, count)[:, None] + self._uniform(-0.1, 0.1, count, CHAIN)
        excess = melts - water[:, None]
        amplitudes, profiles = [], []
        for number in range(CHAIN):
            ratio = (melt - water) / excess[:, number]
            inputs = torch.cat(
                [torch.ones(count, 1), (air * ratio)[:, None], state * ratio[:, None]], 1
            )
            amplitude = torch.einsum("bri,bi->br", maps, inputs)
            amplitudes.append(amplitude)
            profiles.append(inputs[:, 2:] @ self._unproject.T)
            after = at_open(amplitude @ self._modes.T, opened[:, number])
            state = after / ratio[:, None]
        whole = torch.stack(amplitudes, 1)  # (B, CHAIN, R)
        lengths = conditions[:, 5:6] + opened
        starts = torch.cat([torch.zeros(count, 1), lengths.cumsum(1)], 1)
        span = self._length / RATE_HZ
        end = span + 0.2 + (starts[:, -1] - span - 0.4) * torch.rand(count, generator=generator)
        times = end[:, None] - torch.arange(self._length - 1, -1, -1) / RATE_HZ
        cycle = (times.unsqueeze(-1) >= starts[:, None, 1:-1]).sum(-1)
        seconds = times - starts.gather(1, cycle)
        sensors, phase, elapsed, on = self._read(whole, cycle, seconds, conditions)
        sensors = sensors * excess.gather(1, cycle).unsqueeze(-1) + water[:, None, None]
        drift = self._drift(conditions[:, 0])
        window = torch.zeros(count, self._length, len(SIGNALS))
        window[..., MELT] = melts.gather(1, cycle)
        window[..., NEAR : DEEP + 1] = sensors + drift
        half = self._uniform(0.3, 3.5, count)[:, None]
        window[..., INLET], window[..., OUTLET] = water[:, None] - half, water[:, None] + half
        window[..., MELT:] *= self._noise(count)
        window[..., PHASE], window[..., CYCLE], window[..., ELAPSED] = phase, seconds, elapsed
        window[..., PRESSURE] = on
        last = cycle[:, -1]
        rows = torch.arange(count)
        profile = torch.stack(profiles, 1)[rows, last]
        amplitude, hot = whole[rows, last], melts[rows, last]
        return Batch(window, conditions, amplitude, profile, drift[:, -1], hot, water)

    def _noise(self, count: int) -> Tensor:
        """Return noise factors of the temperatures, (B, W, 5); each machine has its own level."""
        level = self._uniform(0.1, 1.2, count, 1, 1) * NOISE
        shape = (count, self._length, len(SIGNALS) - MELT)
        return 1.0 + level * torch.randn(shape, generator=self.generator)

    def _drift(self, coolant: Tensor) -> Tensor:
        """Return the drift of both thermocouples, (B, W, 2) K.

        Most windows have none; the others have a drift of one thermocouple, and only with sound
        cooling. A reading that is 3 K too high looks like the other reading 3 K too low together
        with a weaker coolant. The readings cannot distinguish the two, so the training assumes that
        two faults do not occur at the same time.

        Args:
            coolant: (B,) logarithm of the coolant coefficient.
        """
        count = len(coolant)
        which = torch.rand(count, generator=self.generator)
        which = torch.where(coolant > float(np.log(SOUND_COOLANT)), which, 0.5)
        size = self._uniform(-6.0, 6.0, count)
        none = torch.zeros(count)
        whole = torch.stack(
            [torch.where(which < 0.2, size, none), torch.where(which > 0.8, size, none)], 1
        )
        # Half of the drifts are complete, the others began shortly before or within the window.
        grown = torch.rand(count, generator=self.generator) < 0.5
        began = torch.where(grown, 60.0, self._uniform(1.0, 30.0, count))
        lasts = self._uniform(1.0, 20.0, count)
        ago = torch.arange(self._length - 1, -1, -1) / RATE_HZ
        share = ((began[:, None] - ago) / lasts[:, None]).clamp(0.0, 1.0)
        return whole[:, None] * share.unsqueeze(-1)

    def _read(
        self, amplitudes: Tensor, cycle: Tensor, seconds: Tensor, conditions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return sensors (B, W, 2) over the excess, phase, time in the phase, cavity pressure."""
        fill, lost, eject = (conditions[:, i : i + 1] for i in (3, 4, 5))
        ends = torch.stack([fill, lost, eject], -1)  # (B, 1, 3)
        number = (seconds.unsqueeze(-1) >= ends).sum(-1)
        began = torch.cat([torch.zeros_like(fill), fill, lost, eject], 1).gather(1, number)
        span = torch.cat(
            [fill, lost - fill, eject - lost, torch.full_like(fill, physics.OPEN_SECONDS)], 1
        ).gather(1, number)
        time = legendre(torch.sqrt(((seconds - began) / span).clamp(0.0, 1.0)))
        spread = torch.nn.functional.one_hot(number, 4).unsqueeze(-1) * time.unsqueeze(-2)
        read = torch.einsum("sjr,bkr->bskj", self._sensors, amplitudes)
        at = torch.einsum("bwk,bskj->bswj", torch.nn.functional.one_hot(cycle, CHAIN).float(), read)
        sensors = (at * spread.flatten(-2).unsqueeze(1)).sum(-1).transpose(1, 2)
        packed = torch.minimum(fill + 1.0, eject)
        phase = (seconds >= fill).float() + (seconds >= packed) + (seconds >= eject)
        started = torch.cat([torch.zeros_like(fill), fill, packed, eject], 1)
        elapsed = seconds - started.gather(1, phase.long())
        # The pressure reaches zero when contact is lost; only that time is used, not the slope.
        slope = self._uniform(80.0, 500.0, len(fill), 1)
        pressure = ((lost - seconds) * slope).clamp(0.0, 330.0) * (phase < 3)
        scatter = torch.randn(pressure.shape, generator=self.generator)
        return (
            sensors,
            phase,
            elapsed,
            pressure * (1.0 + NOISE * scatter) + PRESSURE_NOISE_BAR * scatter,
        )
