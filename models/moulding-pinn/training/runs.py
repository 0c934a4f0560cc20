"""Simulated runs with their hidden state, for calibration and figures.

The simulator is `edgeai.plant.mouldcycles`, a numerical solver that shares no code with the
network's equations. Every run has its own conditions; the sensors have 1 % noise. A fault starts in
a random cycle and stays until the end of the run.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeai.plant import mould, mouldcycles
from edgeai.training.pinn import Floats, Samples

from . import signals
from .signals import PART_DEPTHS, STEEL_DEPTHS

FAULTS = ("coolant_blocked", "thermocouple_drift", "melt_too_hot", "contact_lost")
MELT_DEGC = (224.0, 236.0)
WATER_DEGC = (16.0, 28.0)
COOLANT_W_M2_K = (7000.0, 12000.0)
CONTACT_FACTOR = (0.9, 1.1)
FILL_SECONDS = (0.47, 0.54)
EJECT_SECONDS = (3.6, 4.8)
LOST_BEFORE_EJECT_SECONDS = (0.2, 1.0)
OPEN_SECONDS = (1.95, 2.4)
"""Healthy conditions, one uniform draw per run."""
MELT_WANDER_K, OPEN_SCATTER_SECONDS, FILL_SCATTER = 0.3, 0.1, 0.004
"""Variation from cycle to cycle: random walk of the melt, open time, injection speed."""
BLOCKED_SHARE = 0.37  # coolant coefficient at 30 % of the turbulent flow (0.3^0.8) over the healthy
BLOCKED_WATER_K = 2.0  # rise of the water temperature
DRIFT_K, DRIFT_SECONDS = 3.0, 15.0  # final drift, and time until it is reached
HOT_K = 25.0  # rise of the melt temperature
LOST_SHARE, LOST_FROM_SECONDS, LOST_FASTER = 0.3, 1.2, 3.0
"""Early shrinkage: contact after its loss over the healthy one; from this time of the cycle on, the
pressure falls by this factor faster."""
SETTLE_SECONDS = 45.0  # start of each run that is not used: the steel starts at one temperature
FINE = 5  # samples of the hidden state per reading


@dataclass(frozen=True, eq=False)
class Runs:
    """Simulated runs.

    Attributes:
        values: (R, n, 9) float32 readings with noise, in the order of `signals.SIGNALS`.
        depths_m: Depths of the field in `truth`.
        cycles: Conditions of every cycle.
        truth: Hidden state, FINE times per reading.
        faults: Name of each run's fault, or "".
        fault_seconds: (R,) start of the fault; infinite in a healthy run.
        sensor: (R,) thermocouple that drifts: 0 near, 1 deep.
    """

    values: Samples
    depths_m: tuple[float, ...]
    cycles: mouldcycles.Cycles
    truth: mouldcycles.CycleRuns
    faults: tuple[str, ...]
    fault_seconds: Floats
    sensor: npt.NDArray[np.int64]


def depths_of_field() -> tuple[float, ...]:
    """Return the depths of the package's field from the part's mid-plane, m."""
    part = [depth * mould.HALF_WALL_M for depth in PART_DEPTHS]
    wall, last = mould.HALF_WALL_M * (1.0 + 1e-9), mould.HALF_WALL_M + mould.CHANNEL_DEPTH_M
    return (*part, *[min(wall + depth, last) for depth in STEEL_DEPTHS])


def simulate_runs(
    runs: int,
    cycles: int,
    seed: int,
    *,
    faults: tuple[str, ...] = (),
    fault_cycle: int = 9,
    noise: float = signals.NOISE,
    with_field: bool = True,
) -> Runs:
    """Simulate runs, each with its own conditions.

    Args:
        runs: Number of runs.
        cycles: Cycles per run.
        seed: Determines all values.
        faults: Names in FAULTS, or "" for healthy; the runs take them in turn. Empty: all healthy.
        fault_cycle: First cycle in which a fault may start; it starts in this one or the next two.
        noise: Standard deviation of a temperature reading, over the reading in degC.
        with_field: Whether to return the hidden field, which takes most of the memory.
    """
    rng = np.random.default_rng(seed)
    kinds = tuple((faults or ("",))[index % len(faults or ("",))] for index in range(runs))
    plan, starts, water = _conditions(kinds, cycles, fault_cycle, rng)
    depths = depths_of_field() if with_field else ()
    truth = mouldcycles.simulate_cycles(
        plan,
        water + rng.uniform(6.0, 14.0, runs),
        depths_m=depths,
        period_seconds=1.0 / (signals.RATE_HZ * FINE),
    )
    began = np.array(
        [
            np.argmax(truth.cycle[run] >= starts[run]) / (signals.RATE_HZ * FINE)
            if kind
            else np.inf
            for run, kind in enumerate(kinds)
        ]
    )
    sensor = rng.integers(0, 2, runs)
    drift = _drift(truth.cycle.shape[1], kinds, began)
    values = _readings(plan, truth, drift, sensor, noise=noise, rng=rng)
    return Runs(values, depths, plan, truth, kinds, began, sensor)


def _conditions(
    kinds: tuple[str, ...], cycles: int, fault_cycle: int, rng: np.random.Generator
) -> tuple[mouldcycles.Cycles, npt.NDArray[np.int64], Floats]:
    """Return the conditions of each cycle, the first cycle of each fault, the water in degC."""
    shape = (len(kinds), cycles)

    def drawn(limits: tuple[float, float]) -> Floats:
        return np.broadcast_to(rng.uniform(*limits, (shape[0], 1)), shape).copy()

    factor = drawn(CONTACT_FACTOR)
    eject = np.round(drawn(EJECT_SECONDS), 2)
    water = drawn(WATER_DEGC)
    fill = drawn(FILL_SECONDS) * rng.normal(1.0, FILL_SCATTER, shape)
    opened = drawn(OPEN_SECONDS) + rng.uniform(-1.0, 1.0, shape) * OPEN_SCATTER_SECONDS
    walk = rng.normal(0.0, MELT_WANDER_K, shape).cumsum(1)
    plan = mouldcycles.Cycles(
        melt_degc=drawn(MELT_DEGC) + np.clip(walk, -2.0, 2.0),
        water_degc=water,
        coolant_w_m2_k=drawn(COOLANT_W_M2_K),
        contact_fill_w_m2_k=5000.0 * factor,
        contact_pack_w_m2_k=2500.0 * factor,
        contact_lost_w_m2_k=1250.0 * factor,
        fill_seconds=fill,
        lost_seconds=eject - drawn(LOST_BEFORE_EJECT_SECONDS),
        eject_seconds=eject,
        cycle_seconds=eject + opened,
    )
    starts = rng.integers(fault_cycle, fault_cycle + 3, shape[0])
    start_water = water[:, 0].copy()
    after = np.arange(cycles) >= starts[:, None]
    is_kind = {kind: after & (np.array(kinds) == kind)[:, None] for kind in FAULTS}
    plan.coolant_w_m2_k[is_kind["coolant_blocked"]] *= BLOCKED_SHARE
    plan.water_degc[is_kind["coolant_blocked"]] += BLOCKED_WATER_K
    plan.melt_degc[is_kind["melt_too_hot"]] += HOT_K
    gone = is_kind["contact_lost"]
    plan.contact_lost_w_m2_k[gone] *= LOST_SHARE
    early = LOST_FROM_SECONDS + (plan.lost_seconds - LOST_FROM_SECONDS) / LOST_FASTER
    return replace(plan, lost_seconds=np.where(gone, early, plan.lost_seconds)), starts, start_water


def _drift(samples: int, kinds: tuple[str, ...], began: Floats) -> Floats:
    """Return the error of the drifting thermocouple of each run, (R, n) K."""
    seconds = np.arange(0, samples, FINE) / (FINE * signals.RATE_HZ)
    drift = np.clip((seconds - began[:, None]) / DRIFT_SECONDS, 0.0, 1.0) * DRIFT_K
    return np.asarray(drift * (np.array(kinds) == "thermocouple_drift")[:, None])


def _readings(
    plan: mouldcycles.Cycles,
    truth: mouldcycles.CycleRuns,
    drift: Floats,
    sensor: npt.NDArray[np.int64],
    *,
    noise: float,
    rng: np.random.Generator,
) -> Samples:
    rows = np.arange(len(drift))[:, None]
    read = slice(None, None, FINE)
    cycle, phase = truth.cycle[:, read], truth.phase[:, read]
    clock = truth.cycle_seconds[:, read]
    fill, eject = plan.fill_seconds[rows, cycle], plan.eject_seconds[rows, cycle]
    lost = plan.lost_seconds[rows, cycle]
    values = np.empty((*clock.shape, len(signals.SIGNALS)))
    values[..., signals.PHASE] = phase
    values[..., signals.CYCLE] = clock
    starts = np.stack([np.zeros_like(fill), fill, np.minimum(fill + 1.0, eject), eject])
    # The solver's phases start on its time steps, so the difference may be slightly negative.
    values[..., signals.ELAPSED] = np.maximum(
        clock - np.take_along_axis(starts, phase[None], 0)[0], 0.0
    )
    slope = 330.0 / np.maximum(lost - 1.2, 0.3)
    pressure = np.clip((lost - clock) * slope, 0.0, 330.0) * (phase < mouldcycles.OPEN)
    values[..., signals.PRESSURE] = pressure
    values[..., signals.MELT] = plan.melt_degc[rows, cycle]
    values[..., signals.NEAR] = truth.near_degc[:, read] + drift * (sensor == 0)[:, None]
    values[..., signals.DEEP] = truth.deep_degc[:, read] + drift * (sensor == 1)[:, None]
    half = rng.uniform(0.5, 1.5, (len(drift), 1))
    water = plan.water_degc[rows, cycle]
    values[..., signals.INLET], values[..., signals.OUTLET] = water - half, water + half
    scatter = rng.standard_normal(values[..., signals.MELT :].shape)
    values[..., signals.MELT :] *= 1.0 + noise * scatter
    scatter = rng.standard_normal(pressure.shape)
    values[..., signals.PRESSURE] += (
        noise * pressure * scatter + signals.PRESSURE_NOISE_BAR * scatter
    )
    return values.astype(np.float32)
