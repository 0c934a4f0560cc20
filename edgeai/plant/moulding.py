"""An injection moulding machine that makes thin-walled lids in cycles of about 6 s.

Phases: fill, pack, cool, open. The injection unit (`injection`) computes pressures and contact, the
mould (`mould`) computes temperatures. They are coupled in both directions: once the gate is frozen,
the pressure falls with the part's temperature; once the pressure is zero, the part leaves the wall
and cools more slowly. Equations, constants and sources are in those modules and in `polymer`.
"""

from collections.abc import Mapping

import numpy as np

from edgeai.plant.faults import ActiveFaults, Fault, FaultInjection
from edgeai.plant.injection import FILL, FROZEN_DEGC, MELT_DEGC, OPEN, Conditions, Injection
from edgeai.plant.mould import AIR_DEGC, NEAR_LAG_SECONDS, Mould
from edgeai.plant.signals import FloatArray, Sensors, Signal
from edgeai.plant.variation import SetPoints, Wander

RATE_HZ = 10.0
PERIOD_SECONDS = 1.0 / RATE_HZ
SUBSTEPS = 5
DT_SECONDS = PERIOD_SECONDS / SUBSTEPS
"""Conduction is implicit. The explicit lags, 0.05 s or more, need a step below twice the lag."""

INLET_DEGC = 20.0
FLOW_L_MIN = 10.0

MELT_SENSOR_LAG_SECONDS = 1.0

BLOCKED_SHARE = 0.7
DRIFT_K = 3.0
OVERHEAT_K = 25.0

SETTLE_CYCLES = 25
"""From cold to the periodic steady state: ten time constants of the steel, each
4 L^2 / (pi^2 a) = 11 s."""

SIGNALS = (
    Signal("phase", "1", 0, 3, "0 fill, 1 pack, 2 cool, 3 open and eject", 0.0, 1.0),
    Signal("injection_pressure", "bar", -20, 1500, "melt at the nozzle", 2.0, 0.5),
    Signal("cavity_pressure", "bar", -20, 1000, "melt in the cavity near the gate", 1.5, 0.5),
    Signal("screw_position", "mm", -1, 60, "screw tip before the barrel's end", 0.02, 0.01),
    Signal("melt_temperature", "degC", 180, 290, "melt at the nozzle", 0.3, 0.1),
    Signal("mould_temperature_near", "degC", 5, 90, "steel 1.5 mm behind the cavity", 0.1, 0.05),
    Signal("mould_temperature_deep", "degC", 5, 90, "steel 8 mm behind the cavity", 0.1, 0.05),
    Signal("coolant_inlet_temperature", "degC", 5, 60, "water into one half", 0.05, 0.02),
    Signal("coolant_outlet_temperature", "degC", 5, 60, "water out of one half", 0.05, 0.02),
    Signal("coolant_flow", "L/min", -0.2, 15, "water through one half", 0.05, 0.01),
    Signal("clamp_force", "kN", -50, 3200, "sum of the tie bars", 4.0, 1.0),
    Signal("cycle_seconds", "s", 0, 60, "since the start of filling", 0.0, 0.01),
    Signal("phase_seconds", "s", 0, 60, "since the start of the phase", 0.0, 0.01),
)
CLOCKS = 2  # the last signals are clocks of the controller, not sensors

FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "coolant_blocked",
            "Scale or dirt blocks the cooling channel; heat transfer falls with the flow.",
            "flow falls by 70 %",
            5.0,
        ),
        Fault(
            "thermocouple_drift",
            "The mould thermocouple near the cavity reads too high.",
            "+3 degC",
            15.0,
        ),
        Fault("melt_too_hot", "A barrel heater runs away.", "melt 25 K hotter", 15.0),
        Fault(
            "check_ring_wear",
            "The ring leaks: the cushion is lost and pack pressure decays.",
            "pack pressure -40 %, screw creeps 10 mm/s",
            2.0,
        ),
        Fault(
            "early_shrinkage",
            "The part shrinks off the cavity wall too early and a gap insulates it.",
            "cavity pressure falls 3 times as fast, contact 70 % lower once lost",
            2.0,
        ),
    )
}


