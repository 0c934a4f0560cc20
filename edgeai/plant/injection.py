"""The injection unit and the clamp: phases, pressures, screw, contact with the wall.

Filling is power-law flow in a rectangular cavity, so the pressure rises with the filled length.
Packing keeps a set pressure until the gate freezes. Then the mass in the cavity is constant, and
the pressure falls with the part's mean temperature,

    dp = (beta / kappa) dT        (linearised pvT behaviour at constant volume),

until it is zero. Then the part leaves the cavity wall, and the thermal contact becomes worse.

Sources: M. R. Kamal, A. I. Isayev, S.-J. Liu (eds.), Injection Molding: Technology and Fundamentals
(2009), chapter 1 (cycle); T. A. Osswald, J. P. Hernandez-Ortiz, Polymer Processing: Modeling and
Simulation (2006), chapter 2 (pvT, viscosity); D. Delaunay et al., "Nature of contact between
polymer and mold in injection molding. Part I", Polymer Engineering and Science 40 (2000) 1682
(contact).
"""

import math
from dataclasses import dataclass

import numpy as np

from edgeai.plant import polymer
from edgeai.plant.mould import (
    CAVITY_AREA_M2,
    HALF_WALL_M,
    POLYMER_DIFFUSIVITY_M2_S,
    Mould,
)

FILL, PACK, COOL, OPEN = range(4)

PASCAL_PER_BAR = 1.0e5
NEWTON_PER_KN = 1.0e3

CAVITY_WIDTH_M = 0.30
CAVITY_LENGTH_M = CAVITY_AREA_M2 / CAVITY_WIDTH_M
SHOT_M3 = CAVITY_AREA_M2 * 2.0 * HALF_WALL_M

# An easy-flowing polypropylene for thin walls: about 60 Pa s at 2,000 1/s and 230 degC, as in
# makers' viscosity curves for a melt flow rate of 60 to 70.
CONSISTENCY_PA_SN = 8000.0
POWER_INDEX = 0.35
CONSISTENCY_PER_K = 0.010
MELT_DEGC = 230.0
FROZEN_DEGC = 130.0  # no-flow temperature of polypropylene
RUNNER_BAR = 200.0  # loss in nozzle, hot runner and gate at nominal flow and consistency
PRESSURE_BAR_K = 6.0  # beta / kappa of polypropylene, 6e-4 1/K over 1e-9 1/Pa

GATE_M = 0.8e-3
FILL_SECONDS = 0.5
PACK_SECONDS = 1.0
OPEN_SECONDS = 2.0  # open, eject, close
ROBOT_SECONDS = 0.2  # longest time that a robot adds to OPEN_SECONDS
CLAMPING_SECONDS = 0.3  # the clamp builds its force in the last part of the open phase
PRESSURE_LAG_SECONDS = 0.05  # response time of the pressure control
PACK_TRANSMISSION = 0.85  # share of the nozzle's pack pressure at the sensor near the gate
BACK_PRESSURE_BAR = 60.0
IDLE_PRESSURE_BAR = 5.0
SPEED_SCATTER = 0.004  # relative standard deviation of the injection speed between shots

SHOT_POSITION_MM = 50.0
TRANSFER_POSITION_MM = 12.0
PACK_STROKE_MM = 4.0
PACK_STROKE_SECONDS = 0.3
PLASTICISE_MM_S = 25.0

CLAMP_KN = 2500.0
CLAMP_SHARE = 0.1
"""Share of the opening force in the tie bars: stiffness of the bars over that of bars and mould."""
MEAN_PRESSURE_SHARE = 0.5  # mean cavity pressure over the pressure near the gate
CLAMP_LAG_SECONDS = 0.08

# Defaults of Autodesk Moldflow for fill, pack and detached. Delaunay measured 1,000 to 10,000.
CONTACT_FILL_W_M2_K = 5000.0
CONTACT_PACK_W_M2_K = 2500.0
CONTACT_LOST_W_M2_K = 1250.0

WEAR_PRESSURE_SHARE = 0.4
WEAR_CREEP_MM_S = 10.0
WEAR_FILL_LEAK = 0.1
SHRINKAGE_RATE = 2.0
SHRINKAGE_GAP_SHARE = 0.7


