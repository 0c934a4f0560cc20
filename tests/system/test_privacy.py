"""No command looks up a name, speaks to anybody but the broker, or writes outside its folders."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from edgeai.cli.main import COMMANDS
from edgeai.demo.broker import find_mosquitto
from edgeai.signing.keys import read_private_key
from edgeai.signing.trust import sign_folder
from tests.support import faulty
from tests.support.brokers import free_port
from tests.support.offline import Traced, require_isolation, run_offline
from tests.support.packages import write_config, write_package
from tests.support.paths import DATA, REPOSITORY
from tests.support.recipes import FILES, recipe_file
from tests.support.signing import write_keys

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OWN = """
import torch
NETWORK = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
COORDINATES, FIELDS = {"x": "m", "t": "s"}, {"u": "1"}
RESIDUAL, PROBE = {"unit": "1", "scale": 1.0}, torch.rand(8, 2)
def equation(fields, where, parameters):
    return fields["u"].d("t") - fields["u"].d("x", "x")
"""
SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


@dataclass(frozen=True)
class Case:
    """How a command is run."""

    prepare: Callable[[Path], list[str]]
    """Write its files into a folder and return its arguments."""
    broker: bool = False
    seconds: float | None = None
    codes: tuple[int, ...] = (0,)
    says: str = ""
    """Part of the output, which shows that the command did its work."""


def config(folder: Path) -> str:
    """A node with a child process for the model, so that children are seen too."""
    write_package(folder / "mean")
    profile = {
        "description": "a test",
        "policy": "prefer",
        "candidates": [
            {
                "provider": "compiled",
                "backend": faulty.ENTRY_POINT,
                "source": "graph",
                "backend_options": {"control": str(folder / "control")},
            }
        ],
    }
    (folder / "device.yaml").write_text(yaml.safe_dump(profile))
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    http = {"enabled": True, "port": 0}
    write_config(
        folder / "line.yaml", PORT, pipelines, http=http, device="device.yaml", state_folder="state"
    )
    return "line.yaml"


def recording(folder: Path) -> str:
    rows = ["t,a,b", *(f"{t},{t % 7},1" for t in range(1, 40))]
    (folder / "press.csv").write_text("\n".join(rows))
    return "press.csv"


def health(folder: Path) -> list[str]:
    (folder / "line.yaml").write_text(f"http: {{port: {PORT}}}")
    return ["health", "line.yaml"]


def train(folder: Path) -> list[str]:
    values = np.random.default_rng(0).normal(size=(4000, 2))
    rows = ["A;b", *(f"{a:.4f};{b:.4f}" for a, b in values)]
    (folder / "data.csv").write_text("\n".join(rows))
    recipe = recipe_file(
        folder, FILES, calibration={"false_alarms_per_day": 24.0, "tail_share": 0.2}
    )
    return ["train", str(recipe), "--output", "trained"]


def quantize(folder: Path) -> list[str]:
    shutil.copytree(REPOSITORY / "models" / "agitator-autoencoder", folder / "model")
    return ["quantize", "model", "--to", "fp16"]


def export(folder: Path) -> list[str]:
    (folder / "own.py").write_text(OWN)
    return ["export", "own.py", "--output", "own.onnx"]


def report(folder: Path) -> list[str]:
    write_package(folder / "mean")
    return ["report", "mean", "--input", recording(folder), "--time-column", "t"]


def sign(folder: Path) -> list[str]:
    write_package(folder / "mean")
    write_keys(folder)
    return ["sign", "mean", "--key", "key.pem"]


def verify(folder: Path) -> list[str]:
    sign(folder)
    sign_folder(folder / "mean", read_private_key(folder / "key.pem"))
    return ["verify", "mean", "--key", "key.pub.pem"]


PORT = free_port()
CASES: dict[str, Case] = {
    "demo": Case(lambda _folder: ["demo", "--seconds", "8"]),
    "plant": Case(lambda _folder: ["plant", "--port", str(PORT)], broker=True, seconds=6),
    "run": Case(
        lambda folder: ["run", config(folder)], broker=True, seconds=15, says="connected to"
    ),
    "check": Case(lambda folder: ["check", config(folder)], says="on compiled:faulty"),
    "health": Case(health, codes=(1,), says="does not answer"),
    "acl": Case(lambda folder: ["acl", config(folder)], says="user"),
    "doctor": Case(lambda folder: ["doctor", config(folder)], broker=True, codes=(0, 1)),
    "devices": Case(lambda folder: ["devices", config(folder)]),
    "presets": Case(lambda _folder: ["presets"], says="kepware"),
    "listen": Case(
        lambda folder: ["listen", config(folder), "--seconds", "3"], broker=True, seconds=20,
        says="connected; subscribed to",
    ),
    "record": Case(
        lambda folder: [
            "record", config(folder), "--output", "recording", "--seconds", "3"
        ],
        broker=True, seconds=20, says="connected; subscribed to",
    ),
    "schema": Case(lambda _folder: ["schema", "config"]),
    "replay": Case(
        lambda folder: [
            "replay", config(folder), "--input", recording(folder), "--output", "out.jsonl"
        ]
    ),
    "train": Case(train),
    "quantize": Case(quantize),
    "evaluate": Case(
        lambda _folder: ["evaluate", "pinn", "--data", str(DATA)],
        seconds=30, codes=(0, 1, 2, 128 + signal.SIGTERM),
    ),
    "export": Case(export),
    "report": Case(report),
    "sign": Case(sign, says="signed by key"),
    "verify": Case(verify, says="signed by key"),
}  # fmt: skip


def run_case(case: Case, folder: Path) -> Traced:
    require_isolation()
    adapter = faulty.install(folder / "adapter")
    before = ""
    if case.broker:
        program = find_mosquitto()
        if program is None:
            pytest.skip("mosquitto is not installed")
        lines = f"listener {PORT} 127.0.0.1\nallow_anonymous true\nuser root\n"
        (folder / "mosquitto.conf").write_text(lines)
        before = f"{program} -c mosquitto.conf >/dev/null 2>&1 & sleep 0.5"
    arguments = ["-m", "edgeai", *case.prepare(folder)]
    path = {"PYTHONPATH": f"{REPOSITORY}:{adapter}"}
    return run_offline(arguments, folder, before=before, seconds=case.seconds, variables=path)


def test_every_command_has_a_case() -> None:
    assert CASES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", CASES)
def test_no_command_calls_home_or_writes_elsewhere(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    done = run_case(case, tmp_path)
    assert done.code in case.codes, done.output
    assert case.says in done.output
    assert done.asked == []
    assert done.outside(tmp_path) == set()
    assert list((tmp_path / "home").rglob("*")) == [], "nothing in the home folder"
    assert list((tmp_path / "tmp").rglob("*")) == [], "temporary files are removed"
    assert "onnxruntime:" not in done.output


SEEN: dict[str, tuple[str, Callable[[Traced, Path], object]]] = {
    "look-up": (
        "import socket; socket.getaddrinfo('example.com', 80)",
        lambda done, _folder: done.asked,
    ),
    "file elsewhere": (
        "open('../elsewhere', 'w')",
        lambda done, folder: done.outside(folder) == {folder.parent / "elsewhere"},
    ),
    "onnxruntime without edgeai": (
        "import onnxruntime",
        lambda _done, folder: list((folder / "home").rglob("deviceid")),
    ),
}


@pytest.mark.parametrize("name", SEEN)
def test_what_is_forbidden_is_seen(name: str, tmp_path: Path) -> None:
    """The tests above can fail."""
    require_isolation()
    code, is_seen = SEEN[name]
    folder = tmp_path / "run"
    folder.mkdir()
    done = run_offline(["-c", f"try:\n {code}\nexcept OSError: pass"], folder)
    assert is_seen(done, folder), done.output
