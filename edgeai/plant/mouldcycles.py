"""Simulate moulding cycles of part and steel, many runs at once, with all hidden temperatures.

This is the physics of `mould` without the machine, for the evaluation of estimators: the caller
sets the conditions of every cycle of every run, and gets the sensors' true values and the whole
field.

    part:  rho c dT/dt = k d2T/dx2, 0 < x < 0.5 mm,  dT/dx = 0 at the mid-plane x = 0
    wall:  q = h_contact (T_part - T_steel),  h_contact by phase; open: q = h_air (T_air - T_steel)
    steel: rho c dT/dt = k d2T/dx2, 0.5 mm < x < 15.5 mm
    water: q = h_coolant (pi d / pitch) (T_steel - T_water)
    near thermocouple: lag dT_read/dt = T_steel(1.5 mm) - T_read;  deep: T_steel(8 mm)

At the start of filling the whole part is fresh melt. While the mould is open, the part's values are
those at ejection.

Space: finite volumes on the mesh of `conduction` (58 cells). Time: the two-stage singly diagonally
implicit Runge-Kutta method of second order with gamma = 1 - 1/sqrt(2). It is L-stable, so there is
no oscillation when hot melt touches the cold wall. Source: R. Alexander, "Diagonally implicit
Runge-Kutta methods for stiff O.D.E.'s", SIAM Journal on Numerical Analysis 14 (1977) 1006.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.plant import injection, mould
from edgeai.plant.conduction import Layer, Stack, make_stack, probe_weights
from edgeai.plant.signals import FloatArray

NEAR_LAG_SECONDS = mould.NEAR_LAG_SECONDS
AIR_DEGC = mould.AIR_DEGC
GAMMA = 1.0 - 1.0 / math.sqrt(2.0)
FILL, PACK, COOL, OPEN = injection.FILL, injection.PACK, injection.COOL, injection.OPEN

_POLYMER = (
    mould.POLYMER_CONDUCTIVITY_W_M_K,
    mould.POLYMER_DENSITY_KG_M3,
    mould.POLYMER_HEAT_CAPACITY_J_KG_K,
)
_STEEL = (
    mould.STEEL_CONDUCTIVITY_W_M_K,
    mould.STEEL_DENSITY_KG_M3,
    mould.STEEL_HEAT_CAPACITY_J_KG_K,
)


@dataclass(frozen=True, slots=True, eq=False)
class Cycles:
    """Conditions of K cycles of R runs, each (R, K) float64 and constant over its cycle.

    Attributes:
        melt_degc: Temperature of the melt.
        water_degc: Mean temperature of the cooling water between inlet and outlet.
        coolant_w_m2_k: Coefficient in the channels, per wetted area.
        contact_fill_w_m2_k: Coefficient between part and wall during filling.
        contact_pack_w_m2_k: The same after filling, while there is pressure in the cavity.
        contact_lost_w_m2_k: The same once the pressure is zero.
        fill_seconds: End of filling. All times count from the start of filling.
        lost_seconds: Time at which the cavity pressure reaches zero; at most eject_seconds.
        eject_seconds: Time at which the mould opens.
        cycle_seconds: Start of the next filling.
    """

    melt_degc: FloatArray
    water_degc: FloatArray
    coolant_w_m2_k: FloatArray
    contact_fill_w_m2_k: FloatArray
    contact_pack_w_m2_k: FloatArray
    contact_lost_w_m2_k: FloatArray
    fill_seconds: FloatArray
    lost_seconds: FloatArray
    eject_seconds: FloatArray
    cycle_seconds: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class CycleRuns:
    """Runs sampled at one rate; n samples, P depths.

    Attributes:
        field_degc: (R, n, P) float32, temperature at the requested depths.
        wall_degc: (R, n) temperature of the steel at the cavity wall.
        near_degc: (R, n) reading of the near thermocouple, with lag, without noise.
        deep_degc: (R, n) temperature of the steel at the deep thermocouple.
        phase: (R, n) int8, FILL, PACK, COOL or OPEN.
        cycle: (R, n) int, index of the cycle.
        cycle_seconds: (R, n) time since the start of filling.
    """

    field_degc: npt.NDArray[np.float32]
    wall_degc: FloatArray
    near_degc: FloatArray
    deep_degc: FloatArray
    phase: npt.NDArray[np.int8]
    cycle: npt.NDArray[np.int64]
    cycle_seconds: FloatArray


def make_mesh(refinement: int = 1) -> tuple[Stack, int]:
    """Create the mesh of part and steel; return it with the number of the part's cells.

    Cells are finer where the temperature of the steel swings in a cycle, sqrt(a t) = 3 mm in 1 s.

    Args:
        refinement: 1 for the mesh in use; 2 halves every cell.
    """
    part = 24 * refinement
    skin, body = 1.0e-3, 3.0e-3
    return make_stack(
        (
            Layer(mould.HALF_WALL_M, *_POLYMER, part),
            Layer(skin, *_STEEL, 10 * refinement),
            Layer(body - skin, *_STEEL, 10 * refinement),
            Layer(mould.CHANNEL_DEPTH_M - body, *_STEEL, 14 * refinement),
        )
    ), part


def simulate_cycles(
    cycles: Cycles,
    start_degc: npt.ArrayLike,
    *,
    depths_m: Sequence[float] = (),
    period_seconds: float = 0.02,
    steps_per_period: int = 1,
    seconds: float | None = None,
    refinement: int = 1,
) -> CycleRuns:
    """Simulate cycles from the start of the first filling.

    Args:
        cycles: Conditions of each cycle; times are rounded to the time step.
        start_degc: Temperature of the steel at the start, (R,) or one number.
        depths_m: Depths of the field, from the part's mid-plane: up to 0.5 mm in the part, beyond
            in the steel.
        period_seconds: Time between two samples; the first is at the start of the run.
        steps_per_period: Time steps between two samples.
        seconds: Duration to record; None: until the first run has no more cycles.
        refinement: Refinement of the mesh, see `make_mesh`.

    Raises:
        ValueError: If the cycles are shorter than `seconds`, or times of a cycle are out of order.
    """
    dt = period_seconds / steps_per_period
    stack, part = make_mesh(refinement)
    ends = {
        name: np.rint(getattr(cycles, f"{name}_seconds") / dt).astype(np.int64)
        for name in ("fill", "lost", "eject", "cycle")
    }
    ordered = (ends["fill"] <= ends["lost"]) & (ends["lost"] <= ends["eject"])
    if not (ordered & (ends["eject"] < ends["cycle"])).all():
        msg = "times of a cycle must be in order: fill <= lost <= eject < cycle"
        raise ValueError(msg)
    available = int(ends["cycle"].sum(axis=1).min())
    steps = available if seconds is None else round(seconds / dt)
    if steps > available:
        msg = f"the cycles last {available * dt:g} s, less than the requested {seconds:g} s"
        raise ValueError(msg)
    runs = len(cycles.melt_degc)
    solver = _Solver(stack, part, runs, dt)
    state = _State(np.zeros(runs, np.int64), np.zeros(runs, np.int64))
    temperatures = np.empty((len(stack.centres_m), runs))
    temperatures[:] = start_degc
    wall = mould.HALF_WALL_M
    probes = _probes(stack, (wall, wall + mould.NEAR_DEPTH_M, wall + mould.DEEP_DEPTH_M))
    # On the interface `probe_weights` takes the steel, so the part's surface is moved inwards.
    edge = wall * (1.0 - 1e-9)
    probed = _probes(stack, [min(at, edge) if at <= wall else at for at in depths_m])
    near = probes[1] @ temperatures
    samples = -(-steps // steps_per_period)
    out: dict[str, npt.NDArray[Any]] = {
        "field_degc": np.empty((samples, len(depths_m), runs), np.float32),
        "wall_degc": np.empty((samples, runs)),
        "near_degc": np.empty((samples, runs)),
        "deep_degc": np.empty((samples, runs)),
        "phase": np.empty((samples, runs), np.int8),
        "cycle": np.empty((samples, runs), np.int64),
        "cycle_seconds": np.empty((samples, runs)),
    }
    index = np.arange(runs)
    now: dict[str, FloatArray] = {}
    for step in range(steps):
        fresh = state.elapsed == 0
        if step == 0 or fresh.any():
            now = {
                field.name: getattr(cycles, field.name)[index, state.cycle]
                for field in fields(cycles)
            }
            end = {name: values[index, state.cycle] for name, values in ends.items()}
            temperatures[:part, fresh] = now["melt_degc"][fresh]
        phase = _phase(state.elapsed, end, dt)
        if step % steps_per_period == 0:
            row = step // steps_per_period
            out["field_degc"][row] = probed @ temperatures
            out["wall_degc"][row], _, out["deep_degc"][row] = probes @ temperatures
            out["near_degc"][row] = near
            out["phase"][row], out["cycle"][row] = phase, state.cycle
            out["cycle_seconds"][row] = state.elapsed * dt
        before = probes[1] @ temperatures
        temperatures = solver.advance(temperatures, _contact(now, state.elapsed, end, phase), now)
        after = probes[1] @ temperatures
        # Exact response of the lag to a linear change from `before` to `after`.
        slope = (after - before) / dt
        lagged = slope * NEAR_LAG_SECONDS
        near = after - lagged + math.exp(-dt / NEAR_LAG_SECONDS) * (near - before + lagged)
        state.advance(end["cycle"])
    moved = {name: np.ascontiguousarray(np.moveaxis(values, -1, 0)) for name, values in out.items()}
    return CycleRuns(**moved)


def _probes(stack: Stack, depths_m: Sequence[float]) -> FloatArray:
    """Return the weights of point sensors, (P, N); P may be 0."""
    weights = [probe_weights(stack, depth) for depth in depths_m]
    return np.array(weights, np.float64).reshape(len(weights), len(stack.centres_m))


@dataclass(slots=True, eq=False)
class _State:
    """Progress of each run: index of its cycle, and steps since the cycle's start."""

    cycle: npt.NDArray[np.int64]
    elapsed: npt.NDArray[np.int64]

    def advance(self, last: npt.NDArray[np.int64]) -> None:
        """Advance by one step; after `last` steps the next cycle begins."""
        self.elapsed += 1
        done = self.elapsed == last
        self.cycle += done
        self.elapsed[done] = 0


