"""When the next attempt to connect is due."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from typing import Any

import pytest

from edgeai.config.broker import Broker
from edgeai.mqtt import reconnect
from edgeai.mqtt.broker_limits import TERMS_TO_TRY, Terms
from edgeai.mqtt.reconnect import BRIEF_CONNECTIONS, STEADY_SECONDS, ReconnectSchedule
from tests.support.brokers import RunningBroker
from tests.support.links import open_link
from tests.support.live import wait_for


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


class Schedule:
    """A schedule on a clock of its own, and the waits that it chose."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, has_will: bool = False) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        broker = Broker(host="127.0.0.1", reconnect_min_seconds=0.5, reconnect_max_seconds=30)
        self.one = ReconnectSchedule(broker, "edgeai-line", has_will=has_will)

    def connection(self, seconds: float, **lost: Any) -> float:
        """Connect, lose the connection after so long, and return the wait."""
        self.now = max(self.now, self.one.next_attempt)
        self.one.on_connected()
        self.now += seconds
        self.one.on_lost("connection lost: Unspecified error", **lost)
        return self.one.next_attempt - self.now


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_is_thrown_out_again_and_again_backs_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Being accepted is no success: the waits double, and it is told twice, not each time."""
    schedule = Schedule(monkeypatch)
    waits = [schedule.connection(0.1) for _ in range(12)]
    for wait, expected in zip(waits, [0.5, 1, 2, 4, 8, 16, *[30] * 6], strict=True):
        assert 0.8 * expected <= wait <= 1.2 * expected
    first, second = logged(caplog)
    assert "connection lost: Unspecified error; trying again" in first
    assert "does another client use the client id edgeai-line" in second


@pytest.mark.parametrize("seconds", [STEADY_SECONDS, 60.0])
def test_a_steady_connection_ends_the_back_off(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    schedule = Schedule(monkeypatch)
    for _ in range(BRIEF_CONNECTIONS - 1):
        schedule.connection(0.1)
    assert schedule.connection(seconds) <= 0.6
    assert schedule.connection(seconds) <= 0.6


def test_a_rival_is_told_once_and_gets_the_longest_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if each lasts as long as the other one waits, which would be steady otherwise."""
    schedule = Schedule(monkeypatch)
    waits = [schedule.connection(seconds, taken_over=True) for seconds in [3600, *[28] * 10]]
    assert all(24 <= wait <= 36 for wait in waits), waits
    (line,) = logged(caplog)
    assert "another client has connected with the client id edgeai-line: give each" in line
    assert schedule.connection(80.0) < 1, "the rival is gone"
    assert len(logged(caplog)) == 2


def test_terms_are_tried_in_their_order_and_then_the_wait_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schedule = Schedule(monkeypatch, has_will=True)
    tried = []
    for _ in range(2):
        while True:
            tried.append((int(schedule.one.version), schedule.one.terms))
            schedule.one.on_failed("closed", may_be_version=True, may_be_will=True)
            if schedule.one.next_attempt:
                break
        assert schedule.one.next_attempt > schedule.now
        schedule.one.next_attempt = 0.0
    once = [(5, Terms()), *[(4, terms) for terms in TERMS_TO_TRY]]
    assert tried == once * 2


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_two_nodes_with_one_name_at_a_real_broker(
    broker: RunningBroker,
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """mosquitto 2.0 closes the connection without a reason: it is guessed after three of them."""
    monkeypatch.setattr(reconnect, "STEADY_SECONDS", 0.4)
    options: dict[str, Any] = {
        "protocol": protocol, "reconnect_min_seconds": 0.02, "reconnect_max_seconds": 1.0,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        links = [
            stack.enter_context(open_link(broker.port, connect=False, **options)) for _ in range(2)
        ]

        def fault_is_told() -> bool:
            for link in links:
                link.turn(0.01)
            return all(
                any("client id " + name in line for line in logged(caplog))
                for name in ("edgeai-test", "edgeai-test-out")
            )

        wait_for(fault_is_told, "both connections to tell it")
        connects = sum(link.value("broker_connects_total") for link in links)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            for link in links:
                link.turn(0.01)
        more = sum(link.value("broker_connects_total") for link in links) - connects
        assert more <= 12, "no storm: four clients, each about once a second"
    told = [line for line in logged(caplog) if "$SYS" not in line]
    assert len(told) <= 8, "each of the four clients: the loss, and the guess"
