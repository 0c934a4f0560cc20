"""What waits to be sent, what waits for an acknowledgement, and what is sent again."""

from __future__ import annotations

import pytest

from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
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
