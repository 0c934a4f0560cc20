"""The entries of model.yaml: signals, outputs, diagnosis, and the physics in numbers."""

from typing import Any

from edgeai.plant import mould, mouldcycles, polymer
from edgeai.plant.injection import FROZEN_DEGC
from edgeai.plant.moulding import SIGNALS as MACHINE_SIGNALS

from . import runs, signals
from .recipe import Limits

KINDS = (
    ("near_thermocouple_drift", "sensor", "the mould thermocouple near the cavity has drifted"),
    ("deep_thermocouple_drift", "sensor", "the deep mould thermocouple has drifted"),
    ("coolant_blocked", "physics", "the water takes up less heat: a channel is blocked or scaled"),
    ("contact_lost", "physics", "the part leaves the cavity wall too early: early shrinkage"),
    ("melt_too_hot", "physics", "the melt is hotter than the process should be"),
    ("outside_domain", "domain", "the conditions are outside what the network was trained on"),
    ("unexplained", "physics", "the readings contradict the equations in an unnamed way"),
    ("equation_not_solved", "domain", "the network does not solve its equations here"),
)
"""Kind, cause and meaning of each column of the output `evidence`."""


def signal_entries() -> list[dict[str, Any]]:
    """Return the entries of `signals`, as the simulated machine publishes them."""
    known = {signal.name: signal for signal in MACHINE_SIGNALS}
    return [
        {
            "name": name,
            "unit": known[name].unit,
            "range": [float(known[name].low), float(known[name].high)],
            "meaning": known[name].description,
        }
        for name in signals.SIGNALS
    ]


SETTLE_SECONDS = 20.0
"""After a stop the steel has another temperature; so long until the cycles are periodic again."""


def output_entries(limits: Limits, level: float) -> list[dict[str, Any]]:
    """Return the entries of `outputs`."""
    half = mould.HALF_WALL_M
    depths = [depth * half for depth in signals.PART_DEPTHS]
    depths += [half + depth for depth in signals.STEEL_DEPTHS]
    kelvin = "K"

    def interval(of: str, unit: str) -> dict[str, Any]:
        return {
            "name": f"{of}_interval",
            "unit": unit,
            "meaning": f"{level:.0%} of the true values lie between the two",
            "role": "interval",
            "of": of,
            "level": level,
        }

    film = "W/(m2 K)"
    return [
        _out("score", "1", "largest evidence; 1 is the limit of its kind", "score"),
        _out("cavity_wall_temperature", "degC", "steel at the cavity wall, now"),
        _out(
            "part_core_temperature", "degC",
            "mid-plane of the part, now; while the mould is open as it was at ejection",
        ),
        _out(
            "solidified_fraction", "1",
            f"share of the part's wall below {FROZEN_DEGC:g} degC, now; a point within 4 K of it "
            "counts partly",
        ),
        _out(
            "temperature_profile", "degC",
            "temperature at the depths of `field`, now: what a publication holds of the field",
        ),
        _out(
            "ejection_temperature", "degC",
            "mid-plane of the part in progress when the mould opens: a prediction until then",
        ),
        interval("ejection_temperature", "degC"),
        _out(
            "cooling_time_correction", "s",
            f"add so much cooling time to eject at {limits.target_degc:g} degC; 10 at most, -3 at "
            "least",
            "advice",
        ),
        {
            **_out(
                "coolant_coefficient", film,
                "heat transfer coefficient in the cooling channels, per wetted area", "parameter",
            ),
            "normal": [limits.coolant_w_m2_k, 14000.0],
        },
        interval("coolant_coefficient", film),
        {
            **_out(
                "contact_coefficient", film,
                "between part and wall, mean from the end of filling to ejection", "parameter",
            ),
            "normal": [limits.contact_w_m2_k, 2750.0],
        },
        interval("contact_coefficient", film),
        {
            **_out("melt_temperature_estimate", "degC", "melt that filled the cavity", "parameter"),
            "normal": [runs.MELT_DEGC[0] - 4.0, limits.melt_degc],
        },
        {
            **_out(
                "near_drift", kelvin,
                "what the near thermocouple reads too high, if it alone drifts", "parameter",
            ),
            "normal": [-limits.drift_k, limits.drift_k],
        },
        {
            **_out(
                "deep_drift", kelvin,
                "what the deep thermocouple reads too high, if it alone drifts", "parameter",
            ),
            "normal": [-limits.drift_k, limits.drift_k],
        },
        _out(
            "residual", "1",
            "heat equation of part and steel, both sides of the contact, water: what the field "
            "leaves of each at the collocation points over its largest term, root mean square",
            "residual",
        ),
        _out(
            "sensor_mismatch", kelvin,
            "readings of both thermocouples less the field at their places, gathered by place in "
            "the cycle, root mean square",
            "residual",
        ),
        {
            **_out(
                "domain", "1",
                "farthest condition from the middle of its trained range over half the range; the "
                "time that the mould was open or closed is one of them",
                "domain",
            ),
            "edge": limits.domain,
            "settle_seconds": SETTLE_SECONDS,
        },
        _out("evidence", "1", "of each kind in `diagnosis`; 1 is its limit", "evidence"),
        {
            **_out(
                "field", "degC",
                "part and steel in the shot in progress, from filling to ejection: what was, and "
                "beyond the last sample what will be. The depth of 0.5 mm occurs twice: the part's "
                "surface, then the cavity wall",
                "field",
            ),
            "axes": [
                {"name": "time since the start of filling", "unit": "s", "output": "field_time"},
                {
                    "name": "depth from the part's mid-plane",
                    "unit": "m",
                    "values": [round(depth, 9) for depth in depths],
                },
            ],
        },
        {
            **_out("field_time", "s", "times at which the field is given", "field"),
            "axes": [
                {"name": "number", "unit": "1", "values": [float(n) for n in range(15)]}
            ],
        },
    ]  # fmt: skip


