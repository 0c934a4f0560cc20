"""A small electric furnace that melts and holds aluminium for a die casting machine.

A bath of about 560 kg is heated from the roof by three groups of silicon carbide rods. It is
charged with cold ingots and emptied by a ladle in doses. A glass tank or a reverberatory furnace
responds in hours; this furnace responds in minutes: roof and rods C / (dQ/dT) about 2 min, bath
under PI control about 5 min, thermocouples 15 s. Only the lining takes hours, and it starts in its
steady state.

    roof:   C_c dT_c/dt = sum(P_i) - s eps A (T_c^4 - T_b^4) - G_c (T_c - T_air) - door
    bath:   m c dT_b/dt = s eps A (T_c^4 - T_b^4) - hA (T_b - T_m) f(m_s) - dm/dt c (T_b - T_m)
                          - G_1 (T_b - T_w) - G_wear (T_b - T_s)
    ingots: dm/dt H = hA (T_b - T_m) f(m_s),     f = (m_s / m_ingot)^(2/3), remaining surface
    lining: C_w dT_w/dt = G_1 (T_b - T_w) - G_2 (T_w - T_s)
    shell:  C_s dT_s/dt = G_2 (T_w - T_s) + G_wear (T_b - T_s) - G_3 (T_s - T_air)
    level:  mass in the bath over density times area
    heater: P_i = P_max u (V / V_n)^2,  I_i = sqrt(P_i / R)
    control: u = K e + K / T_i integral(e), limited, with the integral held at the limits

s is the Stefan-Boltzmann constant; temperatures in radiation terms are absolute. H is the enthalpy
from cold to just molten, so molten mass must still be heated from T_m to T_b.

Sources: F. P. Incropera et al., Fundamentals of Heat and Mass Transfer, sections 5.3 (lumped
capacitance) and 13.3 (radiation between grey surfaces); ASM Handbook vol. 15 Casting (aluminium
alloys: liquidus 615 degC of A356, density 2370 kg/m3 molten, latent heat 389 to 397 kJ/kg); W.
Trinks et al., Industrial Furnaces, 6th ed., chapters 2 and 3; K. J. Astrom, T. Hagglund, Advanced
PID Control, sections 3.2 and 3.5 (PI, windup).

Explicit Euler with the sample period, 0.1 s, is stable below 2 C / (dQ/dT), here minutes.
"""

import math
from collections.abc import Mapping

import numpy as np

from edgeai.plant.faults import ActiveFaults, Fault
from edgeai.plant.signals import FloatArray, Sensors, Signal
from edgeai.plant.variation import SetPoints, Wander

RATE_HZ = 10.0
PERIOD_SECONDS = 1.0 / RATE_HZ

STEFAN_BOLTZMANN_W_M2_K4 = 5.670e-8
ZERO_DEGC_K = 273.15

MELT_DENSITY_KG_M3 = 2370.0
MELT_HEAT_CAPACITY_J_KG_K = 1080.0
LIQUIDUS_DEGC = 615.0
MELTING_J_KG = 1.0e6
"""From 25 degC to just molten: about 1030 J/(kg K) over 590 K, and 0.39 MJ/kg latent."""
BATH_AREA_M2 = 0.6
TARGET_LEVEL_MM = 400.0
TARGET_KG = MELT_DENSITY_KG_M3 * BATH_AREA_M2 * TARGET_LEVEL_MM / 1000.0

ROOF_J_K = 30.0e3  # rods, and the roof surface that follows them within a minute
ROOF_TO_BATH_M2 = 0.48
"""Area times exchange factor; dross gives the bath a higher emissivity than clean metal."""
ROOF_LOSS_W_K = 5.0
DOOR_M2 = 0.05
DOOR_SECONDS = 12.0

INGOT_KG = 8.0
INGOT_W_K = 600.0  # from the bath to one whole ingot
DOSE_KG = 2.5
DOSE_GAP_SECONDS = 60.0
DOSE_JITTER_SECONDS = 5.0
DOSE_JITTER_KG = 0.05

LINING_W_K = 11.0
"""Each half of the lining: 4 m2 at 2.75 W/(m2 K); 5.5 W/K through both halves."""
LINING_J_K = 2.2e6
SHELL_W_K = 60.0
SHELL_J_K = 92.0e3  # 4 m2 of 6 mm steel

