"""Recipes and data: refusals with their messages, and the cutting of runs."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra train")
pytest.importorskip("pyarrow", reason="needs the extra train")

from edgeai.errors import ConfigError
from edgeai.paths import shipped
from edgeai.plant.line import make_controller, make_machine
from edgeai.plant.simulate import simulate
from edgeai.progress import silent
from edgeai.training import extra, train
from edgeai.training.data.dataset import load_data
from edgeai.training.data.plant import as_published
from edgeai.training.data.windows import windows_of
from edgeai.training.recipe import load_recipe
from tests.support.recipes import BASE, FILES, recipe_file

pytestmark = pytest.mark.train

PLANT = {
    "type": "plant",
    "machine": "tank",
    "fit": {"runs": 2, "seconds": 20},
    "calibrate": {"runs": 1, "seconds": 30},
    "test": {"runs": 1, "seconds": 10},
    "faults": {"runs": 2, "start_seconds": 5, "seconds": 5, "names": ["level_leak"]},
}


def write_csv(folder: Path, rows: int = 100) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)
    lines = [f"x;{b};{a}" for a, b in values.tolist()]
    (folder / "data.csv").write_text("\n".join(["t;b;A", *lines]) + "\n")
    return values


def loaded(path: Path):
    return load_data(load_recipe(path), path, silent)


@pytest.mark.parametrize("name", ["melting-tank-pca", "moulding-pca", "agitator-autoencoder"])
def test_shipped_recipes_are_valid(name):
    assert load_recipe(shipped("models") / name / "train.yaml").name == name


def test_blocks_are_contiguous_and_in_order(tmp_path):
    values = write_csv(tmp_path)
    data = loaded(recipe_file(tmp_path, FILES))
    parts = [run.windows for run in (*data.fit, *data.calibrate, *data.test)]
    for part, (start, end) in zip(parts, [(0, 50), (50, 80), (80, 100)], strict=True):
        assert part.clean.all()
        whole = windows_of(values[start:end], 4, 2)
        np.testing.assert_allclose(part.take(part.clean), whole, rtol=1e-6)


def test_runs_with_a_use_a_fault_and_rows(tmp_path):
    values = write_csv(tmp_path)
    uses = [("fit", 0, 40), ("calibrate", 40, 60), ("test", 60, 80)]
    runs = [{"file": "data.csv", "use": use, "rows": [a, b]} for use, a, b in uses]
    fault = {"file": "data.csv", "use": "fault", "rows": [80, 100], "fault": "x", "fault_row": 90}
    spec = {key: value for key, value in FILES.items() if key != "blocks"}
    data = loaded(recipe_file(tmp_path, {**spec, "runs": [*runs, fault]}))
    kept = data.calibrate[0].windows
    np.testing.assert_allclose(kept.take(kept.clean), windows_of(values[40:60], 4, 2), rtol=1e-6)
    assert (data.faults[0].fault, data.faults[0].fault_seconds) == ("x", 10.0)


def test_parquet_reads_the_same_as_csv(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    values = write_csv(tmp_path)
    table = pa.table({"A": values[:, 0], "b": values[:, 1].astype(float), "other": ["x"] * 100})
    parquet.write_table(table, tmp_path / "data.parquet")
    spec = {**FILES, "runs": [{"file": "data.parquet"}]}
    from_parquet = loaded(recipe_file(tmp_path, spec)).fit[0].windows.values
    from_csv = loaded(recipe_file(tmp_path, FILES)).fit[0].windows.values
    np.testing.assert_allclose(from_parquet, from_csv, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"runs": [{"file": "absent.csv"}]}, "absent.csv: no such file"),
        ({"signals": [{"name": "c", "unit": "1"}]}, "c"),
        ({"runs": [{"file": "data.csv", "rows": [0, 101]}]}, "has 100 rows"),
        ({"runs": [{"file": "data.csv", "rows": [9, 9]}]}, "at least one row"),
        ({"runs": [{"file": "data.csv", "use": "fault"}]}, "must be given for the use `fault`"),
        ({"blocks": None}, "a run without `use` needs `blocks`"),
        ({"evenly_spaced": False}, "the time of a row must be declared"),
        ({"blocks": {"fit": 0.5, "calibrate": 0.3, "test": 0.3}}, "add up to 1"),
        ({"delimiter": ","}, "data.csv"),
    ],
)
def test_bad_file_data_is_refused(tmp_path, change, text):
    write_csv(tmp_path)
    with pytest.raises(ConfigError, match=text):
        loaded(recipe_file(tmp_path, {**FILES, **change}))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"signals": ["levell"]}, "data.signals: unknown signal"),
        ({"faults": {**PLANT["faults"], "names": ["leak"]}}, "data.faults.names: unknown fault"),
        ({"sample_rate_hz": 3.0}, "must divide the machine's rate"),
        ({"machine": "lathe"}, "data.machine"),
        ({"fit": {"runs": 2}}, "data.fit.seconds: is required"),
    ],
)
def test_bad_plant_data_is_refused(tmp_path, change, text):
    with pytest.raises(ConfigError, match=text):
        loaded(recipe_file(tmp_path, {**PLANT, **change}))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epoch": 3}, "unknown key"),
        ({"method": {"type": "pca"}}, "exactly one of"),
        ({"method": {"type": "forest"}}, "method"),
        ({"method": {"type": "pca", "components": 2, "span": "median"}}, "odd `window.length`"),
        (
            {"window": {"length": 1, "hop": 1}, "method": {**BASE["method"], "span": "trend"}},
            "trend",
        ),
        ({"calibration": {"false_alarms_per_day": 0}}, "greater than 0"),
        ({"name": "Not A Name"}, "name"),
    ],
)
def test_bad_recipes_are_refused(tmp_path, change, text):
    with pytest.raises(ConfigError, match=text):
        load_recipe(recipe_file(tmp_path, PLANT, **change))


def test_simulated_runs(tmp_path):
    spec = {**PLANT, "signals": ["level", "bath_temperature_1"], "sample_rate_hz": 2.0}
    data = loaded(recipe_file(tmp_path, spec))
    assert [signal.name for signal in data.signals] == ["level", "bath_temperature_1"]
    values = [run.windows.values for run in data.fit]
    assert [one.shape for one in values] == [(40, 2), (40, 2)]
    assert not np.array_equal(*values)
    assert [run.fault_seconds for run in data.faults] == [5.0, 10.0]
    again = loaded(recipe_file(tmp_path, spec))
    np.testing.assert_array_equal(values[0], again.fit[0].windows.values)
    other = loaded(recipe_file(tmp_path, spec, seed=2))
    assert not np.array_equal(values[0], other.fit[0].windows.values)


def test_held_values_are_what_the_runtime_aligns():
    """The controller's messages, aligned by the runtime, give the same rows."""
    import json

    from edgeai.streams.align import Aligner
    from edgeai.streams.grid_values import AlignSettings

    recording = simulate("tank", 30, 3)
    names = [signal.name for signal in recording.signals]
    controller = make_controller("tank", "asset", make_machine("tank", 0))
    aligner = Aligner(AlignSettings("hold", 500_000_000, 5_000_000_000, 0), len(names))
    rows = []
    for time_ns, readings in zip(
        recording.times_ns.tolist(), recording.values.astype(float), strict=True
    ):
        for item in controller.publish(time_ns, readings):
            payload = json.loads(item.payload)
            at = round(payload["t"] * 1e9)
            aligner.add(at, names.index(item.topic.rsplit("/", 1)[1]), payload["v"])
        rows += aligner.take_rows()
    held = as_published(recording)
    assert len(rows) > 50
    for row in rows:
        at = np.searchsorted(recording.times_ns, row.time_ns)
        np.testing.assert_array_equal(np.array(row.values, np.float32), held[at])


def test_a_missing_library_is_named_before_the_data_is_made(monkeypatch):
    """The simulation of the shipped recipe takes minutes."""
    real = extra.importlib.import_module

    def import_all_but_torch(name: str):
        if name == "torch":
            raise ModuleNotFoundError(name)
        return real(name)

    def make_data(*_arguments):
        pytest.fail("the data was made")

    monkeypatch.setattr(extra.importlib, "import_module", import_all_but_torch)
    monkeypatch.setattr("edgeai.training.anomaly.train.load_data", make_data)
    with pytest.raises(ConfigError, match=r"needs torch, which is missing; install edgeai with"):
        train(shipped("models") / "agitator-autoencoder" / "train.yaml")


def test_a_missing_library_is_named(monkeypatch, tmp_path):
    def absent(name: str):
        raise ModuleNotFoundError(name)

    write_csv(tmp_path)
    monkeypatch.setattr(extra.importlib, "import_module", absent)
    with pytest.raises(
        ConfigError, match=r"which is missing; install edgeai with its extra `train`"
    ):
        train(recipe_file(tmp_path, FILES), tmp_path / "out")
