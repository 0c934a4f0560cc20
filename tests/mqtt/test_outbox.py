"""What waits to be sent, what waits for an acknowledgement, and what is sent again."""

from __future__ import annotations

import time

import pytest

from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import outbox as module
from edgeai.mqtt import publish_rights
from edgeai.mqtt.broker_limits import BrokerLimits
from edgeai.mqtt.outbox import Outbox


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(Metrics(), 30)


def publications(count: int, qos: int) -> list[Publication]:
    return [Publication("out", b"%d" % number, qos, False) for number in range(count)]


def payloads(batch: list[Publication]) -> list[bytes]:
    return [publication.payload for publication in batch]


def test_what_was_sent_at_qos_0_is_not_sent_again(outbox: Outbox) -> None:
    outbox.add(publications(3, 0))
    batch = outbox.next_batch()
    outbox.mark_sent(batch, [0, 0, 0])
    outbox.requeue_unacknowledged()
    assert len(outbox) == 0
    assert outbox.next_batch() == []


def test_what_was_sent_at_qos_1_is_sent_again_once(outbox: Outbox) -> None:
    outbox.add(publications(3, 1))
    outbox.mark_sent(outbox.next_batch(), [1, 2, 3])
    outbox.acknowledge(2, None)
    outbox.requeue_unacknowledged()
    assert len(outbox) == 2
    assert payloads(outbox.next_batch()) == [b"0", b"2"]


def test_what_was_taken_and_not_sent_is_sent_again(outbox: Outbox) -> None:
    outbox.add(publications(3, 0))
    assert len(outbox.next_batch()) == 3
    outbox.requeue_unacknowledged()
    assert payloads(outbox.next_batch()) == [b"0", b"1", b"2"]


@pytest.fixture
def asking(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """An outbox that has just sent a publication at QoS 1 to see whether it is refused."""
    monkeypatch.setattr(publish_rights, "NEW_SECONDS", 0.0)
    outbox.set_broker_limits(BrokerLimits(answers_with_reason=True))
    outbox.add(publications(1, 0))
    batch = outbox.next_batch()
    assert [one.qos for one in batch] == [1]
    outbox.mark_sent(batch, [7])
    return outbox


def test_what_follows_waits_for_the_answer_and_nothing_else_does(asking: Outbox) -> None:
    other = Publication("other", b"x", 1, False)
    asking.add([*publications(3, 0), other, *publications(2, 0)])
    assert asking.next_batch() == [other]
    asking.mark_sent([other], [8])
    assert len(asking) == 7, "a node that waits to send does not read"
    assert not asking.can_bypass
    asking.acknowledge(7, None)
    batch = asking.next_batch()
    assert payloads(batch) == [b"0", b"1", b"2", b"0", b"1"]
    assert {one.qos for one in batch} == {0}


def test_a_broker_that_does_not_answer_holds_back_nothing_for_long(
    asking: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.add(publications(3, 0))
    assert asking.next_batch() == []
    monkeypatch.setattr(publish_rights, "ANSWER_SECONDS", 0.0)
    asking.tick(time.monotonic())
    asking.add(publications(1, 0))
    assert payloads(asking.next_batch()) == [b"0", b"1", b"2", b"0"]


@pytest.mark.parametrize("bound", ["MAX_HELD", "MAX_HELD_BYTES"])
def test_what_waits_for_an_answer_is_bounded(
    asking: Outbox, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, bound, 4)
    asking.add(publications(4, 0))
    assert asking.next_batch() == []
    asking.add(publications(6, 0))
    assert payloads(asking.next_batch()) == [b"%d" % n for n in (0, 1, 2, 3, 0, 1, 2, 3, 4, 5)]
    assert asking._held_count == asking._held_bytes == 0


def test_a_lost_connection_keeps_the_order(asking: Outbox) -> None:
    asking.add(publications(3, 0)[1:])
    assert asking.next_batch() == []
    asking.requeue_unacknowledged()
    asking.set_broker_limits(BrokerLimits())
    batch = asking.next_batch()
    assert payloads(batch) == [b"0", b"1", b"2"]
    assert {one.qos for one in batch} == {0}


def test_what_waited_for_a_refusal_is_counted(asking: Outbox) -> None:
    asking.add(publications(3, 0))
    asking.next_batch()
    asking.acknowledge(7, "Not authorized")
    asking.mark_sent(asking.next_batch(), [0, 0, 0])
    assert asking._metrics.unpublished._value.get() == 4
