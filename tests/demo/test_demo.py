"""The demo on the broker in Python, MQTT 3.1.1 only. system/test_wheel.py runs it on mosquitto."""

from __future__ import annotations

import io
import re
import signal
from typing import Any

import pytest
from rich.console import Console

from edgeai.demo import broker as brokers
from edgeai.demo import demo
from edgeai.errors import TransportError
from tests.support.brokers import free_port
from tests.support.live import patient


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
    with pytest.raises(TransportError, match=r"install mosquitto .* pip install 'edgeai\[demo\]'"):
        demo.run_demo(5, Console(file=io.StringIO()))