@dataclass(slots=True)
class Conditions:
    """Process conditions of a shot.

    Attributes:
        melt_degc: Temperature of the melt.
        consistency: Consistency of the material lot, relative to the nominal value.
        speed: Injection speed, relative to the nominal value.
        pack_bar: Set pack pressure at the nozzle.
        cool_seconds: Set length of the cool phase.
        ring_wear: Level of the worn check ring, 0 to 1.
        shrinkage: Level of the early shrinkage, 0 to 1.
    """

    melt_degc: float
    consistency: float
    speed: float
    pack_bar: float
    cool_seconds: float
    ring_wear: float
    shrinkage: float


class Injection:
    """Cycle, pressures, screw and clamp; starts at the end of an open phase.

    Args:
        dt_seconds: Time step, below twice the shortest lag (0.05 s).
        rng: Source of the scatter between shots.

    Attributes:
        phase: FILL, PACK, COOL or OPEN.
        nozzle_bar: Melt pressure at the nozzle.
        cavity_bar: Melt pressure near the gate.
        screw_mm: Screw tip before the barrel's end.
        clamp_kn: Force of the tie bars.
        is_held: Whether the machine waits with an open mould: the cycle that runs is finished, and
            no other begins. Set by the caller.
        cycle_seconds: Time since filling began, at the end of the step.
    """

    def __init__(self, dt_seconds: float, rng: np.random.Generator) -> None:
        self._dt_seconds = dt_seconds
        self._rng = rng
        self._lag = dt_seconds / PRESSURE_LAG_SECONDS
        self._elapsed_seconds = 0.0
        self.cycle_seconds = 0.0
        self._duration_seconds = 0.0
        self._gate_seconds = 0.0
        self._frozen_at: tuple[float, float] | None = None
        self._contact_lost_w_m2_k = CONTACT_LOST_W_M2_K
        self.phase = OPEN
        self.nozzle_bar = IDLE_PRESSURE_BAR
        self.cavity_bar = 0.0
        self.screw_mm = SHOT_POSITION_MM
        self.clamp_kn = 0.0
        self.is_held = False

    def advance(self, mould: Mould, now: Conditions) -> None:
        """Advance by one time step. Fresh melt enters the mould when filling starts."""
        self._elapsed_seconds += self._dt_seconds
        self.cycle_seconds += self._dt_seconds
        # Half a step of tolerance, because a sum of steps is not exactly the duration.
        is_over = self._elapsed_seconds > self._duration_seconds - 0.5 * self._dt_seconds
        if is_over and self.is_held and self.phase == OPEN:
            # Once it is let go, the mould closes first.
            self._duration_seconds = self._elapsed_seconds + 2 * CLAMPING_SECONDS
        elif is_over:
            self._next_phase(mould, now)
        if self.phase == FILL:
            self._fill(now)
        elif self.phase == PACK:
            self._pack(mould, now)
        elif self.phase == COOL:
            self.nozzle_bar += (BACK_PRESSURE_BAR - self.nozzle_bar) * self._lag
            back_mm = PLASTICISE_MM_S * self._dt_seconds
            self.screw_mm = min(SHOT_POSITION_MM, self.screw_mm + back_mm)
            self._cavity_falls(mould, now)
        else:
            self.nozzle_bar += (IDLE_PRESSURE_BAR - self.nozzle_bar) * self._lag
            self.cavity_bar = 0.0
        self._contact_lost_w_m2_k = CONTACT_LOST_W_M2_K * (
            1.0 - SHRINKAGE_GAP_SHARE * now.shrinkage
        )
        self._clamp()

    @property
    def phase_seconds(self) -> float:
        """Time in the present phase at the end of the step."""
        return self._elapsed_seconds + self._dt_seconds

    @property
    def contact_w_m2_k(self) -> float | None:
        """Contact coefficient between part and wall; None while the mould is open."""
        if self.phase == OPEN:
            return None
        if self.phase == FILL:
            return CONTACT_FILL_W_M2_K
        return CONTACT_PACK_W_M2_K if self.cavity_bar > 0.0 else self._contact_lost_w_m2_k

    def _next_phase(self, mould: Mould, now: Conditions) -> None:
        self.phase = (self.phase + 1) % 4
        self._elapsed_seconds = 0.0
        if self.phase == FILL:
            self.cycle_seconds = self._dt_seconds
            self._frozen_at = None
            speed = now.speed * self._rng.normal(1.0, SPEED_SCATTER)
            self._duration_seconds = FILL_SECONDS / speed
            mould.fill(now.melt_degc)
        elif self.phase == PACK:
            self._duration_seconds = PACK_SECONDS
            self._gate_seconds = polymer.freezing_seconds(
                GATE_M, POLYMER_DIFFUSIVITY_M2_S, now.melt_degc, mould.wall_degc, FROZEN_DEGC
            )
        elif self.phase == COOL:
            self._duration_seconds = now.cool_seconds
        else:
            self._duration_seconds = OPEN_SECONDS + self._rng.uniform(0.0, ROBOT_SECONDS)

    def _fill(self, now: Conditions) -> None:
        filled = min(1.0, self._elapsed_seconds / self._duration_seconds)
        flow_m3_s = SHOT_M3 / self._duration_seconds * (1.0 - WEAR_FILL_LEAK * now.ring_wear)
        consistency = polymer.consistency_at(
            now.melt_degc, CONSISTENCY_PA_SN * now.consistency, MELT_DEGC, CONSISTENCY_PER_K
        )
        drop_pa = polymer.slit_pressure_drop(
            flow_m3_s,
            filled * CAVITY_LENGTH_M,
            CAVITY_WIDTH_M,
            2.0 * HALF_WALL_M,
            consistency_pa_sn=consistency,
            power_index=POWER_INDEX,
        )
        speed = (flow_m3_s * FILL_SECONDS / SHOT_M3) ** POWER_INDEX
        self.cavity_bar = drop_pa / PASCAL_PER_BAR
        self.nozzle_bar = self.cavity_bar + RUNNER_BAR * consistency / CONSISTENCY_PA_SN * speed
        self.screw_mm = SHOT_POSITION_MM - filled * (SHOT_POSITION_MM - TRANSFER_POSITION_MM)

    def _pack(self, mould: Mould, now: Conditions) -> None:
        eased = 1.0 - math.exp(-self._elapsed_seconds / PACK_STROKE_SECONDS)
        target_bar = now.pack_bar * (1.0 - WEAR_PRESSURE_SHARE * now.ring_wear * eased)
        self.nozzle_bar += (target_bar - self.nozzle_bar) * self._lag
        if self._elapsed_seconds >= self._gate_seconds:
            self._cavity_falls(mould, now)
        else:
            in_cavity_bar = PACK_TRANSMISSION * self.nozzle_bar
            self.cavity_bar += (in_cavity_bar - self.cavity_bar) * self._lag
        creep_mm = WEAR_CREEP_MM_S * now.ring_wear * self._elapsed_seconds
        self.screw_mm = max(0.0, TRANSFER_POSITION_MM - PACK_STROKE_MM * eased - creep_mm)

    def _cavity_falls(self, mould: Mould, now: Conditions) -> None:
        mean_degc = mould.part_mean_degc
        if self._frozen_at is None:
            self._frozen_at = (self.cavity_bar, mean_degc)
        frozen_bar, frozen_degc = self._frozen_at
        rate_bar_k = PRESSURE_BAR_K * (1.0 + SHRINKAGE_RATE * now.shrinkage)
        self.cavity_bar = max(0.0, frozen_bar - rate_bar_k * (frozen_degc - mean_degc))

    def _clamp(self) -> None:
        target_kn = 0.0
        left_seconds = self._duration_seconds - self._elapsed_seconds
        closes = left_seconds < CLAMPING_SECONDS and not self.is_held
        if self.phase != OPEN or closes:
            pressure_pa = MEAN_PRESSURE_SHARE * self.cavity_bar * PASCAL_PER_BAR
            opening_kn = pressure_pa * CAVITY_AREA_M2 / NEWTON_PER_KN
            target_kn = CLAMP_KN + CLAMP_SHARE * opening_kn
        self.clamp_kn += (target_kn - self.clamp_kn) * self._dt_seconds / CLAMP_LAG_SECONDS
