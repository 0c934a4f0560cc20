"""Training of small packages, the writer, and the claims of the shipped packages."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

pytest.importorskip("scipy", reason="needs the extra train")
pytest.importorskip("torch", reason="needs the extra train")

import torch

from edgeai.errors import ConfigError, ModelError
from edgeai.model.meaning import count_decisions
from edgeai.model.package import FAULTY, HEALTHY, load_package
from edgeai.paths import shipped
from edgeai.providers.scorer import Scorer
from edgeai.training import train
from edgeai.training.anomaly.card import model_card
from edgeai.training.anomaly.pca import fit_pca, pca_outputs
from edgeai.training.anomaly.pca_graph import pca_graph
from edgeai.training.data.plant import signals_of
from edgeai.training.recipe import load_recipe
from edgeai.training.write import write_package
from tests.support.recipes import BASE, FILES, recipe_file

pytestmark = pytest.mark.train

SHIPPED = ("melting-tank-pca", "moulding-pca", "agitator-autoencoder")
MACHINE = {
    "type": "plant",
    "machine": "agitator",
    "fit": {"runs": 12, "seconds": 60},
    "calibrate": {"runs": 10, "seconds": 200},
    "test": {"runs": 3, "seconds": 120},
    "faults": {"runs": 2, "start_seconds": 10, "seconds": 20, "names": ["phase_imbalance"]},
}
CALIBRATION = {"false_alarms_per_day": 24.0, "tail_share": 0.1}
METHODS = {
    "pca": {"type": "pca", "span": "trend", "variance_share": 0.95},
    "autoencoder": {"type": "autoencoder", "hidden": [32, 8, 32], "epochs": 6, "batch": 64},
}


def small_recipe(folder: Path, method: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return recipe_file(
        folder,
        MACHINE,
        method=METHODS[method],
        window={"length": 8, "hop": 4},
        calibration=CALIBRATION,
    )


@pytest.fixture(scope="module", params=METHODS)
def trained(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    reported = []
    report = train(
        small_recipe(folder / "recipe", request.param),
        folder / "package",
        lambda stage, done, total, note="": reported.append((stage, done, total)),
    )
    return report, reported, request.param


def test_the_package_loads_and_its_golden_outputs_are_the_graphs(trained):
    report, _, _ = trained
    package = load_package(report.package.folder)
    windows, expected = package.golden()
    assert len(windows) == 48
    for name, values in Scorer(package.graph.read_bytes()).outputs(windows).items():
        np.testing.assert_array_equal(values, expected[name])
    threshold = package.manifest.threshold.value
    labels = package.labelled_golden()[2]
    assert labels.tolist() == [HEALTHY] * 24 + [FAULTY] * 24
    assert package.manifest.held_values is not None
    assert (expected["score"][:24] < threshold).mean() > 0.9
    assert (expected["score"][24:] > threshold).mean() > 0.5


def test_the_manifest_states_data_recipe_and_figures(trained):
    report, _, method = trained
    manifest = report.package.manifest
    training = manifest.training
    assert training["data"].startswith("SIMULATED")
    assert training["recipe"]["method"]["type"] == method
    assert training["seed"] == BASE["seed"]
    assert training["figures"] == report.figures
    assert ("torch" in training["versions"]) == (method == "autoencoder")
    measured = manifest.threshold.false_alarms
    assert measured.model_dump(exclude_none=True) == report.figures["false_alarms"]
    assert manifest.alarm.on_delay_seconds == 1.0
    assert [row["fault"] for row in report.figures["detection"]] == ["phase_imbalance"]
    assert report.figures["detection"][0]["detected"] == 1.0


def test_progress_is_reported_to_its_end(trained):
    _, reported, _ = trained
    stages = dict.fromkeys(stage for stage, _, _ in reported)
    assert list(stages) == ["simulate", "fit", "calibrate", "write"]
    for stage in ("simulate", "calibrate", "write"):
        last = [entry for entry in reported if entry[0] == stage][-1]
        assert last[1] == last[2]
    assert all(0 <= done <= total for _, done, total in reported)


def test_retraining_gives_the_same_bytes(trained, tmp_path):
    """On one computer every bit is equal; the recipe's tolerance is for other computers."""
    report, _, method = trained
    again = train(small_recipe(tmp_path / "recipe", method), tmp_path / "package")
    for name in ("model.onnx", "golden.npz", "model.yaml", "README.md"):
        first = (report.package.folder / name).read_bytes()
        assert (again.package.folder / name).read_bytes() == first, name


