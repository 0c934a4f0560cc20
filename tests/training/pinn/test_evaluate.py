"""The stored reference networks: their figures hold, and what is said of identifiability is so."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from edgeai.errors import ConfigError
from edgeai.training.pinn import evaluate, exact
from edgeai.training.pinn.arrays import read_arrays
from edgeai.training.pinn.evaluate import data_folder, evaluate_references, identifiability
from edgeai.training.pinn.figures import Figure, Network, relative_l2, rms, table, within
from edgeai.training.pinn.identifiability import identify
from edgeai.training.pinn.measures import MEASURES, VISCOSITY
from edgeai.training.pinn.recipe import load_reference_recipe
from edgeai.training.pinn.show import figures_table
from tests.support.commands import run_command
from tests.support.paths import REPOSITORY

STORED = REPOSITORY / "references" / "pinn"
FOLDERS = sorted(path.parent.name for path in STORED.glob("*/train.yaml"))
KILOBYTES = 300


@pytest.mark.data
@pytest.mark.parametrize("problem", MEASURES)
def test_every_target_is_met_by_the_stored_networks(data, problem):
    figures = MEASURES[problem](data, STORED)
    assert any(figure.judged for figure in figures)
    missed = [figure for figure in figures if not figure.met]
    assert missed == []


@pytest.mark.data
@pytest.mark.parametrize("problem", ["burgers", "heat-multiscale"])
def test_the_stretch_targets_of_the_forward_problems_are_met(data, problem):
    figures = [figure for figure in MEASURES[problem](data, STORED) if figure.stretch]
    # The COMSOL file is further from the closed form than the stretch target: it has none.
    assert figures
    assert [figure for figure in figures if figure.measured > figure.stretch] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_stored_network_is_the_one_that_its_facts_describe(folder):
    facts = json.loads((STORED / folder / "facts.json").read_text())
    network = (STORED / folder / "network.onnx").read_bytes()
    assert hashlib.sha256(network).hexdigest() == facts["sha256"]
    assert len(network) < KILOBYTES * 1024
    assert max(facts["float64_error"].values()) < 1e-5
    recipe = load_reference_recipe(STORED / folder / "train.yaml")
    assert (recipe.problem, recipe.seed) == (facts["problem"], facts["seed"])
    assert facts["loss"] <= recipe.largest_loss


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("size", [1, 2, 33])
def test_a_stored_network_takes_any_batch(folder, size):
    network = Network(STORED / folder / "network.onnx")
    width = network._session.get_inputs()[0].shape[1]
    points = np.random.default_rng(0).uniform(0, 1, (size, width))
    for name, values in network(points).items():
        assert len(values) == size, name
        assert np.isfinite(values).all(), name


@pytest.mark.data
def test_the_residual_in_the_graph_is_that_of_the_equation(data):
    """Against central differences of the stored field: no jets, no autograd, no torch."""
    network = Network(STORED / "heat-multiscale" / "network.onnx")
    draw = np.random.default_rng(0)
    points = draw.uniform((0.02, 0.02, 0.1), (0.98, 0.98, 1.0), (50, 3)).astype(np.float32)
    points = points.astype(float)

    def u(axis, by):
        moved = points.copy()
        moved[:, axis] += by
        return network(moved)["u"]

    # Steps are large enough for float32 to see the difference and small against the waves.
    u_t = (u(2, 0.02) - u(2, -0.02)) / 0.04
    u_yy = (u(1, 0.02) - 2 * u(1, 0) + u(1, -0.02)) / 0.02**2
    u_xx = (u(0, 2e-3) - 2 * u(0, 0) + u(0, -2e-3)) / (2e-3) ** 2
    expected = u_t - u_xx / (500 * np.pi) ** 2 - u_yy / np.pi**2
    found = network(points)["residual"]
    assert np.abs(found - expected).max() < 5e-3 * np.abs(u_t).max()


@pytest.mark.data
def test_the_closed_form_of_burgers_agrees_with_a_spectral_solution(data):
    arrays = read_arrays(data / "pinn_reference" / "burgers_shock_raissi.npz")
    points = table({"x": arrays["x"], "t": arrays["t"]})
    truth = exact.burgers(points[:, 0], points[:, 1], VISCOSITY)
    assert relative_l2(arrays["u"].ravel(), truth) < 1e-10


def test_the_heater_comes_to_the_balance_of_power_and_loss():
    seconds = np.arange(0.0, 3000.0, 1.0)
    rise = exact.heater(seconds, np.full(3000, 1.6), [0.04, 15.0, 6.0, 0.2])
    assert rise[-1] == pytest.approx(1.6 / 0.04, rel=1e-4)
    # Early the sensor's rise is P t² / (2 CpH tau).
    assert rise[1] == pytest.approx(1.6 / (2 * 6.0 * 15.0), rel=0.05)


def test_the_heater_keeps_its_energy():
    """Without loss, all the energy that came in is in the two bodies."""
    seconds = np.arange(0.0, 400.0, 1.0)
    power = np.where(seconds < 100.0, 2.0, 0.0)
    rise = exact.heater(seconds, power, [0.0, 5.0, 6.0, 0.5])
    assert rise[-1] * 6.5 == pytest.approx(200.0, rel=1e-6)


def test_a_product_that_cannot_be_told_apart_is_blind():
    """y = a b t tells the product, and neither factor."""
    times = np.linspace(0.0, 1.0, 200)
    noise = np.random.default_rng(0).normal(0.0, 0.01, 200)
    known = identify(
        lambda p: p[0] * p[1] * times, {"a": 2.0, "b": 3.0}, noise, {"ab": lambda p: p[0] * p[1]}
    )
    assert known.spread["ab"] < 0.01
    assert known.spread["a"] == pytest.approx(np.sqrt(0.5), rel=0.01)
    assert abs(known.blind["a"] + known.blind["b"]) < 1e-6
    assert known.eigenvalues[0] < 1e-6 * known.eigenvalues[1]


def test_residuals_that_follow_one_another_tell_less():
    times = np.linspace(0.0, 1.0, 400)
    white = np.random.default_rng(0).normal(0.0, 0.1, 400)
    slow = np.convolve(white, np.ones(20) / np.sqrt(20), mode="same")
    spreads = [
        identify(lambda p: p[0] * times, {"a": 2.0}, noise, {}).spread["a"]
        for noise in (white, slow)
    ]
    assert spreads[1] > 3.0 * spreads[0]


@pytest.mark.data
def test_the_lag_and_the_heat_of_the_sensor_are_said_to_be_unknown(data):
    lines = identifiability(data)
    assert [line.split(":")[0] for line in lines] == ["tclab-sine", "tclab-step"]
    for line in lines:
        unknown = line.split("does not determine ")[1].split(".")[0].split(", ")
        assert {"CpS", "Ub"} <= set(unknown)
        assert not {"Ua", "CpH + CpS"} & set(unknown)


def test_a_figure_is_met_within_its_limits_only():
    assert within("p", "f", 0.995, 1.0).met
    assert not within("p", "f", 0.98, 1.0).met
    assert not within("p", "f", float("nan"), 1.0).met
    assert not Figure("p", "f", "1", 0.2, high=0.1).met
    assert Figure("p", "f", "1", 0.1, high=0.1).met
    assert not Figure("p", "f", "1", 0.1).judged
    assert rms([3.0, -4.0, 0.0, 0.0]) == 2.5


def test_a_table_says_what_was_missed():
    figures = [Figure("p", "a", "1", 2.0, high=1.0), Figure("p", "b", "1", 0.1, high=1.0)]
    table_of = figures_table(figures)
    assert list(table_of.columns[6].cells) == ["MISSED", "met"]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.system
def test_the_command_prints_every_figure_as_json(data, capsys, monkeypatch):
    result = run_command(capsys, monkeypatch, "evaluate", "pinn", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert told["missed"] == 0
    expected = evaluate_references(data, STORED)
    shown = {(item["problem"], item["name"]) for item in told["figures"]}
    assert {(figure.problem, figure.name) for figure in expected} <= shown
    assert len(told["notes"]) == 2


@pytest.mark.data
def test_a_missed_target_ends_with_1(data, tmp_path, capsys, monkeypatch):
    """The network of another run in its place: it must not pass."""
    stored = tmp_path / "pinn"
    shutil.copytree(STORED, stored)
    shutil.copy(stored / "tclab-sine" / "network.onnx", stored / "tclab-step" / "network.onnx")
    monkeypatch.setattr(evaluate, "stored_folder", lambda: stored)
    monkeypatch.setattr(evaluate, "SOURCES", (evaluate_references,))
    result = run_command(capsys, monkeypatch, "evaluate", "pinn")
    assert result.code == 1
    assert "MISSED" in result.out


def test_a_data_folder_without_the_data_is_refused(tmp_path, capsys, monkeypatch):
    result = run_command(capsys, monkeypatch, "evaluate", "pinn", "--data", tmp_path)
    assert result.code == 2
    assert "the folder pinn_reference, tclab_thermal is missing in it" in result.complaints[0]


def test_only_pinn_can_be_evaluated(capsys, monkeypatch):
    result = run_command(capsys, monkeypatch, "evaluate", "skab")
    assert result.code == 2


def test_a_network_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"network\.onnx: is missing: train it again"):
        Network(tmp_path / "network.onnx")


@pytest.mark.data
def test_the_data_is_found_beside_the_checkout(data):
    assert data_folder(None) == data


def test_the_lag_that_a_prediction_knows_is_the_one_that_the_other_run_told():
    recipe = load_reference_recipe(STORED / "tclab-step-300s" / "train.yaml")
    told = Network(STORED / "tclab-sine" / "network.onnx")([[0.0, 0.0]])["tau"][0]
    assert recipe.known == {"tau": pytest.approx(told, rel=0.005)}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.train
def test_training_again_gives_the_stored_network(data, tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch", reason="needs the extra train")
    folder = "tclab-step-300s"
    recipe = STORED / folder / "train.yaml"
    result = run_command(capsys, monkeypatch, "train", recipe, "--output", tmp_path)
    assert result.code == 0, result.err
    arrays = read_arrays(data / "tclab_thermal" / "tclab_step_test.csv")
    points = np.stack([arrays["Time"], arrays["Q1"]], axis=1)
    stored, made = (Network(path / "network.onnx")(points) for path in (STORED / folder, tmp_path))
    # Other processors round otherwise; the same network is found all the same.
    difference = np.abs(made["temperatures"] - stored["temperatures"]).max()
    assert difference < 0.05
    assert not (tmp_path / ".checkpoint.pt").exists()


@pytest.mark.train
def test_a_fit_that_got_stuck_is_not_written(tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch", reason="needs the extra train")
    recipe = tmp_path / "train.yaml"
    recipe.write_text(
        "kind: pinn-reference\nproblem: heat-multiscale\nseed: 1\nhidden: [3]\npoints: 40\n"
        "largest_loss: 0.000001\nstages: [{type: newton, steps: 2}]\n"
    )
    result = run_command(capsys, monkeypatch, "train", recipe)
    assert result.code == 2
    assert "the fit is stuck: the loss must be at most 1e-06; try another seed" in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.yaml"]


@pytest.mark.train
@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("problem: burgers", "problem: navier-stokes", "problem: must be one of burgers"),
        ("points: 2500", "points: 0", "points: must be greater than or equal to 1"),
        ("type: newton", "type: quasi", "stages"),
        ("seed: 1", "seed: 1\ndata: none.npz", r"none\.npz: cannot be read"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(tmp_path, capsys, monkeypatch, before, after, rule):
    pytest.importorskip("torch", reason="needs the extra train")
    text = (STORED / "burgers" / "train.yaml").read_text()
    assert before in text
    recipe = tmp_path / "train.yaml"
    recipe.write_text(text.replace(before, after))
    result = run_command(capsys, monkeypatch, "train", recipe)
    assert result.code == 2
    assert re.search(rule, result.err)
