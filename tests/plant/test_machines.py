"""The machines: physics compared with closed forms and balances, ranges, faults."""

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from edgeai.plant import drive, polymer
from edgeai.plant.faults import ScheduledFault
from edgeai.plant.line import MACHINES, make_machine
from edgeai.plant.mould import CLOSED, PART_CELLS, Mould
from edgeai.plant.moulding import Moulding
from edgeai.plant.simulate import simulate
from edgeai.plant.tank import Tank

RATE_HZ = 10
WINDOW = 60
HOP = 10
ONSET_SECONDS = 60.0


def features(values: np.ndarray) -> np.ndarray:
    """Return (windows, 2 C): mean and deviation of each signal over 6 s, one window a second."""
    windows = sliding_window_view(values.astype(np.float64), WINDOW, axis=0)[::HOP]
    return np.concatenate([windows.mean(-1), windows.std(-1)], axis=1)


class Monitor:
    """Return the Mahalanobis distance from healthy windows, relative to the healthy maximum."""

    def __init__(self, machine: str) -> None:
        healthy = np.concatenate([features(simulate(machine, 300, s).values) for s in range(12)])
        self.mean, self.scale = healthy.mean(0), healthy.std(0) + 1e-9
        covariance = np.cov(((healthy - self.mean) / self.scale).T)
        self.inverse = np.linalg.inv(covariance + 1e-3 * np.eye(len(self.mean)))
        held = [self.distance(simulate(machine, 300, s).values) for s in range(100, 104)]
        self.limit = float(np.concatenate(held).max())

    def distance(self, values: np.ndarray) -> np.ndarray:
        z = (features(values) - self.mean) / self.scale
        return np.sqrt(np.einsum("ij,jk,ik->i", z, self.inverse, z))


@pytest.fixture(scope="module")
def monitors() -> dict[str, Monitor]:
    return {machine: Monitor(machine) for machine in MACHINES}


VISIBLE_SECONDS = {
    ("moulding", "coolant_blocked"): 4,
    ("moulding", "thermocouple_drift"): 12,
    ("moulding", "melt_too_hot"): 10,
    ("moulding", "check_ring_wear"): 10,
    ("moulding", "early_shrinkage"): 10,
    ("agitator", "impeller_imbalance"): 4,
    ("agitator", "bearing_wear"): 5,
    ("agitator", "phase_imbalance"): 3,
    ("agitator", "impeller_fouling"): 15,
    ("tank", "heater_failure"): 3,
    ("tank", "refractory_wear"): 25,
    ("tank", "sensor_stuck"): 60,
    ("tank", "level_leak"): 40,
}
"""Time at severity 1 until the distance is 1.3 times the maximum of held-out healthy windows."""


def test_every_fault_is_listed():
    known = {(machine, fault) for machine in MACHINES for fault in make_machine(machine, 0).faults}
    assert set(VISIBLE_SECONDS) == known


