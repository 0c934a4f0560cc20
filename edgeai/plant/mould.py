"""Heat conduction in the mould: from the part through the steel to the cooling water.

The model covers one half of a symmetric plate, from its mid-plane (insulated) through the contact
with the cavity wall and the steel to the plane of the cooling channels:

    part:  rho c dT/dt = k d2T/dx2,         dT/dx = 0 at the mid-plane
    wall:  q = h_contact (T_part - T_steel)
    steel: rho c dT/dt = k d2T/dx2
    water: q = h_water (pi d / pitch) (T_steel - (T_in + T_out) / 2)
    water: rho c V dT_out/dt = rho c Q (T_in - T_out) + q A

Assumptions:
- one dimension; a row of channels of diameter d at a pitch acts as a plane with the wetted area of
  the channels;
- constant properties; those of the polymer are means over melt and solid and include the heat of
  crystallisation;
- the section is near the gate, so melt touches it from the start of filling;
- while the mould is open, its wall loses heat to the air; radiation and the machine's platens are
  neglected.

Time: backward Euler, which is stable for every step.
"""

import math

from edgeai.plant import polymer
from edgeai.plant.conduction import (
    INSULATED,
    Layer,
    Stack,
    Step,
    advance,
    face_conductances,
    make_stack,
    make_step,
    probe_weights,
)
from edgeai.plant.signals import FloatArray

HALF_WALL_M = 0.5e-3  # half the wall thickness of a lid of 1 mm

# Polypropylene, effective over the moulding range: T. A. Osswald, J. P. Hernandez-Ortiz, Polymer
# Processing, chapter 2 (k 0.15 to 0.25, rho 740 melt to 905 solid, c 2.0 to 2.9 with melting).
POLYMER_CONDUCTIVITY_W_M_K = 0.20
POLYMER_DENSITY_KG_M3 = 850.0
POLYMER_HEAT_CAPACITY_J_KG_K = 2500.0
POLYMER_DIFFUSIVITY_M2_S = POLYMER_CONDUCTIVITY_W_M_K / (
    POLYMER_DENSITY_KG_M3 * POLYMER_HEAT_CAPACITY_J_KG_K
)

# Mould steel 1.2311 (AISI P20), makers' data sheets: k 29 to 34, rho 7800 to 7850, c 460.
STEEL_CONDUCTIVITY_W_M_K = 29.0
STEEL_DENSITY_KG_M3 = 7850.0
STEEL_HEAT_CAPACITY_J_KG_K = 460.0

# Channel layout: Menges, Michaeli, Mohren, How to Make Injection Molds, chapter 8 (depth 1 to 2
# and pitch about 3 diameters).
CHANNEL_DIAMETER_M = 0.010
CHANNEL_PITCH_M = 0.030
CHANNEL_DEPTH_M = 0.015
WETTED_RATIO = math.pi * CHANNEL_DIAMETER_M / CHANNEL_PITCH_M
"""Wetted channel area per area of cavity wall."""
WATER_VOLUME_M3 = 0.15e-3  # water in the channels and bores of one half

CAVITY_AREA_M2 = 0.047  # area of the part, cooled by the circuit of one half

AIR_DEGC = 24.0

AIR_COEFFICIENT_W_M2_K = 15.0
"""From the open mould wall to the air: natural convection and radiation, Incropera table 1.1."""

NEAR_DEPTH_M = 1.5e-3  # thermocouples, measured from the cavity wall
DEEP_DEPTH_M = 8.0e-3
NEAR_LAG_SECONDS = 0.15  # response time of the near thermocouple

PART_CELLS = 10
SURFACE_CELLS = 10
BODY_CELLS = 10
SURFACE_M = 3.0e-3  # finer cells where the temperature swings in a cycle, sqrt(a t) = 3 mm in 1 s

_BUCKET = 0.002
"""Coefficients are rounded to steps of 0.2 %, so that about a hundred solved steps serve a run. The
error of the steel temperatures is at most 0.002 K, far below the resolution of the sensors."""
_CACHE_SIZE = 512

_STEEL = (
    Layer(
        SURFACE_M,
        STEEL_CONDUCTIVITY_W_M_K,
        STEEL_DENSITY_KG_M3,
        STEEL_HEAT_CAPACITY_J_KG_K,
        SURFACE_CELLS,
    ),
    Layer(
        CHANNEL_DEPTH_M - SURFACE_M,
        STEEL_CONDUCTIVITY_W_M_K,
        STEEL_DENSITY_KG_M3,
        STEEL_HEAT_CAPACITY_J_KG_K,
        BODY_CELLS,
    ),
)
_PART = Layer(
    HALF_WALL_M,
    POLYMER_CONDUCTIVITY_W_M_K,
    POLYMER_DENSITY_KG_M3,
    POLYMER_HEAT_CAPACITY_J_KG_K,
    PART_CELLS,
)
CLOSED: Stack = make_stack((_PART, *_STEEL))
OPEN: Stack = make_stack(_STEEL)


def _rounded(coefficient: float) -> float:
    return math.exp(round(math.log(coefficient) / _BUCKET) * _BUCKET)


