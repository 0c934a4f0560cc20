"""The demo on the broker in Python, MQTT 3.1.1 only. system/test_wheel.py runs it on mosquitto."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgeai.demo import broker as brokers
from edgeai.demo import demo
from edgeai.demo.silence import trouble
from edgeai.errors import TransportError
from tests.support.brokers import free_port
from tests.support.live import patient, wait_for


class UntilTheAlarm(demo.Watcher):
    """Ends the demo, as Ctrl-C does, with the alarm on the fault that was injected."""

    def _note(self, levels: list[str], content: dict[str, Any]) -> None:
        super()._note(levels, content)
        faults = self.faults.get(demo.INJECT_ASSET, [])
        if demo.INJECT_FAULT in faults and any(
            (asset, state) == (demo.INJECT_ASSET, "active") for _, asset, state in self.alarms
        ):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_the_demo_runs_without_mosquitto(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("amqtt", reason="needs the extra demo")
    monkeypatch.setattr(brokers, "find_mosquitto", lambda: None)
    monkeypatch.setattr(demo, "Watcher", UntilTheAlarm)
    monkeypatch.setattr(demo, "START_SECONDS", patient(demo.START_SECONDS))
    monkeypatch.setattr(demo, "free_port", lambda _wanted: free_port())  # no other run takes it
    monkeypatch.setattr(demo, "INJECT_AFTER_SECONDS", 3.0)
    text = io.StringIO()
    code = demo.run_demo(patient(60), Console(file=text, width=100))
    assert code == 0, text.getvalue()
    assert "simulated line on amqtt" in text.getvalue()
    assert re.search(r"coolant_blocked in moulding-1: alarm \d", text.getvalue())


def test_without_any_broker_the_demo_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "find_mosquitto", lambda: None)
    monkeypatch.setattr(brokers.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(TransportError, match=r"install mosquitto .* pip install '\.\[demo\]'"):
        demo.run_demo(5, Console(file=io.StringIO()))


@pytest.mark.slow
def test_a_hangup_ends_the_demo_and_leaves_no_process(tmp_path: Path) -> None:
    """The terminal was closed. The parts of the demo have sessions of their own."""
    if brokers.find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeai", "demo"], stdout=output, stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        wait_for(lambda: len(_children(process.pid)) == 3, "the broker, the runtime and the line")
        wait_for(lambda: "status page" in log.read_text(), "the demo to run", 40)
        children = _children(process.pid)
        process.send_signal(signal.SIGHUP)
        assert process.wait(patient(15)) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(patient(10))
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
@pytest.mark.system
def test_the_terminal_tells_who_does_not_answer(tmp_path: Path) -> None:
    if brokers.find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeai", "demo"], stdout=output, stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "300"},
        )  # fmt: skip
    try:
        wait_for(lambda: "moulding-1" in log.read_text(), "predictions", 40)
        assert "does not answer" not in log.read_text()
        by_name = {_command(pid): pid for pid in _children(process.pid)}
        [runtime] = [pid for name, pid in by_name.items() if " run " in name]
        [broker] = [pid for name, pid in by_name.items() if "mosquitto" in name.split()[0]]
        os.kill(runtime, signal.SIGSTOP)
        wait_for(lambda: "No prediction for" in log.read_text(), "the silence to be told", 20)
        os.kill(broker, signal.SIGKILL)
        wait_for(lambda: "The broker does not answer" in log.read_text(), "the broker", 20)
        os.kill(runtime, signal.SIGCONT)
    finally:
        process.terminate()
        process.wait(patient(20))
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("connected", "online", "silent_seconds", "told"),
    [
        (True, True, 0.0, ""),
        (True, True, 12.0, "No prediction for 12 s"),
        (True, False, 0.0, "The runtime"),
        (False, True, 12.0, "The broker"),
    ],
)
def test_what_is_told(connected: bool, online: bool, silent_seconds: float, told: str) -> None:
    text = trouble(connected=connected, online=online, silent_seconds=silent_seconds)
    assert text.startswith(told)
    assert bool(text) == bool(told)


def _command(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


def _children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    try:
        return [int(one) for one in path.read_text().split()]
    except OSError:
        return []
