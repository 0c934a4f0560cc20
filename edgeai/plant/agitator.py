"""An agitator drive: induction motor with inverter, gearbox, pitched-blade impeller in a vessel.

    impeller:  P = Np(Re) rho N^3 D^5,   Np = Np_turbulent + K / Re,   Re = rho N D^2 / mu
    shaft:     J d(omega)/dt = T_motor - P / (omega eta)         (all referred to the motor shaft)
    motor:     T = 2 T_max u^2 / (s / s_k + s_k / s),  s = (omega_sync - omega), slip speed (Kloss)
    current:   I_active = P_electric / (sqrt(3) U),  I_reactive = I_m u + I_active^2 / D_circle
    bearing:   C dT/dt = P_friction - G (T - T_air)
    product:   m c dT/dt = P - U A (T - T_jacket)
    vibration: independent sources add as squares; the once-per-revolution part is a centrifugal
               force (omega^2) on a stiff support, measured as a velocity, so it grows with omega^3

Sources: E. L. Paul, V. A. Atiemo-Obeng, S. M. Kresta (eds.), Handbook of Industrial Mixing (2004),
chapter 6 (power number, 45 degree pitched blades 1.27; laminar constant); G. Mueller, B. Ponick,
Grundlagen elektrischer Maschinen, chapter on induction machines (Kloss, circle diagram), also A. E.
Fitzgerald, C. Kingsley, S. D. Umans, Electric Machinery, chapter 6; SKF Rolling Bearings catalogue,
sections on friction and temperature; S. S. Rao, Mechanical Vibrations, section 3.7 (rotating
unbalance); ISO 20816-3 for the size of bearing vibration (zone A/B at 1.4 mm/s, C/D at 4.5 mm/s for
15 to 300 kW on rigid support).

Assumptions: the power does not depend on the level while the impeller is submerged; the level
changes the product's mass and the jacket area. The inverter keeps V/f constant and does not
compensate for changes of the supply voltage.
"""

import math
from collections.abc import Mapping

import numpy as np

from edgeai.plant.drive import (
    PRODUCT_DENSITY_KG_M3,
    RATED_SLIP,
    RATED_VOLTS,
    SYNC_RAD_S,
    impeller_power,
    motor_current,
    motor_torque,
)
from edgeai.plant.faults import ActiveFaults, Fault
from edgeai.plant.signals import FloatArray, Sensors, Signal
from edgeai.plant.variation import SetPoints, Wander

RATE_HZ = 10.0
PERIOD_SECONDS = 1.0 / RATE_HZ
SUBSTEPS = 10
DT_SECONDS = PERIOD_SECONDS / SUBSTEPS
"""Explicit Euler for the shaft is stable below 2 J / (dT/d omega), 0.02 s at no load."""

INERTIA_KG_M2 = 0.25  # rotor, gearbox and impeller (20 kg m2 over the square of the gear ratio)

RAMP_PER_SECOND = 0.004  # ramp of the inverter, as a share of the rated speed

GEAR_RATIO = 10.0
GEAR_EFFICIENCY = 0.95

IMPELLER_M = 0.85
PRODUCT_HEAT_CAPACITY_J_KG_K = 3500.0
VISCOSITY_PA_S = 6.0
VISCOSITY_DEGC = 45.0
VISCOSITY_PER_K = 0.03  # a viscous food or resin: the viscosity falls by 3 % per kelvin
VESSEL_AREA_M2 = 5.1  # vessel diameter 2.55 m, three impeller diameters
LEVEL_M = 2.5
JACKET_W_K = 2000.0
JACKET_DEGC = 40.0

BEARING_FRICTION_W = 120.0
BEARING_W_K = 4.0
BEARING_J_K = 3800.0  # 8 kg of steel

ONCE_PER_TURN_MM_S = 0.7
FLOW_MM_S = 0.7
FREE_END_SHARE = 0.7
BEARING_M_S2 = 2.0  # healthy acceleration above 1 kHz at the rated speed

IMBALANCE_MM_S = 3.5
WEAR_M_S2 = 6.0
WEAR_MM_S = 1.0
WEAR_FRICTION = 2.0
UNBALANCE_CURRENT = 0.28
UNBALANCE_MM_S = 0.8
FOULING_DIAMETER = 0.04
FOULING_VISCOSITY = 1.5

