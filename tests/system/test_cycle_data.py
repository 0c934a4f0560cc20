"""Real machines cut into cycles: each shot, stroke, load cycle and batch of a recording is found.

Each recording runs through `replay_files`, as `edgeai replay` does it. What a set is and where it
comes from stands in ../shared/data/NAME/SOURCE.md.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edgeai.assembly.plan import check
from edgeai.progress import silent
from edgeai.recordings.tables import TableOptions
from edgeai.replay.run import replay_files
from edgeai.testing import build_package, write_config

pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
pytestmark = [pytest.mark.data, pytest.mark.slow]

START = 1_763_719_200  # s
SECOND = 1_000_000_000

Columns = dict[str, np.ndarray]


def table(path: Path) -> Columns:
    read = pq.read_table(path)
    return {name: read[name].to_numpy() for name in read.column_names}


def replayed(
    folder: Path,
    columns: Columns,
    signals: list[str],
    cycle: Any,
    *,
    step_seconds: float = 1.0,
    length: int = 32,
    rate_hz: float | None = 1.0,
    fit: str = "resample",
    **stream: Any,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Replay the running signals, a row each step; return the predictions, and what was dropped."""
    import pyarrow as pa

    count = len(next(iter(columns.values())))
    times = START + step_seconds * np.arange(count)
    pq.write_table(pa.table({"t": times, **columns}), folder / "m1.parquet")
    build_package(
        folder / "mean", signals=signals, length=length, threshold=1e9, rate_hz=rate_hz,
        manifest_changes={"cycle": {"fit": fit}},
    )  # fmt: skip
    source = {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}}
    pipeline = {"model": "mean", "source": source, "window": {"cycle": cycle}, "stream": stream}
    config = write_config(folder / "line.yaml", {"p": pipeline})
    output = folder / "predictions.jsonl"
    summary = replay_files(check(config), [folder / "m1.parquet"], output, options=TableOptions())
    return [json.loads(line) for line in output.read_text().splitlines()], summary.dropped


def idle_around(columns: Columns, before: int = 5, after: int = 5, **idle: float) -> Columns:
    """Add rows of an idle machine before the first batch and after the last."""
    made = {}
    for name, values in columns.items():
        first, last = idle.get(name, values[0]), idle.get(name, values[-1])
        made[name] = np.concatenate([np.full(before, first), values, np.full(after, last)])
    return made


@pytest.fixture(scope="module")
def press(data_store: Path) -> Columns:
    return table(data_store / "press_hydraulics" / "cycles_1hz.parquet")


@pytest.fixture(scope="module")
def data_store() -> Path:
    from tests.support.paths import DATA

    if not DATA.is_dir():
        pytest.skip("../shared/data is absent: it is a test store outside the repository")
    return DATA


