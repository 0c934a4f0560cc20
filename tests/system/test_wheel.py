"""The wheel works without a checkout: built, installed into a fresh environment, run elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from edgeai.demo.broker import find_mosquitto
from tests.support.paths import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(REPOSITORY)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_what_it_needs_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for kind in ("models", "devices", "configs"):
        carried = {n for n in names if n.startswith(f"edgeai/shipped/{kind}/")}
        here = {
            f"edgeai/shipped/{path}"
            for path in subprocess.run(
                ["git", "ls-files", kind],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
        }
        assert here <= carried
        assert here
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "docs/"))]
    assert wheel.stat().st_size < 4_000_000


def test_installed_elsewhere_the_demo_runs(wheel: Path, tmp_path: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, str(wheel)], check=True)
    # The dependencies come from this environment; edgeai itself must not.
    site = sysconfig.get_path("purelib", vars={"base": str(environment)})
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    where = [str(python), "-c", "import edgeai; print(edgeai.__file__)"]
    found = subprocess.run(
        where, cwd=empty, env=settings, capture_output=True, text=True, check=True
    )
    assert str(environment) in found.stdout
    edgeai = str(environment / "bin" / "edgeai")
    subprocess.run([edgeai, "check", "demo"], cwd=empty, env=settings, check=True)
    command = [edgeai, "demo", "--seconds", "20"]
    done = subprocess.run(
        command, cwd=empty, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "coolant_blocked in moulding-1: alarm" in done.stdout
    assert not list(empty.iterdir())