SIGNALS = (
    Signal("current_a", "A", -1, 80, "RMS current of phase A", 0.10, 0.01),
    Signal("current_b", "A", -1, 80, "RMS current of phase B", 0.10, 0.01),
    Signal("current_c", "A", -1, 80, "RMS current of phase C", 0.10, 0.01),
    Signal("power_factor", "1", -0.05, 1.05, "active over apparent power", 0.003, 0.001),
    Signal("active_power", "kW", -0.5, 40, "electric power into the motor", 0.04, 0.01),
    Signal("motor_speed", "rpm", -5, 1600, "motor shaft", 0.5, 0.1),
    Signal("torque", "N*m", -5, 250, "motor shaft, from the inverter's model", 0.4, 0.1),
    Signal("vibration_drive_end", "mm/s", 0, 30, "velocity RMS, 10 to 1000 Hz", 0.01, 0.01),
    Signal("vibration_free_end", "mm/s", 0, 30, "velocity RMS, 10 to 1000 Hz", 0.01, 0.01),
    Signal("bearing_acceleration", "m/s2", 0, 50, "RMS above 1 kHz, drive end", 0.02, 0.01),
    Signal("bearing_temperature", "degC", -10, 140, "outer ring, drive end", 0.1, 0.05),
    Signal("product_temperature", "degC", 0, 120, "product in the vessel", 0.1, 0.05),
)

FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "impeller_imbalance",
            "A blade has lost a piece or carries a lump: once-per-turn vibration.",
            "+3.5 mm/s at the rated speed, drive end",
            3.0,
        ),
        Fault(
            "bearing_wear",
            "Pitted races: vibration at high frequency, more friction, a warmer bearing.",
            "+6 m/s2 above 1 kHz, three times the friction",
            5.0,
        ),
        Fault(
            "phase_imbalance",
            "Supply voltages differ: phase currents differ some eight times as much.",
            "phase B 28 % lower, A and C 14 % higher",
            1.0,
        ),
        Fault(
            "impeller_fouling",
            "Product builds up on the blades and thickens: torque and current rise.",
            "diameter +4 %, viscosity +150 %",
            10.0,
        ),
    )
}