class Moulding(FaultInjection):
    """Injection moulding machine; starts in the periodic steady state.

    Args:
        seed: Random seed; determines every value.
    """

    signals = SIGNALS
    rate_hz = RATE_HZ
    faults = FAULTS

    def __init__(self, seed: int = 0) -> None:
        noise, wander, operator, shots = np.random.default_rng(seed).spawn(4)
        self._sensors = Sensors(SIGNALS[:-CLOCKS], noise)
        # (standard deviation, correlation time in s) of: inlet K, flow L/min, melt K, consistency
        # (relative), air K.
        self._wander = Wander(
            [(0.4, 300.0), (0.12, 60.0), (1.0, 120.0), (0.03, 400.0), (1.0, 600.0)],
            PERIOD_SECONDS,
            wander,
        )
        self._set = SetPoints(
            {"speed": (0.95, 1.05), "pack_bar": (380.0, 420.0), "cool_seconds": (2.4, 2.6)},
            300.0,
            operator,
        )
        self._faults = ActiveFaults("moulding", FAULTS)
        self._pack_share, self._more_cool_seconds, self._barrel_k = 1.0, 0.0, 0.0
        self._conditions = Conditions(MELT_DEGC, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
        self._inlet_degc, self._flow_l_min, self._air_degc = INLET_DEGC, FLOW_L_MIN, AIR_DEGC
        self._mould = Mould(DT_SECONDS, INLET_DEGC)
        self._injection = Injection(DT_SECONDS, shots)
        self._near_degc = INLET_DEGC
        self._apply(self._wander.values())
        self._melt_sensor_degc = self._conditions.melt_degc
        self._settle()

    def operate(
        self,
        *,
        is_held: bool = False,
        pack_share: float = 1.0,
        cool_seconds: float = 0.0,
        barrel_k: float = 0.0,
    ) -> None:
        """Set how the machine is operated from the next step on; at first it produces.

        Args:
            is_held: Whether it waits with an open mould.
            pack_share: Pack pressure of the recipe, as a share of that of the first product.
            cool_seconds: How much longer than that of the first product the part cools.
            barrel_k: How much hotter than in production the barrel is; negative: colder.
        """
        self._injection.is_held = is_held
        self._pack_share, self._more_cool_seconds = pack_share, cool_seconds
        self._barrel_k = barrel_k

    def hidden(self) -> dict[str, float]:
        """Return quantities that no sensor measures, in degC, W/(m2 K), or as a share of the wall.

        While the mould is open, the part's values are those at ejection, and the contact is 0.
        """
        mould = self._mould
        return {
            "cavity_wall_temperature": mould.wall_degc,
            "part_core_temperature": mould.core_degc,
            "frozen_fraction": mould.frozen_fraction(FROZEN_DEGC),
            "contact_coefficient": mould.contact_w_m2_k or 0.0,
            "coolant_coefficient": mould.water_w_m2_k,
        }

    def step(self) -> FloatArray:
        """Advance one sample period and return the readings, (13,) float64."""
        self._set.step(PERIOD_SECONDS)
        self._faults.advance(PERIOD_SECONDS)
        self._apply(self._wander.step())
        for _ in range(SUBSTEPS):
            self._advance()
        unit = self._injection
        clocks = np.round((unit.cycle_seconds, unit.phase_seconds), 2)
        measured = self._sensors.measure(
            (
                unit.phase,
                unit.nozzle_bar,
                unit.cavity_bar,
                unit.screw_mm,
                self._melt_sensor_degc,
                self._near_degc + DRIFT_K * self._faults.level("thermocouple_drift"),
                self._mould.deep_degc,
                self._inlet_degc,
                self._mould.outlet_degc,
                self._flow_l_min,
                unit.clamp_kn,
            )
        )
        return np.concatenate((measured, clocks))

    def _apply(self, slow: list[float]) -> None:
        """Apply disturbances, set-points and faults to the conditions of the next period."""
        level = self._faults.level
        inlet_k, flow_l_min, melt_k, consistency, air_k = slow
        self._inlet_degc = INLET_DEGC + inlet_k
        self._flow_l_min = (FLOW_L_MIN + flow_l_min) * (
            1.0 - BLOCKED_SHARE * level("coolant_blocked")
        )
        self._air_degc = AIR_DEGC + air_k
        self._conditions.melt_degc = (
            MELT_DEGC + melt_k + OVERHEAT_K * level("melt_too_hot") + self._barrel_k
        )
        self._conditions.consistency = 1.0 + consistency
        self._conditions.speed = self._set.values["speed"]
        self._conditions.pack_bar = self._set.values["pack_bar"] * self._pack_share
        self._conditions.cool_seconds = self._set.values["cool_seconds"] + self._more_cool_seconds
        self._conditions.ring_wear = level("check_ring_wear")
        self._conditions.shrinkage = level("early_shrinkage")

    def _advance(self) -> None:
        self._injection.advance(self._mould, self._conditions)
        self._mould.advance(
            self._injection.contact_w_m2_k, self._flow_l_min, self._inlet_degc, self._air_degc
        )
        near = DT_SECONDS / NEAR_LAG_SECONDS
        self._near_degc += (self._mould.near_degc - self._near_degc) * near
        melt = DT_SECONDS / MELT_SENSOR_LAG_SECONDS
        self._melt_sensor_degc += (self._conditions.melt_degc - self._melt_sensor_degc) * melt

    def _settle(self) -> None:
        cycles = 0
        while cycles < SETTLE_CYCLES:
            before = self._injection.phase
            self._advance()
            cycles += before == OPEN and self._injection.phase == FILL
