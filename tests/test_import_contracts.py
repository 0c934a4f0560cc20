"""The import contracts of pyproject.toml find what the documents say that they find."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

ROOMS = "the order of the rooms, top to bottom"
NAMES = "edgeai imports from modules, not from the public names of edgeai and its rooms"
PLANTED: dict[str, tuple[str, str]] = {
    "streams/planted.py": ("from edgeai.alarms import alarm", ROOMS),
    "engine/planted.py": ("from edgeai import write_package", NAMES),
    "metrics/planted.py": ("import edgeai", NAMES),
    "model/planted.py": ("from edgeai.model import load_package", NAMES),
    "training/planted.py": ("from edgeai.training.pinn import fit", NAMES),
    "cli/planted.py": ("def run():\n    from edgeai.replay import replay_files", NAMES),
    "providers/cpu_planted.py": ("import waitress", "waitress only in node"),
    "providers/cpu_binding.py": (
        "import edgeai.providers.selection.choose", "the order inside providers, top to bottom",
    ),
    "training/data/planted.py": (
        "import edgeai.training.anomaly.train", "the order inside training, top to bottom",
    ),
    "providers/child/planted.py": (
        "import edgeai.errors", "providers.child imports nothing of edgeai but itself",
    ),
    "node/planted.py": (
        "import edgeai.plant.tank", "what serves imports neither plant nor training",
    ),
    "alarms/planted.py": ("import paho.mqtt.client", "paho only in mqtt"),
    "alarms/other.py": (
        "import onnxruntime",
        "onnxruntime only in providers, model.graph_facts, quantize and training.pinn",
    ),
    "engine/other.py": ("import prometheus_client", "prometheus_client only in metrics"),
    "quantize/planted.py": ("import torch", "torch only in training"),
    "model/other.py": ("import cryptography", "cryptography only in signing"),
}  # fmt: skip


def contracts() -> list[dict[str, object]]:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    found: list[dict[str, object]] = settings["tool"]["importlinter"]["contracts"]
    return found


def test_each_contract_finds_a_planted_import(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    shutil.copytree(
        REPOSITORY / "edgeai", tmp_path / "edgeai", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, (line, _) in PLANTED.items():
        with (tmp_path / "edgeai" / name).open("a") as file:
            file.write(f"\n{line}\n")
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    summary, _, details = done.stdout.partition("Broken contracts")
    broken = re.findall(r"^(.+?) BROKEN", summary, re.MULTILINE)
    assert broken == [one["name"] for one in contracts()], done.stdout + done.stderr
    parts = re.split(r"^(.+)\n-+\n", details, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for name, (_, contract) in PLANTED.items():
        module = "edgeai." + name.removesuffix(".py").replace("/", ".")
        assert f"{module} -> " in sections[contract], (name, contract)


def test_every_package_with_lazy_names_is_in_the_contract() -> None:
    lazy = [
        ".".join(file.parent.relative_to(REPOSITORY).parts)
        for file in (REPOSITORY / "edgeai").rglob("__init__.py")
        if "__getattr__" in file.read_text()
    ]
    (contract,) = (one for one in contracts() if one["name"] == NAMES)
    assert contract["forbidden_modules"] == sorted(lazy)


def test_imports_for_types_alone_are_known() -> None:
    """The contracts do not see an import under `if TYPE_CHECKING:`, so each needs a reason."""
    found = [
        str(file.relative_to(REPOSITORY))
        for file in (REPOSITORY / "edgeai").rglob("*.py")
        if file.name != "__init__.py" and "if TYPE_CHECKING:" in file.read_text()
    ]
    assert sorted(found) == [
        "edgeai/config/source_rules.py",  # its rules are called by the model that they look at
        "edgeai/node/page_state.py",  # the supervisor must not load the engine
        "edgeai/signing/trust.py",  # who verifies nothing must not load cryptography
        "edgeai/streams/settings.py",  # the settings of cycles are made of arrays of this module
    ]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_library_that_a_page_confines_has_a_contract(page: str) -> None:
    text = " ".join((REPOSITORY / page).read_text().split())
    names = [str(one["name"]) for one in contracts()]
    found = re.findall(
        r"(paho|prometheus_client|waitress|torch|cryptography) "
        r"(?:is imported )?(?:only )?in `(\w+)`",
        text,
    )
    assert len(found) == 5
    for library, room in found:
        assert f"{library} only in {room}" in names