class Agitator:
    """Agitator drive; starts at its steady state.

    Args:
        seed: Random seed; determines every value.
    """

    signals = SIGNALS
    rate_hz = RATE_HZ
    faults = FAULTS

    def __init__(self, seed: int = 0) -> None:
        noise, wander, operator = np.random.default_rng(seed).spawn(3)
        self._sensors = Sensors(SIGNALS, noise)
        # (standard deviation, correlation time in s) of: voltage, viscosity, load turbulence, three
        # RMS readings (all relative), air K, jacket K, level m, three phase currents (relative).
        # The RMS readings scatter because 0.1 s contains few revolutions.
        self._wander = Wander(
            [
                (0.008, 60.0),
                (0.08, 600.0),
                (0.02, 0.5),
                (0.05, 0.3),
                (0.05, 0.3),
                (0.05, 0.3),
                (1.0, 600.0),
                (0.7, 900.0),
                (0.15, 1200.0),
                (0.003, 200.0),
                (0.003, 200.0),
                (0.003, 200.0),
            ],
            PERIOD_SECONDS,
            wander,
        )
        self._slow = self._wander.values()
        self._set = SetPoints({"speed": (0.88, 1.0)}, 400.0, operator, {"speed": RAMP_PER_SECOND})
        self._faults = ActiveFaults("agitator", FAULTS)
        self._omega = self._speed_share * SYNC_RAD_S * (1.0 - RATED_SLIP)
        self._torque_nm = 0.0
        self._impeller_w = 0.0
        self._product_degc = VISCOSITY_DEGC
        for _ in range(20 * SUBSTEPS):
            self._advance_shaft()
        self._product_degc = JACKET_DEGC + self._impeller_w / JACKET_W_K
        self._bearing_degc = self._air_degc + self._friction_w() / BEARING_W_K

    @property
    def active_faults(self) -> dict[str, float]:
        """Severity of each active fault, by name."""
        return self._faults.severities

    def inject(self, fault: str, severity: float = 1.0) -> None:
        """Start a fault. Raises ValueError if it is unknown or the severity is not in (0, 1]."""
        self._faults.inject(fault, severity)

    def clear(self, fault: str | None) -> None:
        """End a fault, or all of them (None). Raises ValueError if it is unknown."""
        self._faults.clear(fault)

    def step(self) -> FloatArray:
        """Advance one sample period and return the readings, (12,) float64."""
        self._slow = self._wander.step()
        self._set.step(PERIOD_SECONDS)
        self._faults.advance(PERIOD_SECONDS)
        for _ in range(SUBSTEPS):
            self._advance_shaft()
        self._advance_heat()
        current_a, power_factor, power_w = motor_current(
            self._torque_nm * self._sync_rad_s,
            RATED_VOLTS * self._speed_share * self._flux,
            self._flux,
        )
        uneven = UNBALANCE_CURRENT * self._faults.level("phase_imbalance")
        phase_a, phase_b, phase_c = (current_a * (1.0 + share) for share in self._slow[9:])
        return self._sensors.measure(
            (
                phase_a * (1.0 + uneven / 2.0),
                phase_b * (1.0 - uneven),
                phase_c * (1.0 + uneven / 2.0),
                power_factor,
                power_w / 1000.0,
                self._omega * 60.0 / (2.0 * math.pi),
                self._torque_nm,
                *self._vibration(),
                self._bearing_degc,
                self._product_degc,
            )
        )

    @property
    def _speed_share(self) -> float:
        return self._set.values["speed"]

    @property
    def _flux(self) -> float:
        return 1.0 + self._slow[0]

    @property
    def _sync_rad_s(self) -> float:
        return SYNC_RAD_S * self._speed_share

    @property
    def _air_degc(self) -> float:
        return 24.0 + self._slow[6]

    def _advance_shaft(self) -> None:
        fouling = self._faults.level("impeller_fouling")
        thinning = math.exp(-VISCOSITY_PER_K * (self._product_degc - VISCOSITY_DEGC))
        viscosity = VISCOSITY_PA_S * (1.0 + self._slow[1]) * thinning
        viscosity *= 1.0 + FOULING_VISCOSITY * fouling
        diameter_m = IMPELLER_M * (1.0 + FOULING_DIAMETER * fouling)
        speed_hz = self._omega / (2.0 * math.pi * GEAR_RATIO)
        self._impeller_w = impeller_power(speed_hz, diameter_m, viscosity) * (1.0 + self._slow[2])
        load_nm = (self._impeller_w / GEAR_EFFICIENCY + self._friction_w()) / self._omega
        self._torque_nm = motor_torque(self._sync_rad_s - self._omega, self._flux)
        self._omega += DT_SECONDS * (self._torque_nm - load_nm) / INERTIA_KG_M2

    def _friction_w(self) -> float:
        wear = 1.0 + WEAR_FRICTION * self._faults.level("bearing_wear")
        return BEARING_FRICTION_W * wear * self._omega / SYNC_RAD_S

    def _advance_heat(self) -> None:
        lost_w = BEARING_W_K * (self._bearing_degc - self._air_degc)
        self._bearing_degc += PERIOD_SECONDS * (self._friction_w() - lost_w) / BEARING_J_K
        level_m = LEVEL_M + self._slow[8]
        mass_kg = PRODUCT_DENSITY_KG_M3 * VESSEL_AREA_M2 * level_m
        jacket_degc = JACKET_DEGC + self._slow[7]
        to_jacket_w = JACKET_W_K * level_m / LEVEL_M * (self._product_degc - jacket_degc)
        heat_capacity_j_k = mass_kg * PRODUCT_HEAT_CAPACITY_J_KG_K
        gained_w = self._impeller_w - to_jacket_w
        self._product_degc += PERIOD_SECONDS * gained_w / heat_capacity_j_k

    def _vibration(self) -> tuple[float, float, float]:
        turn = self._omega / SYNC_RAD_S
        imbalance = self._faults.level("impeller_imbalance")
        wear = self._faults.level("bearing_wear")
        once = (ONCE_PER_TURN_MM_S + IMBALANCE_MM_S * imbalance) * turn**3
        electric = UNBALANCE_MM_S * self._faults.level("phase_imbalance")
        flow = FLOW_MM_S * turn**2
        drive = math.hypot(once, flow, electric, WEAR_MM_S * wear)
        free = math.hypot(FREE_END_SHARE * once, flow, electric, 0.3 * WEAR_MM_S * wear)
        high = (BEARING_M_S2 + WEAR_M_S2 * wear) * turn
        return (
            drive * (1.0 + self._slow[3]),
            free * (1.0 + self._slow[4]),
            high * (1.0 + self._slow[5]),
        )