def test_load_cycles_of_a_press_by_its_own_pressure(tmp_path: Path, press: Columns) -> None:
    """No counter: the load phase starts where PS2 falls, and ends where it is back."""
    signals = ["PS1", "PS2", "EPS1", "FS1"]
    cycle = {
        "start": {"signal": "PS2", "falls_below": 5, "hysteresis": 4},
        "end": {"signal": "PS2", "rises_above": 60},
        "min_seconds": 5, "max_seconds": 20,
    }  # fmt: skip
    found, dropped = replayed(tmp_path, {name: press[name] for name in signals}, signals, cycle)
    assert len(found) == 1673
    starts = np.array([(one["cycle"]["start"] / SECOND - START) for one in found])
    assert (starts % 60 == 1).all()  # each in its own cycle, one second after it begins
    assert len(np.unique(starts // 60)) == 1673
    durations = [one["cycle"]["duration_seconds"] for one in found]
    assert 7 <= min(durations) <= max(durations) <= 11
    assert not dropped
    print(f"press: 1,673 load phases of {min(durations)} to {max(durations)} s")


def test_whole_cycles_of_a_press(tmp_path: Path, press: Columns) -> None:
    """The next start ends a cycle; the last one has none, and is told as unfinished."""
    signals = ["PS1", "PS2", "EPS1", "FS1", "TS1"]
    cycle = {"start": {"signal": "PS2", "falls_below": 5, "hysteresis": 4}, "max_seconds": 60}
    found, dropped = replayed(tmp_path, {name: press[name] for name in signals}, signals, cycle)
    assert {one["cycle"]["duration_seconds"] for one in found} == {60.0}
    assert len(found) == 1672
    assert dropped == ["p: 1 cycles, start_unseen", "p: 1 cycles, unfinished"]


def test_cycles_of_a_press_by_their_number(tmp_path: Path, press: Columns) -> None:
    """The recording lacks 532 cycles, so the number makes steps of more than one."""
    columns = idle_around({name: press[name] for name in ("cycle", "PS1", "EPS1")}, cycle=-1)
    cycle = {"start": {"signal": "cycle", "changes": True}, "max_seconds": 60, "number": "cycle"}
    found, dropped = replayed(tmp_path, columns, ["PS1", "EPS1"], cycle, length=60)
    assert [one["cycle"]["number"] for one in found] == np.unique(press["cycle"]).tolist()
    means = press["PS1"].reshape(-1, 60).mean(axis=1) + press["EPS1"].reshape(-1, 60).mean(axis=1)
    assert np.allclose([one["score"] for one in found], means, rtol=1e-6)
    assert dropped == ["p: 1 cycles, start_unseen", "p: 1 cycles, unfinished"]


@pytest.mark.parametrize("fit", ["resample", "pad"])
def test_batches_of_an_autoclave(tmp_path: Path, data_store: Path, fit: str) -> None:
    columns = table(data_store / "autoclave_nylon" / "nylon_batches.parquet")
    tags = [f"Tag{number:02}" for number in range(1, 11)]
    sizes = np.unique(columns["batch_id"], return_counts=True)[1].tolist()
    columns = idle_around({"batch_id": columns["batch_id"], **{one: columns[one] for one in tags}})
    columns["batch_id"][:5] = columns["batch_id"][-5:] = 0
    cycle = {
        "start": {"signal": "batch_id", "changes": True}, "number": "batch_id",
        "min_seconds": 3600, "max_seconds": 60 * 200,
    }  # fmt: skip
    found, dropped = replayed(
        tmp_path, columns, tags, cycle,
        step_seconds=60, rate_hz=1 / 60, fit=fit, length=200 if fit == "pad" else 100,
    )  # fmt: skip
    assert [one["cycle"]["duration_seconds"] / 60 for one in found] == sizes
    assert len(found) == 38
    assert all(one["quality"] == "good" for one in found)
    print(f"autoclave: 38 batches of {min(sizes)} to {max(sizes)} samples, {fit}: {dropped}")


def test_batches_of_a_dryer_by_their_clock(tmp_path: Path, data_store: Path) -> None:
    """The clock of the batch counts from 0 in each: a batch starts where it falls back."""
    columns = table(data_store / "batch_dryer_agitator" / "dryer_batches.parquet")
    sizes = np.unique(columns["batch_id"], return_counts=True)[1].tolist()
    signals = [
        "CollectorTankLevel",
        "DryerPressure",
        "AgitatorPower",
        "AgitatorTorque",
        "DryerTemp",
    ]
    kept = {name: columns[name] for name in ("ClockTime", *signals)}
    columns = idle_around(kept, ClockTime=-1)
    cycle = {
        "start": {"signal": "ClockTime", "equals": 0},
        "end": {"signal": "ClockTime", "decreases": True},
        "max_seconds": 60 * 240,
    }
    found, dropped = replayed(tmp_path, columns, signals, cycle, step_seconds=60, rate_hz=1 / 60)
    assert [one["cycle"]["duration_seconds"] / 60 for one in found] == sizes
    assert (len(found), dropped) == (47, [])
    print(f"dryer: {len(found)} batches of {min(sizes)} to {max(sizes)} samples")


def test_shots_of_an_injection_moulding_machine(tmp_path: Path, data_store: Path) -> None:
    """A row a shot: each is a cycle of one sample, and carries the shot's number."""
    with (data_store / "injection_quality" / "cycles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    signals = ["Melt temperature", "Mold temperature", "time_to_fill", "SVo - Shot volume"]
    columns = {name: np.array([float(row[name]) for row in rows]) for name in ("row", *signals)}
    columns = idle_around(columns, 1, 1, row=-1)
    cycle = {
        "start": {"signal": "row", "changes": True}, "number": "row",
        "max_seconds": 600, "max_samples": 4,
    }  # fmt: skip
    found, _ = replayed(tmp_path, columns, signals, cycle, step_seconds=75, length=1, rate_hz=None)
    assert [one["cycle"]["number"] for one in found] == [int(row["row"]) for row in rows]
    assert {one["cycle"]["duration_seconds"] for one in found} == {75.0}
    print(f"injection moulding: {len(found):,} shots")


def test_strokes_of_a_press_and_runs_of_a_conveyor(tmp_path: Path, data_store: Path) -> None:
    """39 strokes, a row each; and runs of a belt at one speed, by the set-point."""
    folder = data_store / "tsid_press_conveyor"
    with (folder / "stamping_press.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    signals = ["Pressure Limit", "Adjust Speed", "Deceleration Distance", "Actual Pressure"]
    columns: Columns = {name: np.array([float(row[name]) for row in rows]) for name in signals}
    columns = idle_around({"stroke": np.arange(len(rows)), **columns}, 1, 1, stroke=-1)
    columns["stroke"][-1] = len(rows)
    cycle = {
        "start": {"signal": "stroke", "increases": True}, "number": "stroke",
        "max_seconds": 60, "max_samples": 2,
    }  # fmt: skip
    (tmp_path / "press").mkdir()
    found, _ = replayed(
        tmp_path / "press", columns, signals, cycle, step_seconds=4, length=1, rate_hz=None
    )
    assert [one["cycle"]["number"] for one in found] == list(range(39))
    with (folder / "conveyor.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    signals = ["motor_current", "belt_deflection", "noise", "vibration"]
    columns = {name: np.array([float(row[name]) for row in lines]) for name in (*signals, "speed")}
    runs = 1 + int((np.diff(columns["speed"]) != 0).sum())
    (tmp_path / "belt").mkdir()
    cycle = {"start": {"signal": "speed", "changes": True}, "max_seconds": 9000}
    found, dropped = replayed(tmp_path / "belt", columns, signals, cycle)
    assert len(found) == runs - 2  # the first has no start, the last no end
    assert dropped == ["p: 1 cycles, start_unseen", "p: 1 cycles, unfinished"]
    print(f"conveyor: {len(found)} runs at one speed")


def test_the_training_windows_of_a_press_are_its_cycles(tmp_path: Path, press: Columns) -> None:
    """A recipe cuts the running signals as the runtime does: to the last bit what was recorded."""
    pytest.importorskip("scipy", reason="needs the extra train")
    import pyarrow as pa

    from edgeai.training.data.dataset import load_data
    from edgeai.training.recipe import load_recipe

    signals = [name for name in press if name not in {"cycle", "t_s"}]
    rows = press["cycle"] <= np.unique(press["cycle"])[199]
    part = {name: press[name][rows] for name in ("cycle", *signals)}
    columns = idle_around(part, 1, 1, cycle=-1)
    times = START + np.arange(len(columns["cycle"]))
    pq.write_table(pa.table({"t": times, **columns}), tmp_path / "press.parquet")
    changes = {"signal": "cycle", "changes": True}
    cycle = {
        "start": {"all": [changes, {"signal": "cycle", "above": -0.5}]}, "end": changes,
        "max_seconds": 60,
    }  # fmt: skip
    few = [{"file": "press.parquet", "rows": [0, 200], "use": use} for use in ("calibrate", "test")]
    recipe = {
        "name": "press-cycles", "version": "1.0.0", "description": "a press", "seed": 1,
        "data": {
            "type": "files", "source": "press_hydraulics", "sample_rate_hz": 1.0,
            "signals": [{"name": name, "unit": "1"} for name in signals],
            "time": {"column": "t", "unit": "s"},
            "runs": [{"file": "press.parquet", "use": "fit"}, *few],
        },
        "window": {"length": 60, "cycle": cycle},
        "method": {"type": "pca", "components": 10},
        "calibration": {"false_alarms_per_day": 24.0},
        "alarm": {"on_delay_seconds": 0, "off_delay_seconds": 0},
        "card": {"watches": "a press", "limits": ["a test"]},
    }  # fmt: skip
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(recipe))
    data = load_data(load_recipe(tmp_path / "train.yaml"), tmp_path / "train.yaml", silent)
    windows = data.fit[0].windows
    assert windows.clean.all()
    recorded = np.stack([part[name].reshape(-1, 60) for name in signals], axis=2)
    assert np.array_equal(windows.take(windows.clean), recorded)
    assert [len(run.windows) for run in (*data.calibrate, *data.test)] == [3, 3]
    print(f"press: {len(windows)} training windows of 60 x {len(signals)}, as recorded")
