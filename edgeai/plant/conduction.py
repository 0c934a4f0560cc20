"""Transient heat conduction in one dimension through a stack of layers.

    rho c dT/dt = d/dx (k dT/dx) + s

Space: finite volumes. Every cell has its own heat balance, so heat is conserved to rounding on any
mesh. The conductance between two cells is that of their half-thicknesses and of any contact, in
series. At an outer face the convective (or linearised radiative) coefficient is in series too: it
is infinite for a prescribed temperature, and zero for an insulated face or a plane of symmetry.

Time: the theta rule, where theta = 1 is backward Euler and 1/2 is Crank-Nicolson. Both are stable
for every step. A step without oscillation also needs (1 - theta) dt (G_left + G_right) / C <= 1 in
each cell, so use backward Euler where a hot body suddenly touches a cold one.

A stack has tens of cells, and its matrix changes only with its coefficients. `make_step` solves the
system once, and `advance` is one small dense product: for this size it is faster than a tridiagonal
elimination in Python at every step.

Source: S. V. Patankar, Numerical Heat Transfer and Fluid Flow (1980), sections 4.2 (interface
conductivity, boundary conditions) and 4.3 (time rule and positive coefficients).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeai.plant.signals import FloatArray

INSULATED = 0.0
"""Coefficient of an insulated face or a plane of symmetry, W/(m2 K)."""
PRESCRIBED = math.inf
"""Coefficient of a face at the outside temperature, W/(m2 K)."""
PERFECT = math.inf
"""Coefficient between bonded layers, W/(m2 K)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A homogeneous layer with constant properties, divided into equal cells."""

    thickness_m: float
    conductivity_w_m_k: float
    density_kg_m3: float
    heat_capacity_j_kg_k: float
    cells: int


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The mesh of a stack of layers, from left to right.

    Attributes:
        centres_m: (N,) float64, cell centres from the left face.
        half_resistance_m2_k_w: (N,) float64, from a cell's centre to its face.
        capacity_j_m2_k: (N,) float64, heat capacity per unit of area.
        starts: Index of each layer's first cell, then N.
        faces_m: Positions of outer faces and interfaces, one more than layers.
    """

    centres_m: FloatArray
    half_resistance_m2_k_w: FloatArray
    capacity_j_m2_k: FloatArray
    starts: tuple[int, ...]
    faces_m: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A time step of fixed length and coefficients, already solved.

    Attributes:
        matrix: (N, N) float64, from old to new temperatures.
        gain: (N, N) float64, K m2/W, from heat sources in the cells to new temperatures.
        conductances_w_m2_k: (N + 1,) float64, from `face_conductances`.
        dt_seconds: Length of the step.
        theta: Weight of the new temperatures in the fluxes.
    """

    matrix: FloatArray
    gain: FloatArray
    conductances_w_m2_k: FloatArray
    dt_seconds: float
    theta: float


def make_stack(layers: Sequence[Layer]) -> Stack:
    """Create the mesh of the layers, from left to right.

    Raises:
        ValueError: If there is no layer, a property is not positive, or a layer has fewer than 2
        cells.
    """
    if not layers:
        msg = "a stack needs at least one layer"
        raise ValueError(msg)
    for layer in layers:
        properties = (
            layer.thickness_m,
            layer.conductivity_w_m_k,
            layer.density_kg_m3,
            layer.heat_capacity_j_kg_k,
        )
        if min(properties) <= 0.0 or layer.cells < 2:  # probe_weights needs two cells
            msg = f"a layer needs positive properties and at least 2 cells, got {layer}"
            raise ValueError(msg)
    counts = [layer.cells for layer in layers]
    widths = np.repeat([layer.thickness_m / layer.cells for layer in layers], counts)
    conductivity = np.repeat([layer.conductivity_w_m_k for layer in layers], counts)
    density_capacity = np.repeat(
        [layer.density_kg_m3 * layer.heat_capacity_j_kg_k for layer in layers], counts
    )
    return Stack(
        centres_m=np.cumsum(widths) - widths / 2.0,
        half_resistance_m2_k_w=widths / (2.0 * conductivity),
        capacity_j_m2_k=widths * density_capacity,
        starts=(0, *np.cumsum(counts).tolist()),
        faces_m=(0.0, *np.cumsum([layer.thickness_m for layer in layers]).tolist()),
    )


def face_conductances(
    stack: Stack,
    left_w_m2_k: float,
    right_w_m2_k: float,
    contacts_w_m2_k: Sequence[float] | None = None,
) -> FloatArray:
    """Compute the conductance across every face: resistances in series (Patankar 4.2-3).

    Args:
        stack: The mesh.
        left_w_m2_k: Coefficient between the outside and the left face, see INSULATED, PRESCRIBED.
        right_w_m2_k: Coefficient between the right face and the outside.
        contacts_w_m2_k: One coefficient per interface; None: all PERFECT.

    Returns:
        (N + 1,) float64, W/(m2 K): left face, N - 1 faces between cells, right face.

    Raises:
        ValueError: If a coefficient is negative or the number of contacts is wrong.
    """
    layers = len(stack.starts) - 1
    contacts = [PERFECT] * (layers - 1) if contacts_w_m2_k is None else list(contacts_w_m2_k)
    if len(contacts) != layers - 1 or min([left_w_m2_k, right_w_m2_k, *contacts]) < 0.0:
        msg = f"{layers} layers need {layers - 1} contacts, no coefficient below 0, got {contacts}"
        raise ValueError(msg)
    half = stack.half_resistance_m2_k_w
    resistance = np.concatenate(([half[0]], half[:-1] + half[1:], [half[-1]]))
    films = {0: left_w_m2_k, len(half): right_w_m2_k}
    films.update(zip(stack.starts[1:-1], contacts, strict=True))
    for face, coefficient in films.items():
        resistance[face] += math.inf if coefficient == 0.0 else 1.0 / coefficient
    return np.asarray(1.0 / resistance, np.float64)


def make_step(
    stack: Stack, conductances_w_m2_k: FloatArray, dt_seconds: float, theta: float = 1.0
) -> Step:
    """Solve one time step for constant conductances.

    (C/dt + theta L) T' = (C/dt - (1 - theta) L) T + b, where L contains the conductances and b the
    outside temperatures and sources. Costs O(N^3); reuse it while the coefficients are the same.

    Args:
        stack: The mesh.
        conductances_w_m2_k: (N + 1,), from `face_conductances`.
        dt_seconds: Length of the step, positive.
        theta: 0.5 (Crank-Nicolson, second order) to 1 (backward Euler, first order).

    Raises:
        ValueError: If dt_seconds is not positive or theta not in [0.5, 1].
    """
    if dt_seconds <= 0.0 or not 0.5 <= theta <= 1.0:
        msg = f"dt must be positive and theta in [0.5, 1], got {dt_seconds} and {theta}"
        raise ValueError(msg)
    g = conductances_w_m2_k
    exchange = np.diag(g[:-1] + g[1:]) - np.diag(g[1:-1], 1) - np.diag(g[1:-1], -1)
    storage = np.diag(stack.capacity_j_m2_k / dt_seconds)
    gain = np.asarray(np.linalg.inv(storage + theta * exchange), np.float64)
    return Step(gain @ (storage - (1.0 - theta) * exchange), gain, g, dt_seconds, theta)


def advance(
    step: Step,
    temperatures: FloatArray,
    left_temperature: float,
    right_temperature: float,
    source_w_m2: FloatArray | None = None,
) -> FloatArray:
    """Return the temperatures one step later.

    Args:
        step: From `make_step`.
        temperatures: (N,) float64, degC or K.
        left_temperature: Outside temperature on the left, constant over the step, same unit.
        right_temperature: Outside temperature on the right.
        source_w_m2: (N,) heat released in each cell, W per m2 of area; None: no source.

    Returns:
        (N,) float64, a new array.
    """
    g = step.conductances_w_m2_k
    after: FloatArray = step.matrix @ temperatures
    after += step.gain[:, 0] * (g[0] * left_temperature)
    after += step.gain[:, -1] * (g[-1] * right_temperature)
    if source_w_m2 is not None:
        after += step.gain @ source_w_m2
    return after


def heat_through_faces(
    step: Step,
    before: FloatArray,
    after: FloatArray,
    left_temperature: float,
    right_temperature: float,
) -> FloatArray:
    """Compute the heat that crossed every face during a step, positive to the right.

    It uses the step's own theta, so the balance of every cell closes to rounding.

    Returns:
        (N + 1,) float64, J/m2.
    """
    mean = step.theta * after + (1.0 - step.theta) * before
    padded = np.concatenate(([left_temperature], mean, [right_temperature]))
    heat: FloatArray = step.conductances_w_m2_k * -np.diff(padded) * step.dt_seconds
    return heat


def stored_heat(stack: Stack, temperatures: FloatArray, reference: float = 0.0) -> float:
    """Return the heat stored above the reference temperature, J/m2."""
    return float(stack.capacity_j_m2_k @ (temperatures - reference))


def probe_weights(stack: Stack, depth_m: float) -> FloatArray:
    """Return the weights of a point sensor; weights @ cell temperatures is its temperature.

    Interpolates linearly between the two nearest cells of the point's layer, and extrapolates by up
    to half a cell at the layer's ends. It does not cross an interface, where temperature may jump.

    Args:
        stack: The mesh.
        depth_m: Distance from the left face; a point on an interface is in the layer to its right.

    Returns:
        (N,) float64, summing to 1.

    Raises:
        ValueError: If the depth lies outside the stack.
    """
    if not 0.0 <= depth_m <= stack.faces_m[-1]:
        msg = f"depth {depth_m} m is outside the stack of {stack.faces_m[-1]} m"
        raise ValueError(msg)
    layer = min(int(np.searchsorted(stack.faces_m, depth_m, "right")), len(stack.starts) - 1) - 1
    first, last = stack.starts[layer], stack.starts[layer + 1]
    left = first + int(np.searchsorted(stack.centres_m[first + 1 : last - 1], depth_m))
    span = stack.centres_m[left + 1] - stack.centres_m[left]
    weights = np.zeros_like(stack.centres_m)
    weights[left + 1] = (depth_m - stack.centres_m[left]) / span
    weights[left] = 1.0 - weights[left + 1]
    return weights
