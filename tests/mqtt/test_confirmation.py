"""Publications at QoS 0 that a lost connection may have taken with it."""

from __future__ import annotations

import contextlib
import logging

import pytest

from edgeai.messages import Publication
from edgeai.mqtt import client_lifecycle
from edgeai.mqtt.confirmation import Confirmation
from tests.support.brokers import RunningBroker
from tests.support.links import Route, open_link
from tests.support.live import peer

pytestmark = pytest.mark.broker


def prediction(number: int) -> Publication:
    return Publication("pred/m", b"%d" % number, 0, False)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_a_dying_connection_takes_with_it_is_counted(
    broker: RunningBroker,
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every prediction arrives or is unconfirmed, and few are unconfirmed."""
    monkeypatch.setattr(client_lifecycle, "KEEP_ALIVE_CHECK_SECONDS", 0.1)
    route = Route(broker.port)
    with (
        contextlib.closing(route),
        peer(broker.port, "pred/#") as other,
        open_link(route.port, protocol=protocol) as link,
    ):
        count = 0
        for _ in range(3):
            for _ in range(200):
                link.link.publish([prediction(count)])
                count += 1
                link.turn(0)
                if count % 200 == 150:
                    one = link.link._publisher._outbox.confirmation
                    link.until(lambda: one._confirmed == one.sent, "an answer")  # noqa: B023
            route.cut()
            for _ in range(5):  # into a socket whose other end is gone
                link.link.publish([prediction(count)])
                count += 1
            link.until_lost()
            link.until_connected()
        link.link.publish([prediction(count)])
        link.until(lambda: b"%d" % count in other.raw("pred/"), "the last one")
        arrived = {int(payload) for payload in other.raw("pred/")}
        lost = set(range(count + 1)) - arrived
        unconfirmed = link.value("publications_unconfirmed_total")
        assert len(lost) <= unconfirmed, (sorted(lost), unconfirmed)
        assert 0 < unconfirmed < 0.5 * count, "most were confirmed"
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "publications at QoS 0 before that are not confirmed" in "".join(told)


def test_a_clean_end_leaves_nothing_unconfirmed(broker: RunningBroker) -> None:
    with peer(broker.port, "pred/#") as other, open_link(broker.port) as link:
        for number in range(50):
            link.link.publish([prediction(number)])
        link.until(lambda: len(other.heard) == 50, "all")
        metrics = link.metrics
    assert metrics.registry.get_sample_value("edgeai_publications_unconfirmed_total") == 0


def test_answers_confirm_what_was_sent_before_the_question() -> None:
    one = Confirmation(30)
    assert not one.mark(0.0), "nothing was sent"
    one.sent = 10
    assert one.mark(1.0)
    assert not one.mark(2.0), "nothing was sent since"
    one.sent = 15
    assert one.mark(3.0)
    one.sent = 18
    one.on_answer()
    assert one.restart() == 8
    assert one.restart() == 0
    one.on_answer()
    one.sent = 5
    assert one.restart() == 5


def test_what_is_older_than_two_keep_alives_was_answered() -> None:
    one = Confirmation(10)
    one.sent = 10
    one.mark(0.0)
    one.sent = 12
    one.mark(15.0)
    one.mark(21.0)
    assert one.restart() == 2
