"""The figures of every reference problem, from its stored network and the public data.

Nothing here is torch, and no truth here was seen by a fit: fields are compared where the fit had no
data, parameters with what made the data, TCLab with its own later readings.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from edgeai.training.pinn import exact
from edgeai.training.pinn.arrays import read_arrays
from edgeai.training.pinn.figures import (
    Figure,
    Floats,
    Network,
    relative_l2,
    rms,
    table,
    within,
)
from edgeai.training.pinn.identifiability import IDENTIFIABLE, Identified, identify

VISCOSITY = 0.01 / math.pi
WATT_PER_PERCENT = 0.032
PUBLISHED_TCLAB = {"sine": (0.0417, 6.03 + 0.171), "step": (0.0410, 5.95 + 0.139)}
"""Ua in W/K, and CpH + CpS in J/K, of pyomo-doe's notebooks."""
TCLAB_RUNS = tuple(PUBLISHED_TCLAB)
TCLAB_FILES = {"sine": "tclab_sine_test_5min_period.csv", "step": "tclab_step_test.csv"}


def burgers(data: Path, stored: Path) -> list[Figure]:
    """Burgers, forward."""
    network = Network(stored / "burgers" / "network.onnx")
    figures = []
    for name, file, published, stretch in (
        ("COMSOL", "burgers1d_pinnacle.npz", 1.45e-2, None),
        ("spectral", "burgers_shock_raissi.npz", None, 2e-3),
    ):
        arrays = read_arrays(data / "pinn_reference" / file)
        points = table({"x": arrays["x"], "t": arrays["t"]})
        truth = exact.burgers(points[:, 0], points[:, 1], VISCOSITY)
        found, given = network(points)["u"], arrays["u"].ravel()
        error, off = relative_l2(found, given), relative_l2(given, truth)
        figures += [
            Figure("burgers", f"u against {name}", "1", error, published, None, 1.5e-2, stretch,
                   f"the file itself is {off:.1e} off the closed form"),
            Figure("burgers", f"u against Cole-Hopf, {name}'s grid", "1",
                   relative_l2(found, truth), None, None, 1.5e-2, 2e-3, "closed form"),
        ]  # fmt: skip
    return figures


def burgers_inverse(data: Path, stored: Path) -> list[Figure]:
    """Burgers, both coefficients."""
    arrays = read_arrays(data / "pinn_reference" / "burgers_shock_raissi.npz")
    points = table({"x": arrays["x"], "t": arrays["t"]})
    found = Network(stored / "burgers-inverse" / "network.onnx")(points)
    error = relative_l2(found["u"], arrays["u"].ravel())
    return [
        within("burgers-inverse", "lambda1", found["lambda1"][0], 1.0),
        within("burgers-inverse", "lambda2", found["lambda2"][0], VISCOSITY),
        Figure("burgers-inverse", "u on the whole grid", "1", error, note="2,000 of 25,600 seen"),
    ]


def heat_multiscale(data: Path, stored: Path) -> list[Figure]:
    """Heat with two scales."""
    arrays = read_arrays(data / "pinn_reference" / "heat2d_multiscale.npz")
    xy, t = arrays["xy"].astype(float), arrays["t"].astype(float)
    points = np.concatenate([np.repeat(xy, len(t), axis=0), np.tile(t, len(xy))[:, None]], axis=1)
    found = Network(stored / "heat-multiscale" / "network.onnx")(points)["u"]
    truth = arrays["u_analytic"].ravel()
    note = f"COMSOL's own column is {relative_l2(arrays['u_comsol'].ravel(), truth):.1e} off"
    error = relative_l2(found, truth)
    return [
        Figure("heat-multiscale", "u against the closed form", "1", error, 6.21e-2, None, 6.2e-2,
               2e-2, note),
    ]  # fmt: skip


def inverse_field(
    name: str, file: str, key: str, published: float, high: float
) -> Callable[[Path, Path], list[Figure]]:
    """Return the measure of a problem that finds a(x, y)."""

    def measure(data: Path, stored: Path) -> list[Figure]:
        arrays = read_arrays(data / "pinn_reference" / file)
        found = Network(stored / name / "network.onnx")(arrays[key])
        error = relative_l2(found["a"], arrays["a_true"])
        state = relative_l2(found["u"], arrays["u_true"])
        noise = relative_l2(arrays["u_noisy"], arrays["u_true"])
        return [
            Figure(name, "a", "1", error, published, None, high, high / 2, "never seen"),
            Figure(name, "u without its noise", "1", state, note=f"the noise was {noise:.1e}"),
        ]

    return measure


def lorenz(data: Path, stored: Path) -> list[Figure]:
    """Lorenz, three parameters."""
    arrays = read_arrays(data / "pinn_reference" / "lorenz_deepxde.npz")
    found = Network(stored / "lorenz" / "network.onnx")(arrays["t"])
    true = {"sigma": 10.0, "rho": 15.0, "beta": 8.0 / 3.0}
    return [within("lorenz", name, found[name][0], value) for name, value in true.items()]


