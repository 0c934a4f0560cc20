"""The demo on the broker in Python, MQTT 3.1.1 only. system/test_wheel.py runs it on mosquitto."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from edgeai.demo import broker as brokers
from edgeai.demo import demo
from edgeai.errors import TransportError


@pytest.mark.slow
def test_the_demo_runs_without_mosquitto(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("amqtt", reason="needs the extra demo")
    monkeypatch.setattr(brokers, "find_mosquitto", lambda: None)
    text = io.StringIO()
    code = demo.run_demo(18, Console(file=text, width=100))
    assert code == 0, text.getvalue()
    assert "simulated line on amqtt" in text.getvalue()
    assert re.search(r"coolant_blocked in moulding-1: alarm \d", text.getvalue())


def test_without_any_broker_the_demo_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "find_mosquitto", lambda: None)
    monkeypatch.setattr(brokers.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(TransportError, match=r"install mosquitto .* pip install 'edgeai\[demo\]'"):
        demo.run_demo(5, Console(file=io.StringIO()))
