"""Formulas of injection moulding: melt flow, freezing, and heat transfer to the water."""

import math

SECONDS_PER_MINUTE = 60.0
LITRES_PER_M3 = 1000.0

# Water at 20 degC: F. P. Incropera et al., Fundamentals of Heat and Mass Transfer, table A.6.
WATER_DENSITY_KG_M3 = 998.0
WATER_HEAT_CAPACITY_J_KG_K = 4182.0
WATER_CONDUCTIVITY_W_M_K = 0.600
WATER_VISCOSITY_PA_S = 1.0e-3
WATER_PRANDTL = 7.0

TURBULENT_REYNOLDS = 3000.0  # the Gnielinski correlation is not valid below


def slit_pressure_drop(
    flow_m3_s: float,
    length_m: float,
    width_m: float,
    height_m: float,
    *,
    consistency_pa_sn: float,
    power_index: float,
) -> float:
    """Return the pressure drop of a power-law fluid between wide parallel plates, Pa.

    Q = W H^2 / (2 (1/n + 2)) (H dp / (2 m L))^(1/n), solved for dp. For n = 1 it is the Newtonian
    12 mu L Q / (W H^3).

    Args:
        flow_m3_s: Volume flow.
        length_m: Length in the direction of flow.
        width_m: Width, much larger than the height.
        height_m: Gap.
        consistency_pa_sn: m of the power law, Pa s^n.
        power_index: n of the power law, 1 for a Newtonian fluid.

    Source: R. B. Bird, W. E. Stewart, E. N. Lightfoot, Transport Phenomena, 2nd ed., section 8.3
    (generalised Newtonian fluids; power-law flow in a narrow slit).
    """
    apparent_rate = 2.0 * (1.0 / power_index + 2.0) * flow_m3_s / (width_m * height_m**2)
    wall_stress_pa = consistency_pa_sn * math.pow(apparent_rate, power_index)
    return 2.0 * length_m / height_m * wall_stress_pa


def consistency_at(
    temperature_degc: float, reference_pa_sn: float, reference_degc: float, per_k: float
) -> float:
    """Return the consistency of the melt at a temperature, m0 exp(-b (T - T0)), Pa s^n.

    Source: T. A. Osswald, J. P. Hernandez-Ortiz, Polymer Processing: Modeling and Simulation
    (2006), chapter 2 (rheology: power law and its dependence on temperature).
    """
    return reference_pa_sn * math.exp(-per_k * (temperature_degc - reference_degc))


def freezing_seconds(
    thickness_m: float,
    diffusivity_m2_s: float,
    melt_degc: float,
    wall_degc: float,
    frozen_degc: float,
) -> float:
    """Return the time until the middle of a slab between cold walls reaches frozen_degc, s.

    s^2 / (pi^2 a) ln(4/pi (T_melt - T_wall) / (T_frozen - T_wall)): the first term of the series
    solution for constant wall temperature, accurate once the middle has cooled by a tenth.

    Source: G. Menges, W. Michaeli, P. Mohren, How to Make Injection Molds, 3rd ed., chapter 8;
    series in H. S. Carslaw, J. C. Jaeger, Conduction of Heat in Solids, section 3.3.
    """
    ratio = 4.0 / math.pi * (melt_degc - wall_degc) / (frozen_degc - wall_degc)
    return thickness_m**2 / (math.pi**2 * diffusivity_m2_s) * math.log(ratio)


def channel_coefficient(flow_l_min: float, diameter_m: float) -> float:
    """Return the heat transfer coefficient of water in a round channel, W/(m2 K).

    Gnielinski: Nu = (f/8) (Re - 1000) Pr / (1 + 12.7 (f/8)^0.5 (Pr^(2/3) - 1)) with Petukhov's
    friction factor f = (0.790 ln Re - 1.64)^-2, for Re >= 3000. Below that, the value at 3000 times
    Re / 3000, so that the result is continuous and zero without flow.

    Args:
        flow_l_min: Flow in the channel, litre/minute.
        diameter_m: Inner diameter.

    Source: F. P. Incropera et al., Fundamentals of Heat and Mass Transfer, eq. 8.62 and 8.21.
    """
    flow_m3_s = flow_l_min / LITRES_PER_M3 / SECONDS_PER_MINUTE
    velocity_m_s = flow_m3_s / (math.pi * diameter_m**2 / 4.0)
    reynolds = WATER_DENSITY_KG_M3 * velocity_m_s * diameter_m / WATER_VISCOSITY_PA_S
    used = max(reynolds, TURBULENT_REYNOLDS)
    eighth = 1.0 / (8.0 * (0.790 * math.log(used) - 1.64) ** 2)
    nusselt = (eighth * (used - 1000.0) * WATER_PRANDTL) / (
        1.0 + 12.7 * math.sqrt(eighth) * (math.pow(WATER_PRANDTL, 2.0 / 3.0) - 1.0)
    )
    return reynolds / used * nusselt * WATER_CONDUCTIVITY_W_M_K / diameter_m
