"""The equations of one moulding cycle and their solution by least squares.

A cycle has four phases (fill, held, lost, open). Each has its own time 0 <= zeta <= 1 with
t = duration * zeta², because after a change of contact the temperature changes as sqrt(t), which is
a polynomial in zeta. In a phase the field is

    part   T - T_water = sum a_ij P_2i(x / L_part) Q_j(zeta)     (even: symmetric about x = 0)
    steel  T - T_water = sum b_ij P_i(2 y / L_steel - 1) Q_j(zeta)
    near   reading - T_water = sum c_j Q_j(zeta)

with Legendre polynomials P, and Q shifted to [0, 1]. The derivatives of the polynomials are exact,
and so are the residuals: the heat equation, the flux at both faces of the contact, the flux into
the water, and the lag of the sensor. The residuals are linear in the coefficients. For given
conditions, least squares therefore finds the exact minimum of the physics loss, the weighted sum of
squares of all residuals at the collocation points. No simulated temperature is used.

Equations, geometry and material: `edgeai.plant.mould` and `mouldcycles`. Method: least-squares
collocation, e.g. J. P. Boyd, Chebyshev and Fourier Spectral Methods (2001), section 3.1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from numpy.polynomial import legendre
from torch import Tensor

from edgeai.plant import mould
from edgeai.plant.mouldcycles import NEAR_LAG_SECONDS
from edgeai.training.pinn import Floats

PART_TERMS, STEEL_TERMS, TIME_TERMS = 11, 16, 9
PART_SIZE, STEEL_SIZE = PART_TERMS * TIME_TERMS, STEEL_TERMS * TIME_TERMS
OPEN_SECONDS = 3.0  # length of the open phase's time axis; a longer open time is not modelled
PHASES = ("fill", "held", "lost", "open")
STATE = PART_TERMS + STEEL_TERMS + 1  # coefficients of part, steel and near reading at one time
INITIAL_WEIGHT = 10.0
CONTACT_WEIGHT = 10.0  # the heat flux through the contact drives the rest of the field

PART_RATE = mould.POLYMER_DIFFUSIVITY_M2_S / mould.HALF_WALL_M**2
"""a / L², 1/s: converts seconds to Fourier numbers of the part."""
STEEL_RATE = mould.STEEL_CONDUCTIVITY_W_M_K / (
    mould.STEEL_DENSITY_KG_M3 * mould.STEEL_HEAT_CAPACITY_J_KG_K * mould.CHANNEL_DEPTH_M**2
)
PART_CONDUCTANCE = mould.POLYMER_CONDUCTIVITY_W_M_K / mould.HALF_WALL_M
"""k / L, W/(m2 K)."""
STEEL_CONDUCTANCE = mould.STEEL_CONDUCTIVITY_W_M_K / mould.CHANNEL_DEPTH_M


@dataclass(frozen=True, eq=False)
class Basis:
    """Polynomials at points and their first and second derivatives, each (n, terms)."""

    value: Floats
    first: Floats
    second: Floats


def part_basis(x: Floats) -> Basis:
    """Return even Legendre polynomials of unit mean square; x is depth over half the wall."""
    return _legendre(x, np.arange(0, 2 * PART_TERMS, 2), 0.0, 1.0)


def steel_basis(y: Floats) -> Basis:
    """Return Legendre polynomials of unit mean square; y is depth over the steel's thickness."""
    return _legendre(y, np.arange(STEEL_TERMS), -1.0, 2.0)


def time_basis(zeta: Floats) -> Basis:
    """Return Legendre polynomials of unit mean square in zeta on [0, 1]."""
    return _legendre(zeta, np.arange(TIME_TERMS), -1.0, 2.0)


def _legendre(points: Floats, orders: npt.NDArray[np.int64], shift: float, slope: float) -> Basis:
    unit = np.eye(int(orders.max()) + 1)[orders] * np.sqrt(2.0 * orders + 1.0)[:, None]
    at = shift + slope * points
    value = legendre.legval(at, unit.T).T
    first = legendre.legval(at, legendre.legder(unit.T)).T * slope
    second = legendre.legval(at, legendre.legder(unit.T, 2)).T * slope**2
    return Basis(*(np.asarray(part, np.float64) for part in (value, first, second)))


def gauss_points(count: int) -> tuple[Floats, Floats]:
    """Return Gauss-Legendre points and weights on [0, 1]."""
    at, weight = legendre.leggauss(count)
    return (at + 1.0) / 2.0, weight / 2.0