def _out(name: str, unit: str, meaning: str, role: str = "value") -> dict[str, Any]:
    return {"name": name, "unit": unit, "meaning": meaning, "role": role}


def diagnosis_entries() -> list[dict[str, str]]:
    """Return the entries of `diagnosis`."""
    return [{"kind": kind, "cause": cause, "meaning": meaning} for kind, cause, meaning in KINDS]


def physics_entries() -> dict[str, Any]:
    """Return all that is needed to rebuild the simulator; units are in the names."""
    return {
        "equations": [
            "part, 0 < x < part_half_thickness_m: rho c dT/dt = k d2T/dx2; dT/dx = 0 at x = 0",
            "contact: q = h_contact (T_part - T_steel) on both sides of the interface",
            "steel, 0 < y < steel_thickness_m: rho c dT/dt = k d2T/dy2",
            "water, y = steel_thickness_m: -k dT/dy = h_coolant wetted_ratio (T_steel - T_water)",
            "open mould, y = 0: -k dT/dy = h_air (T_air - T_steel); the part is gone",
            "start of filling: the whole part at the melt's temperature, the steel as it was",
            "near reading: near_lag_seconds dT_read/dt = T_steel(near_depth_m) - T_read",
            "deep reading: T_steel(deep_depth_m), no lag",
            (
                "T_water = (coolant_inlet_temperature + coolant_outlet_temperature) / 2, constant "
                "within a cycle"
            ),
        ],
        "part_half_thickness_m": mould.HALF_WALL_M,
        "part_conductivity_w_m_k": mould.POLYMER_CONDUCTIVITY_W_M_K,
        "part_density_kg_m3": mould.POLYMER_DENSITY_KG_M3,
        "part_heat_capacity_j_kg_k": mould.POLYMER_HEAT_CAPACITY_J_KG_K,
        "steel_thickness_m": mould.CHANNEL_DEPTH_M,
        "steel_conductivity_w_m_k": mould.STEEL_CONDUCTIVITY_W_M_K,
        "steel_density_kg_m3": mould.STEEL_DENSITY_KG_M3,
        "steel_heat_capacity_j_kg_k": mould.STEEL_HEAT_CAPACITY_J_KG_K,
        "wetted_ratio": round(mould.WETTED_RATIO, 9),
        "near_depth_m": mould.NEAR_DEPTH_M,
        "deep_depth_m": mould.DEEP_DEPTH_M,
        "near_lag_seconds": mouldcycles.NEAR_LAG_SECONDS,
        "air_w_m2_k": mould.AIR_COEFFICIENT_W_M2_K,
        "air_degc": mouldcycles.AIR_DEGC,
        "frozen_degc": FROZEN_DEGC,
        "contact_w_m2_k": {
            "filling": "5000 f",
            "packing and cooling, while the cavity pressure is above zero": "2500 f",
            "cooling, once the cavity pressure is zero": "1250 f",
        },
        "phases": "0 filling, 1 packing for 1 s, 2 cooling until ejection, 3 open",
        "cavity_pressure": "only its reaching zero is used (below 7.5 bar): the loss of contact",
        "cycle_seconds, phase_seconds": "counters of the controller, exact to 0.01 s, no noise",
        "noise": "independent at every sample, normal; of a temperature 1 % of its reading in "
        "degC; of the cavity pressure 1.5 bar and 1 %",
        "healthy_conditions": {
            "one uniform draw a run": {
                "melt_degc": list(runs.MELT_DEGC),
                "water_degc": list(runs.WATER_DEGC),
                "coolant_w_m2_k": list(runs.COOLANT_W_M2_K),
                "contact_factor_f": list(runs.CONTACT_FACTOR),
                "fill_seconds": list(runs.FILL_SECONDS),
                "eject_seconds, since the start of filling": list(runs.EJECT_SECONDS),
                "loss of contact before ejection, s": list(runs.LOST_BEFORE_EJECT_SECONDS),
                "open_seconds": list(runs.OPEN_SECONDS),
            },
            "from cycle to cycle": {
                "melt, random walk, K, at most 2": runs.MELT_WANDER_K,
                "open_seconds, uniform, +-": runs.OPEN_SCATTER_SECONDS,
                "fill_seconds, relative deviation": runs.FILL_SCATTER,
            },
            "settling": f"runs are looked at from {runs.SETTLE_SECONDS:g} s on, started with all "
            "steel 6 to 14 K above the water",
        },
        "faults, from the start of a cycle on": {
            "coolant_blocked": f"h_coolant times {runs.BLOCKED_SHARE:g}, water "
            f"{runs.BLOCKED_WATER_K:g} K warmer",
            "thermocouple_drift": f"one of the two mould thermocouples reads {runs.DRIFT_K:g} K "
            f"too high, linearly within {runs.DRIFT_SECONDS:g} s",
            "melt_too_hot": f"melt {runs.HOT_K:g} K hotter, also at its sensor",
            "contact_lost": f"contact once lost times {runs.LOST_SHARE:g}, and lost at "
            f"{runs.LOST_FROM_SECONDS:g} s + (healthy time - {runs.LOST_FROM_SECONDS:g} s) / "
            f"{runs.LOST_FASTER:g}",
        },
        "trained_range": {
            "coolant_w_m2_k": [2000.0, 14000.0],
            "contact_factor_f": [0.85, 1.15],
            "contact once lost, W/(m2 K)": [300.0, 1500.0],
            "fill_seconds": [float(signals.LOW[3]), float(signals.HIGH[3])],
            "loss of contact, s since the start of filling": [
                float(signals.LOW[4]),
                float(signals.HIGH[4]),
            ],
            "eject_seconds": [float(signals.LOW[5]), float(signals.HIGH[5])],
            "open_seconds": list(signals.OPEN_RANGE),
            "melt_degc": list(signals.MELT_RANGE),
            "water_degc": list(signals.WATER_RANGE),
        },
        "water": {
            "density_kg_m3": polymer.WATER_DENSITY_KG_M3,
            "heat_capacity_j_kg_k": polymer.WATER_HEAT_CAPACITY_J_KG_K,
        },
    }
