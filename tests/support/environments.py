"""Separate Python environments, as named by `python:` of a device profile.

Each is made once and kept in `.environments/`, under a name that changes with what is in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

FOLDER = REPOSITORY / ".environments"
INSTALL_SECONDS = 500


def environment(name: str, requirements: list[str], local: Path | None = None) -> Path:
    """Return the interpreter of an environment; skip the test if it cannot be created.

    Args:
        name: For the folder.
        requirements: From the package index.
        local: Folder of a package to install as well, whose build needs hatchling.
    """
    FOLDER.mkdir(exist_ok=True)
    wanted = [sys.version, *requirements, *(_contents(local) if local else [])]
    key = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:12]
    folder = FOLDER / f"{name}-{key}"
    python = folder / "bin" / "python"
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may create it at once
        if not (folder / "complete").is_file():
            for old in FOLDER.iterdir():
                if re.fullmatch(f"{re.escape(name)}-[0-9a-f]{{12}}", old.name):
                    shutil.rmtree(old)
            _make(folder, python, requirements, local)
            (folder / "complete").touch()
    return python


def openvino_python() -> str:
    """Return the interpreter of an environment with the build onnxruntime-openvino."""
    names = ["onnxruntime-openvino==1.24.1", "numpy"]
    return str(environment("onnxruntime-openvino", names))


def clean_variables() -> dict[str, str]:
    """Return this process's variables without those that change where Python finds packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _make(folder: Path, python: Path, requirements: list[str], local: Path | None) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if local is not None:
        requirements = [*requirements, "hatchling"]
    reason = _pip(python, *requirements)
    if reason:
        pytest.skip(f"cannot install {', '.join(requirements)}: {reason}")
    if local is not None:
        # Without the package index, so that only a defect of the package can fail it.
        reason = _pip(python, "--no-deps", "--no-build-isolation", str(local))
        assert not reason, reason


def _pip(python: Path, *arguments: str) -> str:
    """Install; return the error, or an empty text."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*command, "--retries", "1", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=clean_variables(),
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"not done within {INSTALL_SECONDS} s"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"pip ended with {done.returncode}"


def _contents(package: Path) -> list[str]:
    files = sorted(path for path in package.rglob("*") if path.suffix in {".py", ".toml"})
    return [path.read_text() for path in files]
