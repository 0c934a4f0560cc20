"""Simulated runs of the moulding process with what is hidden: to calibrate and to measure on.

The simulator is `edgeai.plant.mouldcycles`, a numerical solver that shares no code with the
network's equations. Conditions differ from run to run; sensors have 1 % noise. A fault starts in a
cycle of its own choice and stays.
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
"""Healthy conditions, one uniform draw a run."""
MELT_WANDER_K, OPEN_SCATTER_SECONDS, FILL_SCATTER = 0.3, 0.1, 0.004
"""From cycle to cycle: random walk of the melt, robot, injection speed."""
BLOCKED_SHARE = 0.37
"""Coefficient at 30 % of the flow (0.3^0.8, turbulent), over the healthy one."""
BLOCKED_WATER_K = 2.0
DRIFT_K, DRIFT_SECONDS = 3.0, 15.0
HOT_K = 25.0
LOST_SHARE, LOST_FROM_SECONDS, LOST_FASTER = 0.3, 1.2, 3.0
"""Early shrinkage: contact once lost, over the healthy; pressure falls so much faster from then."""
SETTLE_SECONDS = 45.0
"""Before a run is looked at: the steel starts at one temperature."""
FINE = 5


@dataclass(frozen=True, eq=False)
class Runs:
    """Simulated runs.

    Attributes:
        values: (R, n, 9) float32 readings with noise, in the order of `moulding_signals.SIGNALS`.
        depths_m: Of the field in `truth`.
        cycles: Conditions of every cycle.
        truth: What no sensor sees, FINE times as often as the readings.
        faults: Name of each run's fault, or "".
        fault_seconds: (R,) when it starts; infinite in a healthy run.
        sensor: (R,) which thermocouple drifts, 0 near, 1 deep.
    """

    values: Samples
    depths_m: tuple[float, ...]
    cycles: mouldcycles.Cycles
    truth: mouldcycles.CycleRuns
    faults: tuple[str, ...]
    fault_seconds: Floats
    sensor: npt.NDArray[np.int64]


def depths_of_field() -> tuple[float, ...]:
    """Depths of the package's field, from the part's mid-plane, m."""
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
    """Simulate runs with conditions of their own.

    Args:
        runs: How many; if `faults` are given, they take turns.
        cycles: Of each run.
        seed: Decides everything.
        faults: Names in FAULTS, "" for healthy; empty: all healthy.
        fault_cycle: First cycle in which a fault may start; it starts in this one or the next two.
        noise: Of a temperature reading, over the reading in degC.
        with_field: Whether the hidden field is wanted: it takes most of the memory.
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
    """Conditions of each cycle, the cycle in which each fault starts, the water's temperature."""
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
    """(R, n) K, what the drifting thermocouple of each run reads too high."""
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
    # The phases of the solver start on its time steps.
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
