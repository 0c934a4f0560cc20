"""What users may import, and the examples in its docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import edgeai

ROOMS = sorted(
    f"edgeai.{found.name}" for found in pkgutil.iter_modules(edgeai.__path__) if found.ispkg
)
SURFACE = {
    "edgeai": [
        "ConfigError", "DecodeError", "EdgeError", "ModelError", "Package", "Plan",
        "TransportError", "__version__", "check", "load_package", "replay_files", "write_package",
    ],
    "edgeai.alarms": [],
    "edgeai.answers": [],
    "edgeai.assembly": ["Plan", "build_pipelines", "check"],
    "edgeai.cli": ["app", "main"],
    "edgeai.conditions": [],
    "edgeai.config": ["Config", "Device", "load_config", "load_device"],
    "edgeai.decoding": [],
    "edgeai.demo": [],
    "edgeai.doctor": [],
    "edgeai.engine": ["Engine", "Pipeline"],
    "edgeai.metrics": [],
    "edgeai.model": ["Manifest", "Package", "load_package"],
    "edgeai.mqtt": ["Connection", "Link", "Status"],
    "edgeai.node": [],
    "edgeai.onboarding": [],
    "edgeai.plant": [],
    "edgeai.providers": ["Backend", "CompiledSession", "LoadRequest", "check_backend"],
    "edgeai.signing": [],
    "edgeai.quantize": ["OutputError", "QuantizeReport", "quantize"],
    "edgeai.recordings": [],
    "edgeai.report": [],
    "edgeai.replay": ["ReplaySummary", "TableOptions", "replay_files"],
    "edgeai.states": [],
    "edgeai.streams": [],
    "edgeai.testing": [
        "MemoryNode", "MemorySink", "MemorySource", "build_package", "mean_graph", "write_config",
    ],
    "edgeai.training": ["TrainingReport", "train", "train_recipe", "write_package"],
    "edgeai.workers": [],
}  # fmt: skip
"""A name that goes from here breaks somebody's program; a new one is a promise."""


def test_every_room_says_what_may_be_imported() -> None:
    assert [name for name in ROOMS if name not in SURFACE] == []


@pytest.mark.parametrize("name", SURFACE)
def test_the_public_names_are_these_and_exist(name: str) -> None:
    module = importlib.import_module(name)
    assert sorted(module.__all__) == SURFACE[name]
    for public in module.__all__:
        assert getattr(module, public) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_importing_edgeai_loads_no_library() -> None:
    """The supervisor of several workers stays small."""
    program = (
        "import edgeai, edgeai.engine, edgeai.model, edgeai.providers, sys; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert {"numpy", "onnxruntime", "onnx", "pydantic"} & set(done.stdout.split()) == set()


EXAMPLES = [
    "edgeai.model.package",
    "edgeai.providers.conformance",
    "edgeai.replay.run",
    "edgeai.testing",
    "edgeai.training.write",
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
