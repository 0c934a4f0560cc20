"""SIGTERM and SIGINT that come while a command starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.live import patient
from tests.support.packages import write_config, write_package
from tests.support.paths import REPOSITORY

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
HELD_IMPORT = """
import sys

class Hold:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            sys.meta_path.remove(self)
            print("importing", flush=True)
            sys.stdin.readline()

sys.meta_path.insert(0, Hold())
"""
"""A sitecustomize: the process waits in an import, as on a slow disk, until a line is written."""

NOTED = "edgeai: {} during the start: stops; a second Ctrl-C ends at once\n"

Starting = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(name="start")
def make_start(tmp_path: Path) -> Iterator[Starting]:
    (tmp_path / "hold").mkdir()
    (tmp_path / "hold" / "sitecustomize.py").write_text(HELD_IMPORT)

    def start(*arguments: object, hold: bool = False) -> subprocess.Popen[str]:
        path = [str(tmp_path / "hold")] * hold + [str(REPOSITORY)]
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeai", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    started: list[subprocess.Popen[str]] = []
    yield start
    for process in started:
        process.kill()
        process.communicate()


def config_of(tmp_path: Path, **more: Any) -> Path:
    write_package(tmp_path / "mean")
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    return write_config(
        tmp_path / "config.yaml", 1, pipelines, **more
    )  # no broker answers at port 1


def end_of(process: subprocess.Popen[str], answer: str = "") -> tuple[int, str]:
    """Return exit code and the rest of stderr, also what `readline` has read ahead."""
    assert process.stdin is not None
    assert process.stderr is not None
    if answer:
        process.stdin.write(answer)
        process.stdin.flush()
    code = process.wait(patient(30))
    err = process.stderr.read()
    assert "Traceback" not in err, err
    return code, err


@pytest.mark.parametrize(("command", "number"), [("run", signal.SIGTERM), ("plant", signal.SIGINT)])
def test_a_signal_during_an_import_stops_a_serving_command(
    tmp_path: Path, start: Starting, number: signal.Signals, command: str
) -> None:
    arguments = [config_of(tmp_path)] if command == "run" else ["--port", "1"]
    process = start(command, *arguments, hold=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    code, err = end_of(process, "go on\n")
    assert code == 0, err
    if command == "run":
        assert f"{number.name}: stopped before it served" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_an_import_ends_another_command(
    tmp_path: Path, start: Starting, number: signal.Signals
) -> None:
    process = start("check", config_of(tmp_path), hold=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    assert end_of(process, "go on\n") == (128 + number, NOTED.format(number.name))


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, start: Starting) -> None:
    process = start("run", config_of(tmp_path), hold=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    assert process.stderr is not None
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline() == NOTED.format("SIGTERM")
    process.send_signal(signal.SIGINT)
    assert process.wait(patient(10)) == 130
    assert end_of(process)[1] == ""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_while_the_start_is_under_way(
    tmp_path: Path, start: Starting, workers: int
) -> None:
    """The device profile is a named pipe, so the command waits while it reads."""
    device = tmp_path / "device.yaml"
    os.mkfifo(device)
    process = start("run", config_of(tmp_path, workers=workers, device=device.name))
    with device.open("w"):  # waits for the reader; with workers it is a child
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.readline() == NOTED.format("SIGTERM")
        # It does not wait for what the pipe has to say.
        code, err = end_of(process)
    assert code == 0, err
    assert err.splitlines()[-1].endswith("SIGTERM: stopped before it served")