def products(space: Floats, time: Floats) -> Floats:
    """Return the products of every row of `space` and every row of `time`, one row per pair."""
    whole = np.einsum("ai,bj->abij", space, time)
    return np.asarray(whole.reshape(len(space) * len(time), -1))


class PhaseSolver:
    """Solves one closed or open phase by least squares, for a batch of conditions."""

    def __init__(self, *, closed: bool) -> None:
        self.closed = closed
        times, weights = gauss_points(13)
        xs, x_weights = gauss_points(15)
        ys, y_weights = gauss_points(22)
        when = time_basis(times)
        start, end = time_basis(np.zeros(1)), time_basis(np.ones(1))
        root = np.sqrt(weights)

        def rooted(space_weights: Floats) -> Floats:
            return np.sqrt(np.outer(space_weights, weights)).reshape(-1, 1)

        steel, wall, sink = steel_basis(ys), steel_basis(np.zeros(1)), steel_basis(np.ones(1))
        scaled = when.value * (2.0 * times * root)[:, None]
        w = rooted(y_weights)
        twice = np.tile(2.0 * times, len(ys))[:, None]
        self.steel_rate = _t(products(steel.value, when.first) * w)
        self.steel_flow = _t(products(steel.second, when.value) * twice * w * STEEL_RATE)
        self.wall = _t(products(wall.value, when.value) * root[:, None])
        self.wall_slope = _t(products(wall.first, when.value) * root[:, None])
        self.sink = _t(products(sink.value, when.value) * root[:, None])
        self.sink_slope = _t(products(sink.first, when.value) * root[:, None])
        probe = steel_basis(np.array([mould.NEAR_DEPTH_M / mould.CHANNEL_DEPTH_M]))
        self.near = _t(products(probe.value, scaled))
        self.lag_rate = _t(when.first * root[:, None])
        self.lag = _t(scaled)
        self.steel_start = _t(products(np.eye(STEEL_TERMS), start.value))
        self.steel_end = _t(products(np.eye(STEEL_TERMS), end.value))
        self.near_start, self.near_end = _t(start.value), _t(end.value)
        self.root = _t(root[:, None])
        part, face = part_basis(xs), part_basis(np.ones(1))
        w = rooted(x_weights)
        twice = np.tile(2.0 * times, len(xs))[:, None]
        self.part_rate = _t(products(part.value, when.first) * w)
        self.part_flow = _t(products(part.second, when.value) * twice * w * PART_RATE)
        self.face = _t(products(face.value, when.value) * root[:, None])
        self.face_slope = _t(products(face.first, when.value) * root[:, None])
        self.part_start = _t(products(np.eye(PART_TERMS), start.value))
        self.part_end = _t(products(np.eye(PART_TERMS), end.value))

    def solve(self, contact: Tensor, coolant: Tensor, seconds: Tensor) -> Tensor:
        """Return the coefficients of a phase as a linear map of its initial state.

        Args:
            contact: (B,) contact coefficient, W/(m2 K); in an open phase that of the air.
            coolant: (B,) coolant coefficient per wetted area, W/(m2 K).
            seconds: (B,) duration.

        Returns:
            (B, size, STATE + 1) float64: coefficients of part (closed phases only), steel and near
            reading, one column per coefficient of the initial state and one for the air
            temperature.
        """
        count = len(contact)
        h, d = contact.view(-1, 1, 1), seconds.view(-1, 1, 1)
        film = coolant.view(-1, 1, 1) * mould.WETTED_RATIO
        part = PART_SIZE if self.closed else 0
        size = part + STEEL_SIZE + TIME_TERMS
        rows: list[Tensor] = []
        right: list[Tensor] = []

        def add(**blocks: Tensor) -> Tensor:
            length = next(iter(blocks.values())).shape[-2]
            row = torch.zeros(count, length, size, dtype=torch.float64)
            if "part" in blocks:
                row[:, :, :part] = blocks["part"]
            if "steel" in blocks:
                row[:, :, part : part + STEEL_SIZE] = blocks["steel"]
            if "near" in blocks:
                row[:, :, part + STEEL_SIZE :] = blocks["near"]
            rows.append(row)
            right.append(torch.zeros(count, length, STATE + 1, dtype=torch.float64))
            return right[-1]

        add(steel=self.steel_rate - d * self.steel_flow)
        add(steel=self.sink_slope * (STEEL_CONDUCTANCE / film) + self.sink)
        if self.closed:
            add(part=self.part_rate - d * self.part_flow)
            add(
                part=CONTACT_WEIGHT * (self.face_slope * (PART_CONDUCTANCE / h) + self.face),
                steel=-CONTACT_WEIGHT * self.wall,
            )
            # The heat flux is the same on both sides of the contact.
            add(
                part=CONTACT_WEIGHT * self.face_slope * (PART_CONDUCTANCE / STEEL_CONDUCTANCE),
                steel=-CONTACT_WEIGHT * self.wall_slope,
            )
        else:
            air = add(steel=self.wall_slope * (STEEL_CONDUCTANCE / h) * 0.02 - self.wall * 0.02)
            air[:, :, -1] = -0.02 * self.root[:, 0]
        add(
            steel=-d * self.near / NEAR_LAG_SECONDS,
            near=self.lag_rate + d * self.lag / NEAR_LAG_SECONDS,
        )
        at = PART_TERMS
        if self.closed:
            start = add(part=INITIAL_WEIGHT * self.part_start)
            start[:, :, :at] = INITIAL_WEIGHT * torch.eye(PART_TERMS, dtype=torch.float64)
        start = add(steel=INITIAL_WEIGHT * self.steel_start)
        start[:, :, at : at + STEEL_TERMS] = INITIAL_WEIGHT * torch.eye(
            STEEL_TERMS, dtype=torch.float64
        )
        start = add(near=INITIAL_WEIGHT * self.near_start)
        start[:, :, at + STEEL_TERMS] = INITIAL_WEIGHT
        solution: Tensor = torch.linalg.lstsq(torch.cat(rows, 1), torch.cat(right, 1)).solution
        return solution

    def end(self, coefficients: Tensor) -> Tensor:
        """Return the state (B, STATE, ...) at a phase's end for coefficients (B, size, ...)."""
        part = PART_SIZE if self.closed else 0
        steel = coefficients[:, part : part + STEEL_SIZE]
        near = coefficients[:, part + STEEL_SIZE :]
        ends = [self.steel_end @ steel, self.near_end @ near]
        if self.closed:
            ends.insert(0, self.part_end @ coefficients[:, :part])
        else:
            ends.insert(0, torch.zeros_like(ends[0][:, :PART_TERMS]))
        return torch.cat(ends, 1)


