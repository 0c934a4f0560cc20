"""The heat solver against closed forms, its own balance and finer meshes."""

import math

import numpy as np
import pytest

from edgeai.plant.conduction import (
    INSULATED,
    PRESCRIBED,
    Layer,
    advance,
    face_conductances,
    heat_through_faces,
    make_stack,
    make_step,
    probe_weights,
    stored_heat,
)

STEEL = (29.0, 7850.0, 460.0)
POLYMER = (0.2, 850.0, 2500.0)


def slab_error(cells: int, dt_seconds: float, theta: float) -> float:
    """Largest error, with its sign, of 20 mm of steel at 100 degC, faces held at 0, after 2 s."""
    conductivity, density, capacity = STEEL
    length, end = 0.02, 2.0
    stack = make_stack([Layer(length, *STEEL, cells)])
    step = make_step(stack, face_conductances(stack, PRESCRIBED, PRESCRIBED), dt_seconds, theta)
    # The first sine of the series solution stays a sine (Carslaw and Jaeger, section 3.3), so it is
    # free of the jump at time zero that would hide the order of the method.
    shape = np.sin(math.pi * stack.centres_m / length)
    temperatures = 100.0 * shape
    for _ in range(round(end / dt_seconds)):
        temperatures = advance(step, temperatures, 0.0, 0.0)
    decay = math.exp(-conductivity / (density * capacity) * (math.pi / length) ** 2 * end)
    error = temperatures - 100.0 * shape * decay
    return float(error[np.abs(error).argmax()])


def test_slab_meets_the_closed_form_and_mesh_refinement_converges_at_second_order():
    errors = [slab_error(cells, 0.002, 0.5) for cells in (8, 16, 32)]
    assert abs(errors[2]) < 0.03
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize(("theta", "ratio"), [(0.5, 4.0), (1.0, 2.0)])
def test_time_refinement_has_the_order_of_the_rule(theta: float, ratio: float):
    space = slab_error(400, 0.0005, 0.5)
    errors = [slab_error(400, dt, theta) for dt in (0.2, 0.1)]
    assert (errors[0] - space) / (errors[1] - space) == pytest.approx(ratio, rel=0.15)


def test_sudden_contact_of_half_spaces_meets_the_closed_form():
    # Two half-spaces in perfect contact: the interface is at the mean weighted by effusivity
    # (Carslaw and Jaeger, section 2.15).
    stack = make_stack([Layer(2e-3, *POLYMER, 400), Layer(0.05, *STEEL, 400)])
    step = make_step(stack, face_conductances(stack, INSULATED, INSULATED), 0.002)
    temperatures = np.where(stack.centres_m < 2e-3, 230.0, 30.0)
    for _ in range(250):
        temperatures = advance(step, temperatures, 0.0, 0.0)
    effusivity = [math.sqrt(math.prod(material)) for material in (POLYMER, STEEL)]
    interface = (230.0 * effusivity[0] + 30.0 * effusivity[1]) / sum(effusivity)
    assert probe_weights(stack, 2e-3) @ temperatures == pytest.approx(interface, abs=0.1)


def test_steady_state_is_resistances_in_series():
    stack = make_stack([Layer(0.01, *STEEL, 5), Layer(0.001, *POLYMER, 4)])
    step = make_step(stack, face_conductances(stack, 500.0, 40.0, [1000.0]), 1.0e7)
    temperatures = advance(step, np.zeros(9), 100.0, 20.0)
    for _ in range(3):
        before, temperatures = temperatures, advance(step, temperatures, 100.0, 20.0)
    resistance = 1 / 500.0 + 0.01 / 29.0 + 1 / 1000.0 + 0.001 / 0.2 + 1 / 40.0
    flux = heat_through_faces(step, before, temperatures, 100.0, 20.0) / step.dt_seconds
    assert flux == pytest.approx(np.full(10, 80.0 / resistance), rel=1e-9)


@pytest.mark.parametrize("theta", [0.5, 0.7, 1.0])
def test_heat_is_conserved_in_every_layer(theta: float):
    rng = np.random.default_rng(3)
    stack = make_stack([Layer(5e-4, *POLYMER, 10), Layer(3e-3, *STEEL, 10), Layer(0.01, *STEEL, 7)])
    conductances = face_conductances(stack, INSULATED, 9000.0, [2500.0, math.inf])
    step = make_step(stack, conductances, 0.02, theta)
    temperatures = rng.uniform(20.0, 230.0, 27)
    source = rng.uniform(0.0, 1e4, 27)
    start = temperatures
    crossed = np.zeros(28)
    for _ in range(50):
        after = advance(step, temperatures, 0.0, 20.0, source)
        crossed += heat_through_faces(step, temperatures, after, 0.0, 20.0)
        temperatures = after
    gained = stack.capacity_j_m2_k * (temperatures - start)
    assert crossed[0] == 0.0
    assert gained == pytest.approx(crossed[:-1] - crossed[1:] + source * 1.0, abs=1e-6)
    total = stored_heat(stack, temperatures) - stored_heat(stack, start)
    assert total == pytest.approx(source.sum() - crossed[-1], rel=1e-9)


def test_probe_never_looks_across_an_interface():
    stack = make_stack([Layer(0.01, *STEEL, 4), Layer(0.01, *STEEL, 4)])
    linear = np.where(stack.centres_m < 0.01, 5.0 * stack.centres_m, 100.0 - stack.centres_m)
    for depth in (0.0, 0.003, 0.0099):
        assert probe_weights(stack, depth) @ linear == pytest.approx(5.0 * depth)
    for depth in (0.01, 0.0133, 0.02):
        assert probe_weights(stack, depth) @ linear == pytest.approx(100.0 - depth)
    with pytest.raises(ValueError, match="outside the stack"):
        probe_weights(stack, 0.021)


def test_bad_arguments_are_refused():
    layer = Layer(0.01, *STEEL, 4)
    with pytest.raises(ValueError, match="at least one layer"):
        make_stack([])
    with pytest.raises(ValueError, match="at least 2 cells"):
        make_stack([Layer(0.01, *STEEL, 1)])
    with pytest.raises(ValueError, match="positive properties"):
        make_stack([Layer(0.01, -1.0, 1.0, 1.0, 4)])
    stack = make_stack([layer, layer])
    with pytest.raises(ValueError, match="1 contacts"):
        face_conductances(stack, 1.0, 1.0, [1.0, 1.0])
    with pytest.raises(ValueError, match="below 0"):
        face_conductances(stack, -1.0, 1.0)
    with pytest.raises(ValueError, match="theta"):
        make_step(stack, face_conductances(stack, 1.0, 1.0), 0.1, 0.4)