def test_another_thread_count_stays_within_the_stated_tolerance(trained, tmp_path):
    """torch's number of threads and the caller's random state must have no effect."""
    report, _, method = trained
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(12345)
    state = torch.random.get_rng_state()
    try:
        path = small_recipe(tmp_path / "recipe", method)
        again = train(path, tmp_path / "package")
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.equal(torch.random.get_rng_state(), state)
    finally:
        torch.set_num_threads(threads)
    windows, expected = report.package.golden()
    scores = Scorer(again.package.graph.read_bytes()).outputs(windows)["score"]
    limit = load_recipe(path).retrain_rtol * np.maximum(
        expected["score"], report.package.manifest.threshold.value
    )
    assert (np.abs(scores - expected["score"]) <= limit).all()


def test_training_from_files(tmp_path):
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(6000, 1))
    values = causes @ [[1.0, -2.0]] + 0.1 * rng.normal(size=(6000, 2))
    values[10, 0] = np.nan  # its windows are not used
    lines = [";".join("" if np.isnan(v) else f"{v:.5f}" for v in row) for row in values]
    (tmp_path / "data.csv").write_text("\n".join(["A;b", *lines]) + "\n")
    report = train(recipe_file(tmp_path, FILES, calibration=CALIBRATION))
    assert report.package.folder == tmp_path
    assert report.package.manifest.training["data"] == "a test"
    assert report.figures["detection"] == []
    assert report.figures["fit"]["windows"] == (3000 - 4) // 2 + 1 - 2
    assert "detection is not measured" in (tmp_path / "README.md").read_text()


def test_too_little_data_is_told_as_a_problem_of_the_recipe(tmp_path):
    lines = [f"{i % 7};{i % 5}" for i in range(100)]
    (tmp_path / "data.csv").write_text("\n".join(["A;b", *lines]) + "\n")
    with pytest.raises(ConfigError, match=r"train.yaml: data: only \d+ separate excursions"):
        train(recipe_file(tmp_path, FILES))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "train.yaml"]


def test_a_constant_signal_is_told_as_a_problem_of_the_recipe(tmp_path):
    lines = [f"{i % 7};3.5" for i in range(500)]
    (tmp_path / "data.csv").write_text("\n".join(["A;b", *lines]) + "\n")
    with pytest.raises(ConfigError, match="`b` is constant"):
        train(recipe_file(tmp_path, FILES))


# The writer.


def small_model():
    windows = np.random.default_rng(0).normal(size=(500, 4, 3)).astype(np.float32)
    model = fit_pca(windows, variance_share=0.8)
    return pca_graph(model), windows[:32], pca_outputs(model, windows[:32])


def draft() -> dict:
    outputs = [
        {"name": "score", "unit": "1", "meaning": "m", "role": "score"},
        {"name": "contribution", "unit": "1", "meaning": "m", "role": "contribution"},
        {"name": "t2", "unit": "1", "meaning": "m"},
        {"name": "q", "unit": "1", "meaning": "m"},
    ]
    return {
        "format": 1,
        "name": "small",
        "version": "1.0.0",
        "task": "anomaly",
        "description": "d",
        "signals": [{"name": name, "unit": "1"} for name in "abc"],
        "sample_rate_hz": 1.0,
        "window": {"length": 4, "hop": 1},
        "outputs": outputs,
        "threshold": {"value": 1.0, "method": "m", "data": "d"},
        "training": {},
    }


def test_writing_over_a_package_keeps_other_files(tmp_path):
    graph, golden, reference = small_model()
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "train.yaml").write_text("mine")
    write_package(folder, draft(), graph, golden, reference=reference, card="first")
    second = {**draft(), "version": "2.0.0"}
    package = write_package(folder, second, graph, golden, reference=reference)
    assert package.manifest.version == "2.0.0"
    assert (folder / "train.yaml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["small"]  # no temporary folder is left


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"version": "two"}, ConfigError, "version"),
        ({"outputs": draft()["outputs"][1:]}, ConfigError, "role `score`"),
        ({"window": {"length": 5, "hop": 1}}, ModelError, "shape"),
    ],
)
def test_a_bad_manifest_leaves_the_old_package(tmp_path, change, error, text):
    graph, golden, reference = small_model()
    folder = tmp_path / "small"
    write_package(folder, draft(), graph, golden, reference=reference)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(error, match=text):
        write_package(folder, {**draft(), **change}, graph, golden, reference=reference)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_graph_that_does_not_give_the_reference_is_refused(tmp_path):
    graph, golden, reference = small_model()
    reference["t2"] = reference["t2"] * 1.001
    with pytest.raises(ModelError, match="`t2` must agree with float64"):
        write_package(tmp_path / "small", draft(), graph, golden, reference=reference)
    assert not list(tmp_path.iterdir())


def test_too_few_golden_windows_are_refused(tmp_path):
    graph, golden, reference = small_model()
    few = {name: values[:31] for name, values in reference.items()}
    with pytest.raises(ModelError, match="at least 32"):
        write_package(tmp_path / "small", draft(), graph, golden[:31], reference=few)