@pytest.mark.parametrize(("machine", "fault"), sorted(VISIBLE_SECONDS))
@pytest.mark.parametrize("seed", [200, 201])
def test_fault_becomes_visible_in_time(
    monitors: dict[str, Monitor], machine: str, fault: str, seed: int
):
    limit_seconds = VISIBLE_SECONDS[machine, fault]
    duration = ONSET_SECONDS + limit_seconds
    events = [ScheduledFault(ONSET_SECONDS, limit_seconds + 1, fault)]
    recording = simulate(machine, duration, seed, faults=events)
    distance = monitors[machine].distance(recording.values) / monitors[machine].limit
    ends = (np.arange(len(distance)) * HOP + WINDOW) / RATE_HZ
    assert distance[ends <= ONSET_SECONDS].max() < 1.3, "healthy part stands out"
    assert distance[ends > ONSET_SECONDS].max() > 1.3, "fault does not stand out"
    for column, signal in zip(recording.values.T, recording.signals, strict=True):
        assert signal.low <= column.min() <= column.max() <= signal.high, signal.name


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_healthy_values_stay_in_range_and_vary(machine: str):
    recording = simulate(machine, 1800, seed=5)
    assert recording.values.shape == (18000, len(recording.signals))
    assert np.isfinite(recording.values).all()
    for column, signal in zip(recording.values.T, recording.signals, strict=True):
        assert signal.low <= column.min() <= column.max() <= signal.high, signal.name
        assert len(np.unique(column)) > 3, signal.name
        steps = column.astype(np.float64) / signal.resolution
        np.testing.assert_allclose(steps, np.rint(steps), 1e-6, 2e-2, err_msg=signal.name)


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_seed_decides_everything(machine: str):
    first, again, other = (simulate(machine, 30, seed).values for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_inject_and_clear(machine: str):
    plant = make_machine(machine, 0)
    name = sorted(plant.faults)[0]
    plant.inject(name, 0.5)
    assert plant.active_faults == {name: 0.5}
    plant.clear(name)
    assert plant.active_faults == {}
    plant.inject(name)
    plant.clear(None)
    assert plant.active_faults == {}
    with pytest.raises(
        ValueError, match=rf"{machine}: unknown fault 'nonsense'; choose from .*{name}"
    ):
        plant.inject("nonsense")
    with pytest.raises(ValueError, match="unknown fault"):
        plant.clear("nonsense")
    for severity in (0.0, -1.0, 1.5, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
            plant.inject(name, severity)
    with pytest.raises(ValueError, match="unknown machine 'lathe'; choose from agitator"):
        make_machine("lathe", 0)


# Moulding


def test_moulding_starts_in_its_periodic_steady_state():
    values = simulate("moulding", 120, seed=11).values
    starts = np.flatnonzero((values[1:, 0] == 0) & (values[:-1, 0] == 3)) + 1
    cycles = np.diff(starts) / RATE_HZ
    assert 5.7 <= cycles.min() <= cycles.max() <= 6.6
    means = [values[a:b, 5].mean() for a, b in pairwise(starts)]
    assert abs(means[0] - means[-1]) < 0.7  # the inlet alone wanders by some tenths


def test_mould_loses_to_the_water_what_the_melt_brings():
    # Constant conditions, steady state: over one cycle, the heat of the part from melt to ejection
    # equals the heat to the water and from the open wall.
    mould = Mould(0.02, 25.0)
    for _ in range(60):
        mould.fill(230.0)
        capacity = CLOSED.capacity_j_m2_k
        start = mould.temperatures.copy()
        water = 0.0
        for step in range(300):
            contact = 2500.0 if step < 200 else None
            outlet = mould.outlet_degc
            mould.advance(contact, 10.0, 20.0, 20.0)
            water += 10.0 / 6.0e4 * 998.0 * 4182.0 * (outlet - 20.0) * 0.02 / 0.047
        brought = float(capacity[:PART_CELLS] @ (start - mould.temperatures)[:PART_CELLS])
        drift = float(capacity[PART_CELLS:] @ (start - mould.temperatures)[PART_CELLS:])
    assert abs(drift) < 1e-3 * brought
    to_air = 15.0 * (33.0 - 20.0) * 2.0  # the wall is near 33 degC while open
    assert water == pytest.approx(brought - to_air, rel=0.01)


def test_slit_flow_closed_forms():
    newtonian = polymer.slit_pressure_drop(
        1e-5, 0.1, 0.3, 1e-3, consistency_pa_sn=100.0, power_index=1.0
    )
    assert newtonian == pytest.approx(12.0 * 100.0 * 0.1 * 1e-5 / (0.3 * 1e-9))
    thinning = [
        polymer.slit_pressure_drop(q, 0.1, 0.3, 1e-3, consistency_pa_sn=100.0, power_index=0.35)
        for q in (1e-5, 2e-5)
    ]
    assert thinning[1] / thinning[0] == pytest.approx(2.0**0.35)


def test_channel_coefficient_is_near_dittus_boelter_and_falls_with_flow():
    reynolds = 998.0 * (10.0 / 6.0e4) / (math.pi * 0.01**2 / 4.0) * 0.01 / 1.0e-3
    dittus_boelter = 0.023 * reynolds**0.8 * 7.0**0.4 * 0.6 / 0.01
    assert polymer.channel_coefficient(10.0, 0.01) == pytest.approx(dittus_boelter, rel=0.15)
    flows = np.linspace(0.0, 15.0, 200)
    assert (np.diff([polymer.channel_coefficient(flow, 0.01) for flow in flows]) > 0.0).all()


def test_freezing_time_agrees_with_the_solver():
    mould = Mould(0.002, 20.0)
    mould.fill(230.0)
    seconds = 0.0
    while mould.core_degc > 130.0:
        mould.advance(1.0e6, 10.0, 20.0, 20.0)
        seconds += 0.002
    diffusivity = 0.2 / (850.0 * 2500.0)
    expected = polymer.freezing_seconds(1e-3, diffusivity, 230.0, mould.wall_degc, 130.0)
    assert seconds == pytest.approx(expected, rel=0.1)


def test_hidden_state_tells_the_blocked_channel_from_the_drifting_thermocouple():
    coefficients = {}
    for fault in ("coolant_blocked", "thermocouple_drift"):
        plant = Moulding(3)
        plant.inject(fault)
        for _ in range(200):
            plant.step()
        coefficients[fault] = plant.hidden()["coolant_coefficient"]
    assert coefficients["coolant_blocked"] < 0.5 * coefficients["thermocouple_drift"]


# Agitator


def test_impeller_power_follows_the_cube_of_speed_when_turbulent():
    powers = [drive.impeller_power(n, 0.85, 1e-4) for n in (1.0, 2.0)]
    assert powers[1] / powers[0] == pytest.approx(8.0, rel=1e-3)
    assert powers[0] == pytest.approx(1.27 * 1080.0 * 0.85**5, rel=1e-3)


def test_motor_meets_its_rating():
    slip = drive.RATED_SLIP * drive.SYNC_RAD_S
    assert drive.motor_torque(slip, 1.0) == pytest.approx(98.0, rel=1e-6)
    pull_out = drive.motor_torque(drive.PULL_OUT_SLIP_RAD_S, 1.0)
    assert pull_out == pytest.approx(2.8 * 98.0)
    current, power_factor, power = drive.motor_current(98.0 * drive.SYNC_RAD_S, 400.0, 1.0)
    assert current == pytest.approx(28.0, rel=0.03)
    assert power_factor == pytest.approx(0.84, abs=0.02)
    assert power * 0.92 == pytest.approx(15.0e3, rel=0.03)
    assert power == pytest.approx(math.sqrt(3.0) * 400.0 * current * power_factor)


def test_agitator_healthy_is_in_zone_a_and_consistent():
    values = simulate("agitator", 60, seed=4).values.mean(axis=0)
    current, power_factor, power_kw = values[:3].mean(), values[3], values[4]
    assert values[7] < 1.4  # ISO 20816-3, zone A
    shaft_kw = values[6] * values[5] * 2.0 * math.pi / 60.0 / 1000.0
    assert 0.85 < shaft_kw / power_kw < 0.97
    volts = power_kw * 1000.0 / (math.sqrt(3.0) * current * power_factor)
    assert 330.0 < volts < 420.0


# Tank


@pytest.mark.parametrize("fault", [None, "level_leak", "refractory_wear", "heater_failure"])
def test_tank_balances_close(fault: str | None):
    tank = Tank(6)
    if fault:
        tank.inject(fault)
    mass = tank.bath_kg + tank.ingot_kg - tank.charged_kg + tank.drawn_kg
    heat = tank.stored_j - tank.supplied_j + tank.lost_j
    supplied = tank.supplied_j
    for _ in range(3000):
        tank.step()
    assert tank.bath_kg + tank.ingot_kg - tank.charged_kg + tank.drawn_kg == pytest.approx(mass)
    after = tank.stored_j - tank.supplied_j + tank.lost_j
    assert abs(after - heat) < 1e-9 * (tank.supplied_j - supplied) + 1.0


def test_tank_controls_its_bath_and_a_failed_group_stops_at_once():
    tank = Tank(7)
    before = np.array([tank.step() for _ in range(600)])
    assert before[:, 0].mean() == pytest.approx(720.0, abs=6.0)
    tank.inject("heater_failure")
    after = np.array([tank.step() for _ in range(10)])
    assert before[-1, 7] > 40.0
    assert abs(after[-1, 7]) < 2.0
    assert after[-1, 6] > 40.0


def test_stuck_thermocouple_keeps_its_value_until_cleared():
    tank = Tank(8)
    tank.step()
    tank.inject("sensor_stuck")
    readings = np.array([tank.step()[0] for _ in range(100)])
    assert len(np.unique(readings[2:])) == 1
    tank.clear("sensor_stuck")
    assert len(np.unique([tank.step()[0] for _ in range(100)])) > 3
