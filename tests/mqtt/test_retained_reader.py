"""Own retained topics are read once after the start, whatever the broker thinks of it."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from edgeai.messages import Publication
from edgeai.mqtt import retained_reader
from edgeai.mqtt.retained_reader import RetainedReader
from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.links import STATUS, Route, open_link
from tests.support.live import peer

pytestmark = pytest.mark.broker

FILTER = "edgeai/test/alarms/+/#"
TOPIC = "edgeai/test/alarms/p/m"


class Read(RetainedReader):
    """Reads the alarms of a node, and notes them."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        super().__init__([FILTER], self.found.__setitem__)


def retain(port: int, count: int = 3) -> None:
    with peer(port) as other:
        for number in range(count):
            other.client.publish(f"{TOPIC}{number}", b"%d" % number, 1, retain=True)
        other.publish("edgeai/test/alarms/last", b"x", 1, retain=True)


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_is_retained_is_read_and_nothing_else(
    broker: RunningBroker, fast_path: bool, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained_reader, "QUIET_SECONDS", 0.2)
    count = 6000  # more than one turn takes
    retain(broker.port, count)
    read = Read()
    with open_link(
        broker.port, retained=read, fast_path=fast_path, protocol=protocol, status=STATUS
    ) as link:
        link.link.publish([Publication(f"{TOPIC}0", b"of now", 1, True)])
        link.until(lambda: read.is_done, "the end")
        assert read.found == {
            **{f"{TOPIC}{number}": b"%d" % number for number in range(count)},
            "edgeai/test/alarms/last": b"x",
        }
        assert link.messages == [], "they are no input"
        assert link.value("received_bytes_total") == 0
        assert link.link.fault is None
        read.is_reading = True  # messages would be seen now
        read.found.clear()
        time.sleep(0.1)
        retain(broker.port, 1)
        for _ in range(10):
            link.turn()
        assert read.found == {}, "unsubscribed"


def test_it_is_read_once(broker: RunningBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retained_reader, "QUIET_SECONDS", 0.0)
    read = Read()
    with (
        contextlib.closing(Route(broker.port)) as route,
        open_link(route.port, retained=read, status=STATUS) as link,
    ):
        link.until(lambda: read.is_done, "the end")
        retain(broker.port)
        route.cut()
        link.until_lost()
        link.until_connected()
        link.turn(0.1)
        assert read.found == {}


def test_a_refused_subscription_is_told_once_and_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plugins = list(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    if not plugins:
        pytest.skip("mosquitto's dynamic security plugin is not installed")
    rules = tmp_path / "dynsec.json"
    allowed = [{"acltype": "subscribePattern", "topic": one, "allow": True}
               for one in ("in/#", "$SYS/#")]  # fmt: skip
    access = {"publishClientSend": True, "publishClientReceive": True, "unsubscribe": True}
    content: dict[str, Any] = {
        "defaultACLAccess": {**access, "subscribe": False},
        "clients": [],
        "groups": [{"groupname": "all", "roles": [{"rolename": "r"}], "clients": []}],
        "roles": [{"rolename": "r", "acls": allowed}],
        "anonymousGroup": "all",
    }
    rules.write_text(json.dumps(content))
    lines = (f"plugin {plugins[0]}", f"plugin_opt_config_file {rules}")
    caplog.set_level(logging.INFO, "edgeai")
    with start_mosquitto(tmp_path / "broker", *lines) as broker:
        read = Read()
        with open_link(broker.port, retained=read) as link:
            link.until(lambda: read.is_done, "the end")
            assert link.link.fault is None
    (line,) = [one for one in caplog.records if FILTER in one.getMessage()]
    assert line.levelno == logging.INFO
    assert "stay as they are" in line.getMessage()


def test_a_broker_that_punishes_the_subscription_is_left_alone(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgeai")
    read = Read()
    with (
        contextlib.closing(Route(broker.port, forbidden=FILTER.encode())) as route,
        open_link(route.port, connect=False, retained=read, status=STATUS) as link,
    ):
        link.until(lambda: route.punished and link.link.connected, "the connection")
        link.turn(0.3)
        assert link.link.connected
        assert route.punished == 1
    assert sum("now left out" in one.getMessage() for one in caplog.records) == 1


def test_a_broker_without_retained_messages_is_not_asked(tmp_path: Path) -> None:
    with start_mosquitto(tmp_path / "broker", "retain_available false") as broker:
        read = Read()
        with open_link(broker.port, retained=read, status=STATUS):
            assert read.is_done
            assert not read._unanswered


def test_too_much_ends_the_reading(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retained_reader, "MAX_MESSAGES", 2)
    retain(broker.port)
    read = Read()
    with open_link(broker.port, retained=read) as link:
        link.until(lambda: read.is_done, "the end")
    assert f"retains more on {FILTER} than is read" in caplog.text


def test_a_message_that_cannot_be_used_costs_only_itself(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained_reader, "QUIET_SECONDS", 0.0)
    retain(broker.port)
    seen: list[str] = []

    def receive(topic: str, _payload: bytes) -> None:
        seen.append(topic)
        raise ValueError(topic)

    read = RetainedReader([FILTER], receive)
    with open_link(broker.port, retained=read) as link:
        link.until(lambda: read.is_done, "the end")
        assert link.link.fault is None
    assert len(seen) == 4
