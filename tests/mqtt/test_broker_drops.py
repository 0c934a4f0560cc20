"""What the broker says it has dropped becomes a counter that never counts what was before."""

from __future__ import annotations

import pytest

from edgeai.config.limits import Limits
from edgeai.messages import RETAINED
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.inbox import DROPS_TOPIC, Inbox

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
