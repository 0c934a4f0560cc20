"""A broker whose ACL refuses what we publish: told once, not ready, and delivered later."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest

from edgeai.messages import Publication
from edgeai.mqtt import publish_rights
from edgeai.mqtt.publish_rights import MAX_ASKED, MAX_REFUSED, RETRY_SECONDS, PublishRights
from tests.support.brokers import start_mosquitto
from tests.support.links import open_link
from tests.support.live import peer, wait_for

pytestmark = pytest.mark.broker

OPEN = "topic readwrite #\n"
QUEUE = "max_queued_messages 1000"  # with 0, mosquitto 2.0 closes a connection that it refuses
CLOSED = "topic read #\ntopic write in/#\ntopic write ok/#\n"


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("fast_path", [True, False])
def test_refused_publications_are_seen_told_once_and_sent_later(
    tmp_path: Path,
    fast_path: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(publish_rights, "RETRY_SECONDS", 0.5)
    acl = tmp_path / "acl"
    acl.write_text(CLOSED)
    with (
        start_mosquitto(tmp_path / "broker", f"acl_file {acl}", QUEUE) as broker,
        peer(broker.port, "#") as other,
        open_link(broker.port, fast_path=fast_path) as link,
    ):
        link.link.publish([Publication("ok/p/m", b"x", 0, False)])
        link.turn()
        assert link.link.fault is None
        predictions = [Publication(f"pred/p/m{n % 5}", b"x", 0, False) for n in range(100)]
        alarms = [Publication("alarms/p/m", b"%d" % n, 1, True) for n in range(20)]
        for one in [*predictions, *alarms]:
            link.link.publish([one])
            link.turn(0)
        link.until(lambda: not link.link.waiting_to_send, "the answers")
        fault = "the broker refuses publications to pred/p/m0: Not authorized"
        assert link.link.fault == fault
        told = errors(caplog)
        assert len(told) == 2, "one line for each kind of topic, and not one for each message"
        assert told[0].startswith(fault)
        assert "alarms/p/m: Not authorized" in told[1]
        dropped = link.value("publications_dropped_total")
        doubtful = link.value("publications_unconfirmed_total")
        assert dropped + doubtful == 120, "each, also those before the answer"
        assert dropped >= 40
        acl.write_text(OPEN)
        broker.process.send_signal(signal.SIGHUP)
        link.until(lambda: other.raw("alarms/") == [b"19"], "the last alarm")
        for n in range(5):
            link.link.publish([Publication(f"pred/p/m{n}", b"again", 0, False)])
        link.until(lambda: link.link.fault is None, "all to be accepted")
        assert len(other.raw("pred/")) == 5
        with peer(broker.port, "alarms/#") as late:
            wait_for(lambda: late.raw("alarms/") == [b"19"], "the retained alarm")


def test_at_311_nothing_can_be_seen(tmp_path: Path) -> None:
    """The broker acknowledges what it throws away."""
    acl = tmp_path / "acl"
    acl.write_text(CLOSED)
    with (
        start_mosquitto(tmp_path / "broker", f"acl_file {acl}", QUEUE) as broker,
        open_link(broker.port, protocol="3.1.1") as link,
    ):
        link.link.publish([Publication("alarms/p/m", b"x", 1, True)])
        link.until(lambda: not link.link.waiting_to_send, "the answer")
        assert link.link.fault is None


def test_quality_of_service_0_stays_so_after_the_first(tmp_path: Path) -> None:
    with (
        start_mosquitto(tmp_path / "broker") as broker,
        peer(broker.port, "pred/#") as other,
        open_link(broker.port) as link,
    ):
        for n in range(10):
            link.link.publish([Publication(f"pred/p/m{n % 2}", b"%d" % n, 0, False)])
            link.until(lambda: len(other.heard) > n, "the prediction")  # noqa: B023
        assert [message.qos for message in other.heard] == [1] + [0] * 9
        assert other.raw("pred/") == [b"%d" % n for n in range(10)]


def refused(topic: str, *, retain: bool = False) -> Publication:
    return Publication(topic, b"x", 1, retain)


def test_what_is_remembered_is_bounded() -> None:
    rights = PublishRights()
    rights.restart(answers_with_reason=True)
    for n in range(3 * MAX_REFUSED):
        lost = rights.on_answer(refused(f"a/{n}", retain=True), "no")
        assert lost == (1, 0), "each is counted"
    assert len(rights._refused) == len(rights._kept) == MAX_REFUSED
    rights.restart(answers_with_reason=True)
    assert sum(rights.wants_answer(f"b/{n}") for n in range(10_000)) == 1
    assert sum(rights.wants_answer(f"d{n}/x") for n in range(10_000)) == MAX_ASKED - 1
    for n in range(10_000):
        assert not rights.is_lost(f"b/{n}")
    assert len(rights._unknown["b"]) <= MAX_REFUSED


def test_what_is_sent_before_the_answer_is_lost_or_in_doubt() -> None:
    rights = PublishRights()
    rights.restart(answers_with_reason=True)
    assert rights.wants_answer("a/1")
    for topic in ("a/1", "a/1", "a/2", "a/3", "b/1"):
        assert not rights.is_lost(topic)
    assert not rights.is_settled
    assert rights.on_answer(refused("a/1"), "no") == (3, 2)
    assert rights.is_lost("a/1")
    assert rights.wants_answer("a/2"), "now each topic is asked about"
    assert not rights.is_lost("a/2")
    assert rights.on_answer(refused("a/2"), None) == (0, 0)
    assert rights.on_answer(refused("a/1"), None) == (0, 0)
    assert rights.is_settled


def test_a_refusal_ends_for_each_topic_alone(caplog: pytest.LogCaptureFixture) -> None:
    rights = PublishRights()
    rights.restart(answers_with_reason=True)
    for topic in ("a/1", "a/2", "b/1"):
        rights.on_answer(refused(topic), "no")
    assert len(errors(caplog)) == 2
    rights.on_answer(refused("a/1"), None)
    assert rights.is_refused("a/2")
    assert not rights.is_refused("a/1")
    for topic in ("a/2", "b/1"):
        rights.on_answer(refused(topic), None)
    assert rights.fault is None


def test_a_retained_publication_is_counted_once_however_often_it_is_refused() -> None:
    rights = PublishRights()
    rights.restart(answers_with_reason=True)
    one = refused("a/1", retain=True)
    assert rights.on_answer(one, "no") == (1, 0)
    assert rights.take_retry(100.0) == [], "just refused"
    assert rights.take_retry(100.0 + RETRY_SECONDS - 1) == []
    assert rights.take_retry(100.0 + RETRY_SECONDS) == [one]
    assert rights.on_answer(one, "no") == (0, 0)
    assert rights.on_answer(refused("a/1", retain=True), "no") == (1, 0), "another one"
    rights.restart(answers_with_reason=False)
    assert rights.fault is None
