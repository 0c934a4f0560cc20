"""The cycle simulator compared with a closed form, its heat balance, finer meshes, the plant."""

import math

import numpy as np
import pytest

from edgeai.plant import mould
from edgeai.plant.mouldcycles import AIR_DEGC, OPEN, Cycles, simulate_cycles

STEEL = mould.STEEL_DENSITY_KG_M3 * mould.STEEL_HEAT_CAPACITY_J_KG_K
PART = mould.POLYMER_DENSITY_KG_M3 * mould.POLYMER_HEAT_CAPACITY_J_KG_K
NOMINAL = {
    "melt_degc": 230.0,
    "water_degc": 22.0,
    "coolant_w_m2_k": 9450.0,
    "contact_fill_w_m2_k": 5000.0,
    "contact_pack_w_m2_k": 2500.0,
    "contact_lost_w_m2_k": 1250.0,
    "fill_seconds": 0.5,
    "lost_seconds": 3.4,
    "eject_seconds": 4.0,
    "cycle_seconds": 6.1,
}


def cycles(runs: int, count: int, **changes: float | np.ndarray) -> Cycles:
    values = {**NOMINAL, **changes}
    return Cycles(
        **{
            name: np.broadcast_to(value, (runs, count)).astype(float)
            for name, value in values.items()
        }
    )


def series(biot: float, fourier: float) -> float:
    """Return the mid-plane of a slab with convection at its face: Carslaw and Jaeger, 3.11."""
    total = 0.0
    for n in range(12):
        low, high = n * math.pi, n * math.pi + math.pi / 2 - 1e-12
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if middle * math.tan(middle) < biot else (low, middle)
        mu = low
        weight = 4 * math.sin(mu) / (2 * mu + math.sin(2 * mu))
        total += weight * math.exp(-mu * mu * fourier)
    return total


def test_steel_without_a_part_cools_as_the_closed_form_says():
    alone = cycles(
        1, 1, contact_fill_w_m2_k=1e-6, contact_pack_w_m2_k=1e-6, contact_lost_w_m2_k=1e-6,
        lost_seconds=9.0, eject_seconds=10.0, cycle_seconds=11.0,
    )  # fmt: skip
    run = simulate_cycles(alone, 60.0, seconds=10.0)
    finer = simulate_cycles(alone, 60.0, seconds=10.0, refinement=2)
    biot = 9450.0 * mould.WETTED_RATIO * mould.CHANNEL_DEPTH_M / mould.STEEL_CONDUCTIVITY_W_M_K
    rate = mould.STEEL_CONDUCTIVITY_W_M_K / STEEL / mould.CHANNEL_DEPTH_M**2
    for row in (150, 250, 450):
        exact = 22.0 + 38.0 * series(biot, rate * row * 0.02)
        assert run.wall_degc[0, row] == pytest.approx(exact, abs=0.02)
        assert finer.wall_degc[0, row] == pytest.approx(exact, abs=0.006)


def test_a_settled_cycle_gives_to_water_and_air_what_the_melt_brings():
    period, count = 0.05, 50
    depths = tuple((np.arange(count) + 0.5) / count * mould.HALF_WALL_M)
    last = mould.HALF_WALL_M + mould.CHANNEL_DEPTH_M
    settled = cycles(1, 20)
    run = simulate_cycles(settled, 32.0, depths_m=(*depths, last), period_seconds=period)
    cycle = run.cycle[0] == 19  # settled within 6e-5 by then
    brought = PART * (230.0 - run.field_degc[0, cycle][-1, :count].mean()) * mould.HALF_WALL_M
    film = 9450.0 * mould.WETTED_RATIO
    water = film * (run.field_degc[0, cycle, count].astype(float) - 22.0).mean() * 6.1
    opened = cycle & (run.phase[0] == OPEN)
    air = mould.AIR_COEFFICIENT_W_M2_K * (run.wall_degc[0, opened] - AIR_DEGC).sum() * period
    assert water + air == pytest.approx(brought, rel=2e-3)


def test_mesh_refinement_converges_at_second_order():
    found = [simulate_cycles(cycles(1, 1), 30.0, depths_m=(0.0,), refinement=n) for n in (1, 2, 4)]
    errors = [
        np.abs(run.field_degc[0, :, 0] - found[2].field_degc[0, :, 0])[5:].max() for run in found
    ]
    assert errors[0] < 0.25  # of 230 K, in the first tenths of a second
    # Compared with the finest mesh, not the exact solution: (1 - 1/16) / (1/4 - 1/16) = 5.
    assert errors[0] / errors[1] == pytest.approx(5.0, rel=0.25)


def test_time_refinement_converges_at_second_order():
    found = [
        simulate_cycles(cycles(1, 2), 30.0, period_seconds=0.1, steps_per_period=n)
        for n in (2, 4, 16)
    ]
    errors = [np.abs(run.near_degc - found[2].near_degc)[:, 5:].max() for run in found[:2]]
    assert errors[1] < 0.01
    assert errors[0] / errors[1] > 3.0


def test_it_agrees_with_the_mould_of_the_live_plant():
    """`Mould` has another mesh and backward Euler, which needs short steps."""
    run = simulate_cycles(cycles(1, 3, coolant_w_m2_k=9471.0), 30.0, depths_m=(0.0,))
    plant = mould.Mould(0.002, 30.0)
    rows = []
    for _ in range(3):
        plant.fill(230.0)
        for step in range(3050):
            at = step * 0.002
            contact = 5000.0 if at < 0.4999 else 2500.0 if at < 3.3999 else 1250.0
            plant.outlet_degc = 22.0
            plant.advance(contact if at < 3.9999 else None, 10.0, 22.0, AIR_DEGC)
            if (step + 1) % 500 == 0:
                rows.append((plant.wall_degc, plant.core_degc, plant.deep_degc))
    whole = np.array(rows)[-6:]
    start = int(np.argmax(run.cycle[0] == 2))
    at = start + 50 * np.arange(1, 7)
    assert run.wall_degc[0, at] == pytest.approx(whole[:, 0], abs=0.15)
    assert run.field_degc[0, at, 0] == pytest.approx(whole[:, 1], abs=0.3)
    assert run.deep_degc[0, at] == pytest.approx(whole[:, 2], abs=0.03)


def test_runs_do_not_depend_on_each_other():
    pair = cycles(
        2, 3, coolant_w_m2_k=np.array([[9450.0], [3000.0]]), cycle_seconds=np.array([[6.1], [5.8]])
    )
    both = simulate_cycles(pair, 30.0, seconds=15.0)
    alone = simulate_cycles(
        cycles(1, 3, coolant_w_m2_k=3000.0, cycle_seconds=5.8), 30.0, seconds=15.0
    )
    assert both.near_degc[1] == pytest.approx(alone.near_degc[0], abs=1e-9)
    assert np.array_equal(both.cycle[1], alone.cycle[0])


def test_times_out_of_order_and_runs_too_short_are_refused():
    with pytest.raises(ValueError, match="in order"):
        simulate_cycles(cycles(1, 2, lost_seconds=5.0), 30.0)
    with pytest.raises(ValueError, match=r"last 12\.2 s"):
        simulate_cycles(cycles(1, 2), 30.0, seconds=20.0)