GROUPS = 3
GROUP_W = 30.0e3
GROUP_OHM = 5.33  # 30 kW at 400 V

GAIN_PER_K = 0.03
INTEGRAL_SECONDS = 400.0
RAMP_K_S = 0.02  # ramp of the set-point
THERMOCOUPLE_LAG_SECONDS = 15.0
EXHAUST_LAG_SECONDS = 8.0
EXHAUST_SHARE = 0.35
DOOR_DILUTION = 0.6  # factor on the exhaust's excess temperature while the door is open
DEEP_OFFSET_K = 3.0

WEAR_W_K = 30.0
LEAK_KG_S = 0.9

WARM_UP_SECONDS = 1800
WARM_UP_DT_SECONDS = 1.0

SIGNALS = (
    Signal("bath_temperature_1", "degC", 600, 820, "bath at the top; the controller's", 0.2, 0.1),
    Signal("bath_temperature_2", "degC", 600, 820, "bath near the bottom", 0.2, 0.1),
    Signal("crown_temperature", "degC", 600, 1400, "roof between the heaters", 0.8, 0.1),
    Signal("shell_temperature", "degC", 0, 300, "steel shell at the lining's thinnest", 0.2, 0.1),
    Signal("exhaust_temperature", "degC", 0, 700, "air drawn off above the bath", 1.0, 0.1),
    Signal("level", "mm", 0, 500, "bath, laser from above", 0.3, 0.1),
    Signal("heater_current_1", "A", -1, 100, "RMS, group 1", 0.2, 0.1),
    Signal("heater_current_2", "A", -1, 100, "RMS, group 2", 0.2, 0.1),
    Signal("heater_current_3", "A", -1, 100, "RMS, group 3", 0.2, 0.1),
    Signal("heater_power", "kW", -1, 110, "all groups", 0.1, 0.1),
    Signal("power_demand", "%", -1, 101, "controller output", 0.0, 0.1),
)

FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("heater_failure", "Rods of heater group 2 break.", "group 2 has no power", 0.2),
        Fault(
            "refractory_wear",
            "Metal has entered a crack in the lining and heats the shell.",
            "30 W/K from the bath to the shell, six times the sound lining",
            5.0,
        ),
        Fault(
            "sensor_stuck",
            "The controlling bath thermocouple keeps its value.",
            "the reading does not follow at all; below 1 it follows in part",
            0.1,
        ),
        Fault("level_leak", "The tap-hole leaks.", "0.9 kg/s, level falls 0.6 mm/s", 2.0),
    )
}