class Mould:
    """Temperatures of one half of the mould, the part in it, and its cooling water.

    Args:
        dt_seconds: Time step. The explicit step of the water needs dt < V/Q, 0.9 s at
            10 litre/minute.
        start_degc: Temperature of everything at the start.

    Attributes:
        temperatures: (30,) float64, degC: 10 cells of the part from its middle, 20 of the steel.
        outlet_degc: Temperature of the water at the outlet.
        contact_w_m2_k: Present contact coefficient; None while the mould is open.
        water_w_m2_k: Present coefficient in the channels, per wetted area.
    """

    def __init__(self, dt_seconds: float, start_degc: float) -> None:
        self._dt_seconds = dt_seconds
        self._steps: dict[tuple[float, float], Step] = {}
        self.temperatures: FloatArray = (CLOSED.centres_m * 0.0) + start_degc
        self.outlet_degc = start_degc
        self.contact_w_m2_k: float | None = None
        self.water_w_m2_k = 0.0
        self._flow_l_min = 0.0
        shift = HALF_WALL_M
        self._near = probe_weights(CLOSED, shift + NEAR_DEPTH_M)
        self._deep = probe_weights(CLOSED, shift + DEEP_DEPTH_M)
        self._wall = probe_weights(CLOSED, shift)

    @property
    def near_degc(self) -> float:
        """Temperature of the steel 1.5 mm behind the cavity wall, degC."""
        return float(self._near @ self.temperatures)

    @property
    def deep_degc(self) -> float:
        """Temperature of the steel 8 mm behind the cavity wall, degC."""
        return float(self._deep @ self.temperatures)

    @property
    def wall_degc(self) -> float:
        """Temperature of the cavity wall, degC."""
        return float(self._wall @ self.temperatures)

    @property
    def core_degc(self) -> float:
        """Temperature of the part's middle, degC; while the mould is open, that at ejection."""
        return float(self.temperatures[0])

    @property
    def part_mean_degc(self) -> float:
        """Mean temperature of the part, degC."""
        return float(self.temperatures[:PART_CELLS].sum()) / PART_CELLS

    def frozen_fraction(self, frozen_degc: float) -> float:
        """Return the share of the part's wall below frozen_degc, 0 to 1."""
        return float((self.temperatures[:PART_CELLS] < frozen_degc).mean())

    def fill(self, melt_degc: float) -> None:
        """Fill the cavity with fresh melt."""
        self.temperatures[:PART_CELLS] = melt_degc

    def advance(
        self,
        contact_w_m2_k: float | None,
        flow_l_min: float,
        inlet_degc: float,
        air_degc: float,
    ) -> None:
        """Advance by one time step.

        Args:
            contact_w_m2_k: Coefficient between part and wall; None while the mould is open.
            flow_l_min: Flow of cooling water through the half.
            inlet_degc: Temperature of the cooling water at the inlet.
            air_degc: Temperature of the air at the open wall.
        """
        self.contact_w_m2_k = contact_w_m2_k
        if flow_l_min != self._flow_l_min:
            self._flow_l_min = flow_l_min
            self.water_w_m2_k = polymer.channel_coefficient(flow_l_min, CHANNEL_DIAMETER_M)
        step = self._step(contact_w_m2_k, self.water_w_m2_k * WETTED_RATIO)
        water_degc = 0.5 * (inlet_degc + self.outlet_degc)
        if contact_w_m2_k is None:
            steel = self.temperatures[PART_CELLS:]
            self.temperatures[PART_CELLS:] = advance(step, steel, air_degc, water_degc)
        else:
            self.temperatures = advance(step, self.temperatures, air_degc, water_degc)
        flux_w_m2 = step.conductances_w_m2_k.item(-1) * (self.temperatures.item(-1) - water_degc)
        carried = flow_l_min / polymer.LITRES_PER_M3 / polymer.SECONDS_PER_MINUTE
        volume_heat = polymer.WATER_DENSITY_KG_M3 * polymer.WATER_HEAT_CAPACITY_J_KG_K
        gained = flux_w_m2 * CAVITY_AREA_M2 / volume_heat
        gained += carried * (inlet_degc - self.outlet_degc)
        self.outlet_degc += self._dt_seconds * gained / WATER_VOLUME_M3

    def _step(self, contact_w_m2_k: float | None, water_w_m2_k: float) -> Step:
        contact = 0.0 if contact_w_m2_k is None else _rounded(contact_w_m2_k)
        key = (contact, _rounded(water_w_m2_k))
        step = self._steps.get(key)
        if step is None:
            if len(self._steps) >= _CACHE_SIZE:
                self._steps.clear()
            if contact_w_m2_k is None:
                faces = face_conductances(OPEN, AIR_COEFFICIENT_W_M2_K, key[1])
                step = make_step(OPEN, faces, self._dt_seconds)
            else:
                contacts = (contact, math.inf)
                faces = face_conductances(CLOSED, INSULATED, key[1], contacts)
                step = make_step(CLOSED, faces, self._dt_seconds)
            self._steps[key] = step
        return step
