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
        here = {name for name in here if "/training/" not in name}
        assert here <= carried
        assert here
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "docs/", "models/"))]
    shipped = [n for n in names if n.startswith("edgeai/shipped/")]
    assert not [n for n in shipped if "/training/" in n], "trainers belong to the checkout"
    assert not [n for n in shipped if n.endswith(".py")]
    assert not [n for n in names if n.endswith(".pyc") or "__pycache__" in n]
    assert wheel.stat().st_size < 4_000_000


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; the dependencies come from this one."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True)
    site = sysconfig.get_path("purelib", vars={"base": str(environment)})
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


@pytest.fixture
def run_installed(installed: Path, tmp_path: Path):
    """Runs a program of the environment in an empty folder, without this checkout's settings."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(installed / "bin" / program), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False
        )

    return run


def test_training_a_package_with_its_own_trainer_needs_the_checkout(run_installed, installed):
    found = run_installed("python", "-c", "import edgeai; print(edgeai.__path__[0])").stdout.strip()
    assert str(installed) in found
    recipe = Path(found) / "shipped" / "models" / "moulding-pinn" / "train.yaml"
    assert recipe.is_file()
    done = run_installed("edgeai", "train", str(recipe))
    assert done.returncode == 2
    assert "train.yaml: trainer: there is no folder" in done.stderr
    assert "train from a checkout (found 'training')" in done.stderr


def test_installed_elsewhere_the_demo_runs(run_installed, installed, tmp_path: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    found = run_installed("python", "-c", "import edgeai; print(edgeai.__file__)")
    assert str(installed) in found.stdout
    done = run_installed("edgeai", "check", "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run_installed("edgeai", "demo", "--seconds", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "coolant_blocked in moulding-1: alarm" in done.stdout
    assert not list(tmp_path.iterdir())
