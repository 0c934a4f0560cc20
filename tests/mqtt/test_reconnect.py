"""When the next attempt to connect is due."""

from __future__ import annotations

import random
import time

import pytest

from edgeai.config.broker import Broker
from edgeai.mqtt.reconnect import ReconnectSchedule


def test_clients_that_lost_the_broker_together_return_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every wait is drawn from within a fifth of its length: a plant must not return at once."""
    random.seed(5)
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    broker = Broker(host="127.0.0.1", reconnect_min_seconds=10.0, reconnect_max_seconds=60.0)
    waits = []
    for number in range(200):
        attempts = ReconnectSchedule(broker, f"client-{number}")
        attempts.on_lost("the broker is away")
        waits.append(attempts.next_attempt - 1000.0)
    assert min(waits) >= 8.0
    assert max(waits) <= 12.0
    # 200 draws from an even distribution leave a tenth of its range free at an end with a
    # probability below 1e-9.
    assert min(waits) < 8.4
    assert max(waits) > 11.6
    assert len({round(wait, 3) for wait in waits}) > 150


def test_an_outage_does_not_bring_clients_back_into_step(monkeypatch: pytest.MonkeyPatch) -> None:
    random.seed(5)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    broker = Broker(host="127.0.0.1", reconnect_min_seconds=1.0, reconnect_max_seconds=8.0)
    attempts = ReconnectSchedule(broker, "client")
    waits = []
    for _ in range(40):
        attempts.on_lost("the broker is away")
        waits.append(attempts.next_attempt - now)
        now = attempts.next_attempt
    longest = waits[3:]
    assert all(0.8 * 8 <= wait <= 1.2 * 8 for wait in longest)
    assert max(longest) - min(longest) > 1.6