def _t(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


INPUTS = 2 + STEEL_TERMS + 1
"""Linear inputs of a cycle: melt and air above the water, steel profile, near reading."""
CLOSED_SIZE = PART_SIZE + STEEL_SIZE + TIME_TERMS
CYCLE_SIZE = 3 * CLOSED_SIZE + STEEL_SIZE + TIME_TERMS


def solve_cycles(conditions: Tensor, solvers: tuple[PhaseSolver, PhaseSolver]) -> Tensor:
    """Return the coefficients of whole cycles as a linear map of the inputs.

    Args:
        conditions: (B, 6) float64, see `signals.LOW`.
        solvers: Solver of closed phases and solver of open phases.

    Returns:
        (B, CYCLE_SIZE, INPUTS) float64: coefficients of fill, held, lost and open, in this order.
    """
    closed, opened = solvers
    coolant = conditions[:, 0].exp()
    factor, lost = conditions[:, 1].exp(), conditions[:, 2].exp()
    fill, held, cool = (conditions[:, i] for i in (3, 4, 5))
    plans = (
        (5000.0 * factor, fill),
        (2500.0 * factor, held - fill),
        (lost, cool - held),
    )
    count = len(conditions)
    state = torch.zeros(count, STATE, INPUTS, dtype=torch.float64)
    state[:, 0, 0] = (
        1.0  # the first even polynomial is 1: the whole part has the melt's temperature
    )
    state[:, PART_TERMS:, 2:] = torch.eye(STEEL_TERMS + 1, dtype=torch.float64)
    air = torch.zeros(count, 1, INPUTS, dtype=torch.float64)
    air[:, 0, 1] = 1.0
    parts = []
    for contact, seconds in plans:
        found = closed.solve(contact, coolant, seconds) @ torch.cat([state, air], 1)
        parts.append(found)
        state = closed.end(found)
    draught = torch.full((count,), mould.AIR_COEFFICIENT_W_M2_K, dtype=torch.float64)
    whole = torch.full((count,), OPEN_SECONDS, dtype=torch.float64)
    parts.append(opened.solve(draught, coolant, whole) @ torch.cat([state, air], 1))
    return torch.cat(parts, 1)


def phase_slice(phase: int) -> slice:
    """Return the position of a phase's coefficients among those of a cycle."""
    start = phase * CLOSED_SIZE
    return slice(start, start + (CLOSED_SIZE if phase < 3 else STEEL_SIZE + TIME_TERMS))