def test_a_broken_graph_is_refused(tmp_path):
    graph, golden, reference = small_model()
    graph.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="not a valid ONNX graph"):
        write_package(tmp_path / "small", draft(), graph, golden, reference=reference)


# What is shipped.


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_package_fits_its_recipe_and_card(name):
    folder = shipped("models") / name
    package = load_package(folder)
    manifest, recipe = package.manifest, load_recipe(folder / "train.yaml")
    stated = recipe.model_dump(mode="json", exclude={"card"}, exclude_none=True)
    assert manifest.training["recipe"] == stated, "the package was not trained by this recipe"
    assert (manifest.name, manifest.version) == (recipe.name, recipe.version)
    assert tuple(manifest.signals) == signals_of(recipe.data, "")[0], "the machine has changed"
    figures = manifest.training["figures"]
    assert figures["false_alarms"]["hours"] >= 20
    assert manifest.threshold.false_alarms.high_per_day <= 4.0
    decisions = count_decisions(
        package.golden()[1]["score"], package.labelled_golden()[2],
        manifest.threshold.value, manifest.threshold.abnormal,
    )  # fmt: skip
    assert decisions.healthy == (0, 24)
    assert decisions.faulty[1] == 24
    assert manifest.held_values is not None
    assert (manifest.held_values.good == 0) == (name == "moulding-pca"), (
        "measured near the threshold"
    )
    card = (folder / "README.md").read_text()
    assert "SIMULATED" in card
    draft = yaml.safe_load((folder / "model.yaml").read_text())
    assert card == model_card(recipe, draft), "the card is not of this recipe and manifest"
    onnx.checker.check_model(onnx.load(folder / "model.onnx"), full_check=True)


def test_the_shipped_models_are_small():
    total = sum(path.stat().st_size for path in shipped("models").rglob("*") if path.is_file())
    assert total < 3_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_does_not_alarm_on_a_fresh_machine_but_on_its_faults(name):
    """The data has seeds that no recipe uses, and is processed like the recipe's data."""
    from edgeai.alarms.alarm import alarm_rule
    from edgeai.progress import silent
    from edgeai.training.anomaly.evaluate import count_false_alarms, evaluate_detection
    from edgeai.training.anomaly.train import score_run
    from edgeai.training.data.dataset import load_data

    folder = shipped("models") / name
    recipe, manifest = load_recipe(folder / "train.yaml"), load_package(folder).manifest
    visible = {
        "melting-tank-pca": ["heater_failure"],
        "moulding-pca": ["coolant_blocked", "check_ring_wear"],
        "agitator-autoencoder": ["impeller_imbalance", "phase_imbalance", "bearing_wear"],
    }[name]
    one = recipe.data.fit.model_copy(update={"runs": 1, "seconds": 20.0})
    test = one.model_copy(update={"runs": 4, "seconds": 600.0})
    faults = recipe.data.faults.model_copy(
        update={"runs": 2, "names": visible, "severities": [1.0], "seconds": 15.0}
    )
    data = recipe.data.model_copy(
        update={"fit": one, "calibrate": one, "test": test, "faults": faults}
    )
    fresh = recipe.model_copy(update={"seed": 777, "data": data})
    runs = load_data(fresh, folder / "train.yaml", silent)
    scorer = Scorer((folder / "model.onnx").read_bytes())
    rule = alarm_rule(manifest.threshold.value, manifest.alarm, manifest.alarm)

    def of(chosen):
        return [score_run(run, scorer) for run in chosen]

    assert count_false_alarms(of(runs.test), rule, 1.0)["alarms"] == 0
    for row in evaluate_detection(of(runs.faults), rule):
        assert row["detected"] == 1.0, row
        assert row["delay_worst_seconds"] <= 6.0, row


def test_a_copy_of_a_shipped_recipe_can_be_shortened_and_trained(tmp_path):
    """A user copies the folder, changes the recipe and trains."""
    folder = tmp_path / "mine"
    shutil.copytree(shipped("models") / "melting-tank-pca", folder)
    recipe = yaml.safe_load((folder / "train.yaml").read_text())
    recipe["version"] = "1.1.0"
    recipe["calibration"] = {"false_alarms_per_day": 24, "tail_share": 0.3}
    for use, runs in (("fit", 10), ("calibrate", 10), ("test", 2)):
        recipe["data"][use] = {"runs": runs, "seconds": 300}
    recipe["data"]["faults"] |= {"runs": 1, "names": ["heater_failure"], "severities": [1.0]}
    (folder / "train.yaml").write_text(yaml.safe_dump(recipe))
    report = train(folder / "train.yaml")
    assert load_package(folder).manifest.version == "1.1.0"
    assert report.figures["detection"][0]["detected"] == 1.0