class Tank:
    """Electric aluminium furnace with control, charging and dosing; starts warmed up.

    Args:
        seed: Random seed; determines every value.

    Attributes:
        bath_kg: Molten mass.
        ingot_kg: Charged mass that is not molten yet.
        charged_kg: Mass charged since the start of the warm-up.
        drawn_kg: Mass dosed or leaked since the start of the warm-up.
        supplied_j: Heat from the heaters since the start of the warm-up.
        lost_j: Heat lost through roof, door and shell, and with the metal, since then.
    """

    signals = SIGNALS
    rate_hz = RATE_HZ
    faults = FAULTS

    def __init__(self, seed: int = 0) -> None:
        noise, wander, operator, handling = np.random.default_rng(seed).spawn(4)
        self._sensors = Sensors(SIGNALS, noise)
        # (standard deviation, correlation time in s) of: voltage (relative), air K, resistance of
        # three groups (relative).
        groups = [(0.005, 200.0)] * GROUPS
        self._wander = Wander([(0.008, 90.0), (1.0, 600.0), *groups], PERIOD_SECONDS, wander)
        self._slow = self._wander.values()
        targets, ramps = {"bath_degc": (718.0, 722.0)}, {"bath_degc": RAMP_K_S}
        self._set = SetPoints(targets, 400.0, operator, ramps)
        self._handling = handling
        self._faults = ActiveFaults("tank", FAULTS)
        self.bath_kg = TARGET_KG
        self.ingot_kg = 0.0
        self.charged_kg = self.drawn_kg = self.supplied_j = self.lost_j = 0.0
        self._bath_degc = self._set.values["bath_degc"]
        self._roof_degc = 1000.0
        through = (self._bath_degc - self._air_degc) / (2.0 / LINING_W_K + 1.0 / SHELL_W_K)
        self._shell_degc = self._air_degc + through / SHELL_W_K
        self._lining_degc = self._shell_degc + through / LINING_W_K
        self._probe_degc = self._deep_degc = self._bath_degc
        self._stuck_degc: float | None = None
        self._exhaust_degc = self._air_degc
        self._integral = 0.5
        self._demand = 0.5
        self._door_seconds = 0.0
        self._dose_in_seconds = DOSE_GAP_SECONDS
        self._group_w = [0.0] * GROUPS
        for _ in range(int(WARM_UP_SECONDS / WARM_UP_DT_SECONDS)):
            self._advance(WARM_UP_DT_SECONDS)

    @property
    def active_faults(self) -> dict[str, float]:
        """Severity of each active fault, by name."""
        return self._faults.severities

    @property
    def stored_j(self) -> float:
        """Stored heat relative to cold ingots, J; its change is heat supplied minus heat lost."""
        bath = self.bath_kg * MELT_HEAT_CAPACITY_J_KG_K * (self._bath_degc - LIQUIDUS_DEGC)
        return (
            bath
            + self.bath_kg * MELTING_J_KG
            + ROOF_J_K * self._roof_degc
            + LINING_J_K * self._lining_degc
            + SHELL_J_K * self._shell_degc
        )

    def inject(self, fault: str, severity: float = 1.0) -> None:
        """Start a fault. Raises ValueError if it is unknown or the severity is not in (0, 1]."""
        self._faults.inject(fault, severity)

    def clear(self, fault: str | None) -> None:
        """End a fault, or all of them (None). Raises ValueError if it is unknown."""
        self._faults.clear(fault)

    def step(self) -> FloatArray:
        """Advance one sample period and return the readings, (11,) float64."""
        self._slow = self._wander.step()
        self._set.step(PERIOD_SECONDS)
        self._faults.advance(PERIOD_SECONDS)
        self._advance(PERIOD_SECONDS)
        level_mm = 1000.0 * (self.bath_kg + self.ingot_kg) / (MELT_DENSITY_KG_M3 * BATH_AREA_M2)
        readings = self._sensors.measure(
            (
                self._probe_degc,
                self._deep_degc,
                self._roof_degc,
                self._shell_degc,
                self._exhaust_degc,
                level_mm,
                *self._currents_a(),
                sum(self._group_w) / 1000.0,
                100.0 * self._demand,
            )
        )
        self._stick(readings)
        return readings

    def _currents_a(self) -> list[float]:
        groups = zip(self._group_w, self._slow[2:], strict=True)
        return [math.sqrt(power / (GROUP_OHM * (1.0 + share))) for power, share in groups]

    def _stick(self, readings: FloatArray) -> None:
        stuck = self._faults.level("sensor_stuck")
        if stuck == 0.0:
            self._stuck_degc = None
            return
        if self._stuck_degc is None:
            self._stuck_degc = float(readings[0])
        followed = (1.0 - stuck) * (readings[0] - self._stuck_degc)
        readings[0] = round(self._stuck_degc + followed, SIGNALS[0].decimals)

    @property
    def _air_degc(self) -> float:
        return 28.0 + self._slow[1]

    def _advance(self, dt_seconds: float) -> None:
        self._handle_metal(dt_seconds)
        self._control(dt_seconds)
        self._exchange_heat(dt_seconds)
        lag = dt_seconds / THERMOCOUPLE_LAG_SECONDS
        self._probe_degc += (self._bath_degc - self._probe_degc) * lag
        self._deep_degc += (self._bath_degc - DEEP_OFFSET_K - self._deep_degc) * lag
        share = EXHAUST_SHARE * (DOOR_DILUTION if self._door_seconds > 0.0 else 1.0)
        exhaust = self._air_degc + share * (self._roof_degc - self._air_degc)
        self._exhaust_degc += (exhaust - self._exhaust_degc) * dt_seconds / EXHAUST_LAG_SECONDS

    def _handle_metal(self, dt_seconds: float) -> None:
        out_kg = LEAK_KG_S * self._faults.level("level_leak") * dt_seconds
        self._dose_in_seconds -= dt_seconds
        if self._dose_in_seconds <= 0.0:
            out_kg += self._handling.normal(DOSE_KG, DOSE_JITTER_KG)
            self._dose_in_seconds += self._handling.normal(DOSE_GAP_SECONDS, DOSE_JITTER_SECONDS)
        # A leak empties the bath down to the tap-hole, at half the target level.
        out_kg = min(out_kg, max(0.0, self.bath_kg - 0.5 * TARGET_KG))
        self._draw(out_kg)
        self._door_seconds = max(0.0, self._door_seconds - dt_seconds)
        room_kg = TARGET_KG - self.bath_kg - self.ingot_kg
        if room_kg >= 0.5 * INGOT_KG and self.ingot_kg < 0.5 * INGOT_KG:
            self.ingot_kg += INGOT_KG
            self.charged_kg += INGOT_KG
            self._door_seconds = DOOR_SECONDS

    def _draw(self, out_kg: float) -> None:
        above_j_kg = MELT_HEAT_CAPACITY_J_KG_K * (self._bath_degc - LIQUIDUS_DEGC)
        self.bath_kg -= out_kg
        self.drawn_kg += out_kg
        self.lost_j += out_kg * (MELTING_J_KG + above_j_kg)

    def _control(self, dt_seconds: float) -> None:
        measured = self._probe_degc
        stuck = self._faults.level("sensor_stuck")
        if self._stuck_degc is not None:
            measured = stuck * self._stuck_degc + (1.0 - stuck) * measured
        error = self._set.values["bath_degc"] - measured
        wanted = GAIN_PER_K * error + self._integral
        self._demand = min(1.0, max(0.0, wanted))
        if wanted == self._demand:
            self._integral += GAIN_PER_K * error * dt_seconds / INTEGRAL_SECONDS
        volts = (1.0 + self._slow[0]) ** 2
        full_w = GROUP_W * self._demand * volts
        self._group_w = [full_w / (1.0 + share) for share in self._slow[2:]]
        self._group_w[1] *= 1.0 - self._faults.level("heater_failure")

    def _exchange_heat(self, dt_seconds: float) -> None:
        roof_k4 = (self._roof_degc + ZERO_DEGC_K) ** 4
        bath_k4 = (self._bath_degc + ZERO_DEGC_K) ** 4
        air_k4 = (self._air_degc + ZERO_DEGC_K) ** 4
        radiated_w = STEFAN_BOLTZMANN_W_M2_K4 * ROOF_TO_BATH_M2 * (roof_k4 - bath_k4)
        roof_lost_w = ROOF_LOSS_W_K * (self._roof_degc - self._air_degc)
        if self._door_seconds > 0.0:
            roof_lost_w += STEFAN_BOLTZMANN_W_M2_K4 * DOOR_M2 * (roof_k4 - air_k4)
        left = (self.ingot_kg / INGOT_KG) ** (2.0 / 3.0)
        melting_w = INGOT_W_K * left * (self._bath_degc - LIQUIDUS_DEGC)
        melted_kg = min(self.ingot_kg, melting_w * dt_seconds / MELTING_J_KG)
        into_lining_w = LINING_W_K * (self._bath_degc - self._lining_degc)
        into_shell_w = LINING_W_K * (self._lining_degc - self._shell_degc)
        crack_w_k = WEAR_W_K * self._faults.level("refractory_wear")
        crack_w = crack_w_k * (self._bath_degc - self._shell_degc)
        shell_lost_w = SHELL_W_K * (self._shell_degc - self._air_degc)
        supplied_w = sum(self._group_w)

        bath_gain_j = (radiated_w - into_lining_w - crack_w) * dt_seconds
        bath_gain_j -= melted_kg * MELTING_J_KG
        held_j = self.bath_kg * MELT_HEAT_CAPACITY_J_KG_K * (self._bath_degc - LIQUIDUS_DEGC)
        # Molten metal enters the bath at the liquidus, where `held_j` is zero.
        self.ingot_kg -= melted_kg
        self.bath_kg += melted_kg
        heat_capacity_j_k = self.bath_kg * MELT_HEAT_CAPACITY_J_KG_K
        self._bath_degc = LIQUIDUS_DEGC + (held_j + bath_gain_j) / heat_capacity_j_k
        self._roof_degc += (supplied_w - radiated_w - roof_lost_w) * dt_seconds / ROOF_J_K
        self._lining_degc += (into_lining_w - into_shell_w) * dt_seconds / LINING_J_K
        gained_w = into_shell_w + crack_w - shell_lost_w
        self._shell_degc += gained_w * dt_seconds / SHELL_J_K
        self.supplied_j += supplied_w * dt_seconds
        self.lost_j += (roof_lost_w + shell_lost_w) * dt_seconds
