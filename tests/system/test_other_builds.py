"""edgeai on a single build of ONNX Runtime that is not called `onnxruntime`."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml

from tests.support.environments import openvino_python
from tests.support.packages import write_config, write_package
from tests.support.paths import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first run installs

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This environment's packages without its build of ONNX Runtime."""
    folder = tmp_path_factory.mktemp("libraries")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("onnxruntime", "numpy")):
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_package(tmp_path / "mean")
    write_config(tmp_path / "line.yaml", 1883, {"p": {"model": "mean", "source": SOURCE}})
    (tmp_path / "press.csv").write_text("\n".join(["t,a,b", *(f"{t},{t},1" for t in range(1, 9))]))
    return tmp_path


def edgeai(libraries: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}:{libraries}",
        "EDGEAI_STATE_DIR": str(folder / "state"),
    }
    command = [openvino_python(), "-m", "edgeai", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_build_of_openvino_alone_serves(libraries: Path, folder: Path) -> None:
    for arguments in (
        ["check", "line.yaml"],
        ["replay", "line.yaml", "--input", "press.csv", "--output", "out.jsonl"],
        ["devices", "line.yaml"],
    ):
        done = edgeai(libraries, folder, *arguments)
        assert done.returncode == 0, done.stderr
    assert len((folder / "out.jsonl").read_text().splitlines()) == 5
    (cache,) = (folder / "state" / "inspection").iterdir()
    assert "onnxruntime-openvino" in cache.name


def test_the_build_of_openvino_alone_quantizes(libraries: Path, folder: Path) -> None:
    source = REPOSITORY / "models" / "agitator-autoencoder"
    done = edgeai(libraries, folder, "quantize", str(source), "--to", "fp16", "--output", "small")
    assert done.returncode == 0, done.stderr
    manifest = yaml.safe_load((folder / "small" / "model.yaml").read_text())
    made_with = manifest["training"]["variants"]["fp16"]["made_with"]
    assert made_with.startswith("onnxruntime-openvino 1.")
