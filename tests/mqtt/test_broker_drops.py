"""What the broker says it has dropped becomes a counter that never counts what was before."""

from __future__ import annotations

import threading
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgeai.config.limits import Limits
from edgeai.messages import RETAINED
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.inbox import DROPS_TOPIC, Inbox
from tests.support.brokers import start_mosquitto
from tests.support.links import open_link
from tests.support.live import PATIENCE_SECONDS, peer

KEPT = RETAINED


@pytest.mark.parametrize(
    ("heard", "counted"),
    [
        pytest.param([(b"1000", KEPT)], 0, id="drops of before the first connection"),
        pytest.param([(b"7", 0)], 7, id="the first drops of a broker"),
        pytest.param([(b"1000", KEPT), (b"1003", 0), (b"1010", 0)], 10, id="more drops"),
        pytest.param([(b"1000", KEPT), (b"1005", KEPT)], 5, id="drops while edgeai was away"),
        pytest.param([(b"1000", KEPT), (b"1000", KEPT)], 0, id="connected again"),
        pytest.param([(b"1000", KEPT), (b"4", 0)], 4, id="the broker was restarted"),
        pytest.param([(b"1000", KEPT), (b"many", 0), (b"1001", 0)], 1, id="no number"),
        pytest.param([(b"9" * 30, KEPT)], 0, id="a number without end"),
    ],
)
def test_only_drops_since_the_first_connection_count(
    heard: list[tuple[bytes, int]], counted: int
) -> None:
    metrics = Metrics()
    inbox = Inbox(Limits(), metrics)
    for payload, flags in heard:
        inbox.add(DROPS_TOPIC, payload, flags=flags, packet_id=0)
    total = metrics.registry.get_sample_value("edgeai_broker_dropped_messages_total")
    assert total == counted
    assert inbox.messages == []


LOSSY = ("sys_interval 1", "max_queued_messages 5")


def leave_a_session(port: int) -> None:
    """Subscribe with a persistent session, and go away: the broker queues, then drops."""
    away = paho.Client(CallbackAPIVersion.VERSION2, "away", clean_session=False)
    subscribed = threading.Event()
    away.on_subscribe = lambda *_: subscribed.set()
    away.connect("127.0.0.1", port)
    away.loop_start()
    away.subscribe("x", 1)
    assert subscribed.wait(PATIENCE_SECONDS)
    away.disconnect()
    away.loop_stop()
    away._reset_sockets()  # paho leaves its pair of sockets to the garbage collector


@pytest.mark.broker
def test_a_real_broker_tells_what_it_drops(tmp_path: Path) -> None:
    dropped = "broker_dropped_messages_total"
    with start_mosquitto(tmp_path / "broker", *LOSSY) as broker, peer(broker.port) as sender:
        leave_a_session(broker.port)
        with open_link(broker.port) as link:
            assert link.value(dropped) == 0
            for number in range(30):
                sender.publish("x", str(number), 1)
            link.until(lambda: link.value(dropped) == 25, "the broker's count")
        with open_link(broker.port) as restarted:
            inbox = restarted.link._subscriber.inbox
            restarted.until(lambda: inbox._broker_drops == 25, "the retained count")
            assert restarted.value(dropped) == 0
            for number in range(3):
                sender.publish("x", str(number), 1)
            restarted.until(lambda: restarted.value(dropped) == 3, "the drops since then only")
