"""Training on cycles: the windows are those that the runtime would compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("scipy", reason="needs the extra train")

from edgeai.assembly.plan import check
from edgeai.errors import ConfigError
from edgeai.progress import silent
from edgeai.replay.run import replay_files
from edgeai.testing import write_config
from edgeai.training.anomaly.train import train
from edgeai.training.data.dataset import load_data
from edgeai.training.recipe import load_recipe
from tests.support.recipes import BASE, recipe_file

pytestmark = pytest.mark.train

CYCLE = {
    "start": {"signal": "closed", "rises_above": 0.5},
    "end": {"signal": "closed", "falls_below": 0.5},
    "min_seconds": 5,
    "max_seconds": 40,
}
DATA: dict[str, Any] = {
    "type": "files",
    "sample_rate_hz": 1.0,
    "source": "a made-up machine",
    "signals": [{"name": "a", "unit": "bar"}, {"name": "b", "unit": "kN"}],
    "time": {"column": "t", "unit": "s"},
    "runs": [{"file": "data.csv"}],
    "blocks": {"fit": 0.4, "calibrate": 0.3, "test": 0.3},
}
WINDOW = {"length": 8, "cycle": CYCLE}
T0 = 1_763_719_200


def write_rows(folder: Path, cycles: int, *, worn_from: int | None = None) -> None:
    """Cycles of 10 to 14 s with pauses; from one on the force is too low."""
    rng = np.random.default_rng(3)
    lines, t = ["t,a,b,closed"], T0
    for number in range(cycles):
        length = int(rng.integers(10, 15))
        worn = worn_from is not None and number >= worn_from
        for _ in range(int(rng.integers(3, 6))):
            lines.append(f"{t},{rng.normal(0, 0.1):.4f},{rng.normal(0, 0.1):.4f},0")
            t += 1
        for second in range(length):
            shape = np.sin(np.pi * second / length)
            a = 10 * shape + rng.normal(0, 0.2)
            b = (1.0 if worn else 5.0) * shape + rng.normal(0, 0.2)
            lines.append(f"{t},{a:.4f},{b:.4f},1")
            t += 1
    lines.append(f"{t},0,0,0")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")


def test_the_windows_are_the_cycles(tmp_path: Path) -> None:
    write_rows(tmp_path, 40)
    data = {
        **DATA,
        "runs": [{"file": "data.csv", "use": use} for use in ("fit", "calibrate", "test")],
    }
    del data["blocks"]
    path = recipe_file(tmp_path, data, window=WINDOW)
    found = load_data(load_recipe(path), path, silent)
    windows = found.fit[0].windows
    assert len(windows) == 40
    assert windows.clean.all()
    taken = windows.take(windows.clean)
    assert taken.shape == (40, 8, 2)
    assert np.abs(taken[:, 0, 0]).max() < 1  # each begins where the sine does
    assert 13 <= found.hop_seconds(load_recipe(path)) <= 20


def test_a_model_of_cycles_is_trained_and_served(tmp_path: Path) -> None:
    write_rows(tmp_path, 400)
    path = recipe_file(
        tmp_path, DATA, window=WINDOW,
        calibration={"false_alarms_per_day": 24.0, "tail_share": 0.3},
        alarm={"on_delay_seconds": 0.0, "off_delay_seconds": 0.0},
    )  # fmt: skip
    report = train(path, tmp_path / "model", keep_useless=True)
    assert report.package is not None
    manifest = yaml.safe_load((tmp_path / "model" / "model.yaml").read_text())
    assert manifest["cycle"] == {"fit": "resample"}
    assert manifest["window"] == {"length": 8, "hop": 8}
    assert "each cycle of the machine is scored" in (tmp_path / "model" / "README.md").read_text()
    write_rows(tmp_path, 60, worn_from=40)
    source = {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}}
    pipeline = {"model": "model", "source": source, "window": {"cycle": CYCLE}}
    config = write_config(tmp_path / "line.yaml", {"p": pipeline})
    replay_files(check(config), [tmp_path / "data.csv"], tmp_path / "out.jsonl")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    states = [one["score"] > one["threshold"] for one in found]
    assert sum(states[:40]) <= 1
    assert all(states[40:])
    assert {one["top"][0][0] for one in found[40:]} == {"b"}


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({**WINDOW, "hop": 4}, "`hop` is for windows that slide: delete it, or `cycle`"),
        ({"length": 8, "cycle": {"start": CYCLE["start"]}}, "needs `max_seconds`"),
        (
            {"length": 8, "cycle": {**CYCLE, "fit": "pad", "max_samples": 40}},
            "window.length: must hold the longest cycle, 40 samples",
        ),
        ({"length": 8, "cycle": "message"}, "window.cycle.message: needs a source of the layout"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, window: Any, expected: str) -> None:
    write_rows(tmp_path, 5)
    path = recipe_file(tmp_path, DATA, window=window)
    with pytest.raises(ConfigError) as caught:
        load_data(load_recipe(path), path, silent)
    assert expected in str(caught.value)


def test_a_simulated_machine_has_no_cycles(tmp_path: Path) -> None:
    assert "window" in BASE
    plant = {
        "type": "plant", "machine": "moulding",
        "fit": {"runs": 1, "seconds": 100}, "calibrate": {"runs": 1, "seconds": 100},
        "test": {"runs": 1, "seconds": 100},
        "faults": {"runs": 1, "start_seconds": 10, "seconds": 20},
    }  # fmt: skip
    path = recipe_file(tmp_path, plant, window=WINDOW)
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    assert "`window.cycle` needs recordings" in str(caught.value)