def _phase(
    elapsed: npt.NDArray[np.int64], end: dict[str, npt.NDArray[np.int64]], dt: float
) -> npt.NDArray[np.int8]:
    packed = np.minimum(end["fill"] + round(injection.PACK_SECONDS / dt), end["eject"])
    later = (elapsed >= end["fill"]).astype(np.int8) + (elapsed >= packed)
    return np.asarray(later + (elapsed >= end["eject"]), np.int8)


def _contact(
    now: dict[str, FloatArray],
    elapsed: npt.NDArray[np.int64],
    end: dict[str, npt.NDArray[np.int64]],
    phase: npt.NDArray[np.int8],
) -> FloatArray:
    """Return the contact coefficient of each run, 0 while its mould is open."""
    held = np.where(elapsed < end["lost"], now["contact_pack_w_m2_k"], now["contact_lost_w_m2_k"])
    closed = np.where(phase == FILL, now["contact_fill_w_m2_k"], held)
    return np.where(phase == OPEN, 0.0, closed)


class _Solver:
    """Advances the temperatures (N, R) of all runs by one step of length dt."""

    def __init__(self, stack: Stack, part: int, runs: int, dt: float) -> None:
        half = stack.half_resistance_m2_k_w
        self._between = 1.0 / (half[:-1] + half[1:])
        self._halves = half[part - 1] + half[part]
        self._wall_half, self._last_half = half[part], half[-1]
        self._capacity = stack.capacity_j_m2_k[:, None] / (GAMMA * dt)
        self._inverse = 1.0 / stack.capacity_j_m2_k[:, None]
        self._part, self._runs, self._dt = part, runs, dt

    def advance(
        self, temperatures: FloatArray, contact_w_m2_k: FloatArray, now: dict[str, FloatArray]
    ) -> FloatArray:
        part = self._part
        closed = contact_w_m2_k > 0.0
        with np.errstate(divide="ignore"):
            bridge = 1.0 / (self._halves + 1.0 / contact_w_m2_k)
        air = np.where(closed, 0.0, 1.0 / (self._wall_half + 1.0 / mould.AIR_COEFFICIENT_W_M2_K))
        film = now["coolant_w_m2_k"] * mould.WETTED_RATIO
        water = 1.0 / (self._last_half + 1.0 / film)
        between = np.repeat(self._between[:, None], self._runs, axis=1)
        between[part - 1] = bridge
        diagonal = np.zeros_like(temperatures)
        diagonal[:-1] += between
        diagonal[1:] += between
        diagonal[part] += air
        diagonal[-1] += water
        source = (air * AIR_DEGC, water * now["water_degc"])
        solve = _eliminate(self._capacity + diagonal, between)

        def rate(values: FloatArray) -> FloatArray:
            flow = -diagonal * values
            flow[:-1] += between * values[1:]
            flow[1:] += between * values[:-1]
            flow[part] += source[0]
            flow[-1] += source[1]
            return flow

        # (C / (gamma dt) - L) d = (L T + s) / 1, with d = gamma dt k: both stages share the matrix.
        first = solve(rate(temperatures))
        second = solve(rate(temperatures + (1.0 - GAMMA) / GAMMA * first))
        after = temperatures + (1.0 - GAMMA) / GAMMA * first + second
        after[:part] = np.where(closed, after[:part], temperatures[:part])
        return after


def _eliminate(diagonal: FloatArray, between: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return a solver of symmetric tridiagonal systems (N, R) with off-diagonals -between."""
    cells = len(diagonal)
    pivot = np.empty_like(diagonal)
    factor = np.empty_like(between)
    pivot[0] = diagonal[0]
    for cell in range(1, cells):
        factor[cell - 1] = between[cell - 1] / pivot[cell - 1]
        pivot[cell] = diagonal[cell] - factor[cell - 1] * between[cell - 1]
    upper = between / pivot[:-1]

    def solve(right: FloatArray) -> FloatArray:
        answer = right
        for cell in range(1, cells):
            answer[cell] += factor[cell - 1] * answer[cell - 1]
        answer /= pivot
        for cell in range(cells - 2, -1, -1):
            answer[cell] += upper[cell] * answer[cell + 1]
        return answer

    return solve