def diffusion_reaction(data: Path, stored: Path) -> list[Figure]:
    """Diffusion and reaction, both parameters."""
    arrays = read_arrays(data / "pinn_reference" / "diffusion_reaction_deepxde.npz")
    points = table({"t": arrays["t"], "x": arrays["x"]})
    found = Network(stored / "diffusion-reaction" / "network.onnx")(points)
    truth = np.stack([arrays["Ca"].ravel(), arrays["Cb"].ravel()], axis=1)
    error = relative_l2(found["concentrations"], truth)
    return [
        within("diffusion-reaction", "D", found["D"][0], 2e-3),
        within("diffusion-reaction", "kf", found["kf"][0], 0.1),
        Figure("diffusion-reaction", "Ca, Cb on the whole grid", "1", error,
               note="2,000 of 40,401 points seen"),
    ]  # fmt: skip


def _tclab_run(data: Path, run: str) -> dict[str, Floats]:
    return read_arrays(data / "tclab_thermal" / TCLAB_FILES[run])


def _tclab_outputs(network: Network, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    return network(np.stack([arrays["Time"], arrays["Q1"]], axis=1))


def tclab(data: Path, stored: Path) -> list[Figure]:
    """TCLab: parameters from whole runs, with how well each is known."""
    figures = []
    for run, (loss, capacity) in PUBLISHED_TCLAB.items():
        arrays = _tclab_run(data, run)
        found = _tclab_outputs(Network(stored / f"tclab-{run}" / "network.onnx"), arrays)
        error = found["temperatures"][:, 1] - arrays["T1"]
        total = float(found["CpH"][0] + found["CpS"][0])
        known = _identified(arrays, found).spread
        name = f"tclab-{run}"
        figures += [
            within(name, "Ua", found["Ua"][0], loss, unit="W/K", part=0.05,
                   note=_spread(known["Ua"])),
            within(name, "CpH + CpS", total, capacity, unit="J/K", part=0.05,
                   note=_spread(known["CpH + CpS"])),
            Figure(name, "fit, rms", "degC", rms(error), None, None, 0.35),
        ]  # fmt: skip
        alone = {"CpH": "J/K", "CpS": "J/K", "tau": "s"}
        figures += [
            Figure(name, key, unit, float(found[key][0]), note=_spread(known[key]))
            for key, unit in alone.items()
        ]
        transfer = float(found["CpS"][0] / found["tau"][0])
        figures.append(Figure(name, "Ub = CpS / tau", "W/K", transfer, note=_spread(known["Ub"])))
    return figures


def tclab_prediction(data: Path, stored: Path) -> list[Figure]:
    """TCLab: 300 s of readings, then 600 s foretold."""
    figures = []
    for folder, run, judged in (
        ("tclab-sine-300s", "sine", True),
        ("tclab-step-300s", "step", True),
        ("tclab-step-300s-alone", "step", False),
    ):
        arrays = _tclab_run(data, run)
        found = _tclab_outputs(Network(stored / folder / "network.onnx"), arrays)
        error = found["temperatures"][:, 1] - arrays["T1"]
        later = arrays["Time"] > 300.0
        note = "sensor lag not known from the other run: for comparison" if not judged else ""
        high = 0.7 if judged else None
        figures += [
            Figure(folder, "next 600 s, rms", "degC", rms(error[later]), None, None, high, None,
                   note),
            Figure(folder, "fit of 300 s, rms", "degC", rms(error[~later]), None, None, 0.35),
        ]  # fmt: skip
    return figures


def _identified(arrays: Mapping[str, Floats], found: Mapping[str, Floats]) -> Identified:
    names = ("Ua", "tau", "CpH", "CpS")
    power = WATT_PER_PERCENT * arrays["Q1"]
    return identify(
        lambda p: exact.heater(arrays["Time"], power, [float(value) for value in p]),
        {name: float(found[name][0]) for name in names},
        found["temperatures"][:, 1] - arrays["T1"],
        {"CpH + CpS": lambda p: float(p[2] + p[3]), "Ub": lambda p: float(p[3] / p[1])},
    )


def tclab_identified(data: Path, stored: Path, run: str) -> Identified:
    """Return what T1 of a whole run tells of TCLab's parameters."""
    arrays = _tclab_run(data, run)
    network = Network(stored / f"tclab-{run}" / "network.onnx")
    return _identified(arrays, _tclab_outputs(network, arrays))


def _spread(value: float) -> str:
    known = "identifiable" if value <= IDENTIFIABLE else "NOT identifiable"
    return f"{known}: spread {value:.1%}"


Measure = Callable[[Path, Path], list[Figure]]
MEASURES: Mapping[str, Measure] = {
    "burgers": burgers,
    "burgers-inverse": burgers_inverse,
    "heat-multiscale": heat_multiscale,
    "poisson-inverse": inverse_field(
        "poisson-inverse", "poisson_inverse_2d.npz", "xy", 2.45e-2, 2.5e-2
    ),
    "heat-inverse": inverse_field("heat-inverse", "heat_inverse_2d.npz", "xyt", 5.26e-2, 5.3e-2),
    "lorenz": lorenz,
    "diffusion-reaction": diffusion_reaction,
    "tclab": tclab,
    "tclab-prediction": tclab_prediction,
}
"""By problem: (data folder, folder of stored networks) to figures."""
