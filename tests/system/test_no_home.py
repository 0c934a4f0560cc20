"""A user without a home folder and without an entry in the user database, as in many containers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.brokers import RunningBroker
from tests.support.live import patient
from tests.support.mounts import (
    HOME_VARIABLES,
    no_users,
    run_with_mounts,
    run_without_home,
)
from tests.support.packages import write_config, write_package
from tests.support.paths import REPOSITORY
from tests.support.recipes import FILES, recipe_file

pytestmark = [pytest.mark.slow]

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
NOT_KEPT = "nothing is kept for the next start"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, a config, a recording and a recipe."""
    write_package(tmp_path / "mean")
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    write_config(tmp_path / "line.yaml", 1883, pipelines)
    (tmp_path / "press.csv").write_text("\n".join(["t,a,b", *(f"{t},{t},1" for t in range(1, 9))]))
    values = np.random.default_rng(0).normal(size=(4000, 2))
    rows = ["A;b", *(f"{a:.4f};{b:.4f}" for a, b in values)]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    calibration = {"false_alarms_per_day": 24.0, "tail_share": 0.2}
    recipe_file(tmp_path, FILES, calibration=calibration)
    shutil.copytree(REPOSITORY / "models" / "agitator-autoencoder", tmp_path / "model")
    return tmp_path


COMMANDS = {
    "check": (["check", "line.yaml"], True),
    "devices": (["devices", "line.yaml"], True),
    "replay": (["replay", "line.yaml", "--input", "press.csv", "--output", "out"], True),
    "quantize": (["quantize", "model", "--to", "fp16"], True),
    "train": (["train", "train.yaml", "--output", "trained"], False),
    "report": (["report", "mean", "--input", "press.csv", "--time-column", "t"], False),
}
"""Arguments, and whether the command would keep something for the next start."""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_works_without_kept_state_and_says_so_once(name: str, folder: Path) -> None:
    arguments, keeps = COMMANDS[name]
    done = run_without_home(arguments, folder)
    assert done.returncode == 0, done.stderr
    told = (done.stdout + done.stderr).count(NOT_KEPT)
    assert told == keeps
    assert "Traceback" not in done.stderr
    assert "onnxruntime:" not in done.stderr


@pytest.mark.broker
@pytest.mark.parametrize("workers", [1, 2])
def test_the_service_runs_without_kept_state(
    folder: Path, broker: RunningBroker, workers: int
) -> None:
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    write_config(folder / "line.yaml", broker.port, pipelines, workers=workers)
    # `timeout` ends it as systemd would.
    seconds = patient(4 + 4 * workers)
    mounts = f'{no_users(folder)}\nset -- timeout -s TERM {seconds:g} "$@"'
    done = run_with_mounts(["run", "line.yaml"], folder, mounts, unset=HOME_VARIABLES)
    assert "connected to" in done.stderr
    assert done.stderr.count(NOT_KEPT) == 1, done.stderr
    assert "stopped" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_state_folder_is_told_and_does_no_harm(folder: Path) -> None:
    (folder / "state").mkdir()
    mounts = f"mount -t tmpfs -o ro none {folder / 'state'}; export EDGEAI_STATE_DIR=state"
    done = run_with_mounts(["check", "line.yaml"], folder, mounts)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"warning: state: cannot be written; {NOT_KEPT}") == 1


def test_an_unwritable_home_leaves_no_line_of_onnx_runtime(folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    mounts = f"mount -t tmpfs -o ro none {home}; export HOME={home}"
    unset = ("XDG_STATE_HOME", "EDGEAI_STATE_DIR", "CI")
    done = run_with_mounts(["check", "line.yaml"], folder, mounts, unset=unset)
    assert done.returncode == 0
    assert done.stderr == ""


# --------------------------------------------------------------------------- mounts of a package


def test_a_package_that_is_a_mount_gets_its_variant(folder: Path) -> None:
    """As a volume of a container: a rename into it from outside fails."""
    (folder / "volume").mkdir()
    mounts = f"mount --bind {folder / 'model'} {folder / 'volume'}"
    done = run_with_mounts(["quantize", "volume", "--to", "fp16"], folder, mounts)
    assert done.returncode == 0, done.stderr
    assert (folder / "model" / "model.fp16.onnx").is_file()
    assert not list((folder / "model").glob(".edgeai-*"))


@pytest.mark.parametrize(
    ("mounts", "named"),
    [
        ("mount --bind model model; mount -o remount,ro,bind model", "model: "),
        ("mount --bind model/model.yaml model/model.yaml", "model/model.yaml: "),
    ],
    ids=["read-only folder", "one file is a mount"],
)
def test_what_cannot_be_written_is_named(folder: Path, mounts: str, named: str) -> None:
    before = (folder / "model" / "model.yaml").read_bytes()
    done = run_with_mounts(["quantize", "model", "--to", "fp16"], folder, mounts)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "cannot be written" in line]
    assert line.startswith(f"edgeai: {named}cannot be written: ")
    assert (folder / "model" / "model.yaml").read_bytes() == before
    assert not list((folder / "model").glob(".edgeai-*"))


def test_a_package_on_a_full_disk_is_named(folder: Path) -> None:
    (folder / "disk").mkdir()
    mounts = f"mount -t tmpfs -o size=64k none {folder / 'disk'}"
    output = "disk/small"
    done = run_with_mounts(
        ["quantize", "model", "--to", "fp16", "--output", output], folder, mounts
    )
    assert done.returncode == 2
    assert f"edgeai: {output}: cannot be written: No space left on device" in done.stderr
    train = ["train", "train.yaml", "--output", "disk/trained"]
    done = run_with_mounts(train, folder, f"mount -t tmpfs -o size=8k none {folder / 'disk'}")
    assert done.returncode == 2
    assert "edgeai: disk/trained: cannot be written: No space left on device" in done.stderr
