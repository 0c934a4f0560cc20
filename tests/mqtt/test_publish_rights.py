"""A broker whose ACL refuses what we publish: told once, not ready, and delivered later."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from edgeai.messages import Publication
from edgeai.mqtt import publish_rights
from edgeai.mqtt.publish_rights import (
    MAX_ASKED,
    MAX_KEPT,
    MAX_REFUSED,
    MAX_WAIT_SECONDS,
    NEW_SECONDS,
    QUIET_COUNT,
    QUIET_SECONDS,
    RETRY_SECONDS,
    PublishRights,
)
from tests.support.brokers import start_mosquitto
from tests.support.links import open_link
from tests.support.live import PATIENCE_SECONDS, Peer, patient, peer, wait_for

pytestmark = pytest.mark.broker

OPEN = "topic readwrite #\n"
QUEUE = "max_queued_messages 1000"  # with 0, mosquitto 2.0 closes a connection that it refuses
CLOSED = "topic read #\ntopic write in/#\ntopic write ok/#\n"


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
def asks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask about each topic with its first publication, and try again soon."""
    monkeypatch.setattr(publish_rights, "NEW_SECONDS", 0.0)
    monkeypatch.setattr(publish_rights, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(publish_rights, "RETRY_SECONDS", 0.5)


@pytest.mark.usefixtures("asks_at_once")
@pytest.mark.parametrize("fast_path", [True, False])
def test_refused_publications_are_seen_told_once_and_sent_later(
    tmp_path: Path, fast_path: bool, caplog: pytest.LogCaptureFixture
) -> None:
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
        fault = link.link.fault
        assert fault is not None
        assert fault.startswith("the broker refuses publications to pred/p/m0: Not authorized (and")
        assert link.value("publications_dropped_total") == 120, "each, also before the answer"
        assert link.value("publications_unconfirmed_total") == 0
        told = errors(caplog)
        assert len(told) <= 3, "one line for each kind of topic, and one for the other topics"
        assert told[0].startswith("the broker refuses publications to pred/p/m0: Not authorized")
        link.until(lambda: "also refuses publications to" in caplog.text, "the other topics")
        for topic in ("pred/p/m1", "pred/p/m4", "alarms/p/m"):
            assert sum(topic in one for one in errors(caplog)) == 1
        acl.write_text(OPEN)
        broker.process.send_signal(signal.SIGHUP)
        link.until(lambda: other.raw("alarms/") == [b"19"], "the last alarm")

        def is_accepted() -> bool:
            for n in range(5):
                link.link.publish([Publication(f"pred/p/m{n}", b"again", 0, False)])
            return link.link.fault is None

        link.until(is_accepted, "all to be accepted")
        assert len(other.raw("pred/")) >= 5
        with peer(broker.port, "alarms/#") as late:
            wait_for(lambda: late.raw("alarms/") == [b"19"], "the retained alarm")


@pytest.mark.parametrize("fast_path", [True, False])
def test_what_one_asset_loses_is_counted_and_named(
    tmp_path: Path,
    fast_path: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The other assets of the pipeline are accepted, and so is the alarm of this one."""
    monkeypatch.setattr(publish_rights, "NEW_SECONDS", 0.2)
    acl = tmp_path / "acl"
    acl.write_text("".join(f"topic readwrite {one}\n" for one in ("alarms/#", "pred/p/m0", "in/#")))
    with (
        start_mosquitto(tmp_path / "broker", f"acl_file {acl}", QUEUE) as broker,
        open_link(broker.port, fast_path=fast_path) as link,
    ):
        link.link.publish([Publication("alarms/p/q", b"normal", 1, True)])
        sent = 0

        def is_told() -> bool:
            nonlocal sent
            sent += 1
            link.link.publish([Publication(f"pred/p/{one}", b"x", 0, False) for one in ("m0", "q")])
            return link.link.fault is not None

        link.until(is_told, "the refusal")
        assert sent > 5, "those before the question are counted too"
        for _ in range(60):
            is_told()
            link.turn(0)
        link.until(lambda: not link.link.waiting_to_send, "the answers")
        assert link.link.fault == "the broker refuses publications to pred/p/q: Not authorized"
        assert link.value("publications_dropped_total") == sent
        assert len(errors(caplog)) == 1


def late_subscriber(port: int, seconds: float) -> Peer:
    """A subscriber at QoS 1 that takes its time for each message."""
    other = Peer(port)
    keep = other.heard.append

    def slowly(_client: object, _data: object, message: Any) -> None:
        time.sleep(seconds)
        keep(message)

    other.client.on_message = slowly
    other.client.subscribe("#", 1)
    assert other._ready.wait(PATIENCE_SECONDS)
    return other


@pytest.mark.parametrize("is_careful", [True, False])
def test_predictions_of_an_asset_arrive_in_order(
    tmp_path: Path, is_careful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mosquitto lets QoS 0 overtake QoS 1 while a subscriber has 20 messages in flight."""
    if is_careful:
        monkeypatch.setattr(publish_rights, "NEW_SECONDS", patient(1.5))
    else:
        monkeypatch.setattr(publish_rights, "NEW_SECONDS", 0.0)
        monkeypatch.setattr(publish_rights, "QUIET_SECONDS", 0.0)
    with start_mosquitto(tmp_path / "broker", QUEUE) as broker, open_link(broker.port) as link:
        other = late_subscriber(broker.port, 0.02)
        alarms = [Publication(f"alarms/p/m{n}", b"normal", 1, True) for n in range(45)]
        link.link.publish(alarms)
        sent = 0

        def is_asked() -> bool:
            nonlocal sent
            for asset in "mnm":
                link.link.publish([Publication(f"pred/p/{asset}", b"%d" % sent, 0, False)])
                sent += 1
            asked = [one for one in list(other.heard) if one.qos and one.topic.startswith("pred/")]
            return len(asked) == 2

        link.until(is_asked, "one publication of each asset at QoS 1")
        count = sent
        wait_for(lambda: len(other.raw("pred/")) == count, "all predictions")
        orders = [[int(one) for one in other.raw(f"pred/p/{asset}")] for asset in "mn"]
        assert all(one == sorted(one) for one in orders) == is_careful
        other.close()


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


@pytest.mark.usefixtures("asks_at_once")
def test_quality_of_service_0_stays_so_after_the_first(tmp_path: Path) -> None:
    with (
        start_mosquitto(tmp_path / "broker") as broker,
        peer(broker.port, "pred/#") as other,
        open_link(broker.port) as link,
    ):
        for n in range(10):
            link.link.publish([Publication(f"pred/p/m{n % 2}", b"%d" % n, 0, False)])
            link.until(lambda: len(other.heard) > n, "the prediction")  # noqa: B023
        assert [message.qos for message in other.heard] == [1] * 2 + [0] * 8
        assert other.raw("pred/") == [b"%d" % n for n in range(10)]


def refused(topic: str, *, retain: bool = False) -> Publication:
    return Publication(topic, b"x", 1, retain)


def asking(now: float = 0.0) -> PublishRights:
    rights = PublishRights()
    rights.restart(answers_with_reason=True)
    assert rights.way_of("a/1", now) == "send"
    return rights


def test_a_topic_is_asked_about_when_it_is_not_new_and_all_is_quiet() -> None:
    rights = asking()
    assert rights.way_of("a/1", NEW_SECONDS - 0.1) == "send"
    for _ in range(QUIET_COUNT):
        rights.note_qos1(NEW_SECONDS)
    soon = NEW_SECONDS + QUIET_SECONDS / 2
    assert rights.way_of("a/1", soon) == "send", "alarms are on their way"
    assert not rights.is_known("a/1")
    assert rights.way_of("a/1", NEW_SECONDS + QUIET_SECONDS, may_ask=False) == "send"
    assert rights.way_of("a/1", NEW_SECONDS + QUIET_SECONDS) == "ask"
    assert rights.way_of("a/1", NEW_SECONDS + QUIET_SECONDS) == "hold"
    assert not rights.is_known("a/1")
    assert not rights.is_settled
    assert rights.on_answer(refused("a/1"), None) == 0
    assert rights.way_of("a/1", NEW_SECONDS + QUIET_SECONDS) == "send"
    assert rights.is_known("a/1")
    assert rights.is_settled


def test_a_topic_is_asked_about_in_the_end_even_if_it_is_never_quiet() -> None:
    rights = asking()
    now = 0.0
    while rights.way_of("a/1", now) == "send":
        rights.note_qos1(now)
        now += 0.01
    assert now == pytest.approx(MAX_WAIT_SECONDS, abs=0.1)


def test_few_topics_are_asked_about_in_a_second() -> None:
    """A subscriber then has few messages at QoS 1 in flight, so none is overtaken."""
    rights = asking()
    for n in range(100):
        rights.way_of(f"a/{n}", 0.0)
    for second in range(3):
        now = NEW_SECONDS + 1.1 * second
        ways = [rights.way_of(f"a/{n}", now) for n in range(100)]
        assert ways.count("ask") == QUIET_COUNT


def test_what_is_remembered_is_bounded() -> None:
    rights = asking()
    for n in range(2 * MAX_REFUSED):
        assert rights.on_answer(refused(f"a/{n}", retain=True), "no") == 1, "each is counted"
    assert len(rights._refused) == MAX_REFUSED
    assert len(rights._untold) <= MAX_REFUSED
    assert len(rights._kept) == MAX_KEPT
    rights = asking()
    for n in range(2 * MAX_ASKED):
        rights.way_of(f"b/{n}", 0.0)
        rights.count_sent(f"b/{n}")
    assert len(rights._new) == MAX_ASKED
    assert rights.is_known("b/other")


def test_what_is_sent_before_the_answer_is_lost() -> None:
    rights = asking()
    for topic in ("a/1", "a/1", "a/2"):
        rights.way_of(topic, 0.0)
        assert not rights.count_sent(topic)
    assert rights.way_of("a/1", NEW_SECONDS) == "ask"
    assert rights.on_answer(refused("a/1"), "no") == 3
    assert rights.count_sent("a/1"), "known to be lost"
    assert rights.way_of("a/2", NEW_SECONDS) == "ask"
    assert rights.on_answer(refused("a/2"), None) == 0
    assert rights.on_answer(refused("a/1"), None) == 0
    assert rights.is_settled


def test_after_a_refusal_all_topics_are_asked_about_again() -> None:
    """An ACL that is changed while the node runs."""
    rights = asking()
    assert rights.way_of("a/1", NEW_SECONDS) == "ask"
    rights.on_answer(refused("a/1"), None)
    rights.on_answer(refused("alarms/1"), "no")
    assert rights.way_of("a/1", 10.0) == "send"
    assert rights.way_of("a/1", 10.0 + NEW_SECONDS) == "ask"


def test_a_refusal_ends_for_each_topic_alone(caplog: pytest.LogCaptureFixture) -> None:
    rights = asking()
    for topic in ("a/1", "a/2", "b/1"):
        rights.on_answer(refused(topic), "no")
    assert len(errors(caplog)) == 2
    rights.tell(100.0)
    rights.tell(100.0)
    assert errors(caplog)[2:] == ["the broker also refuses publications to a/2"]
    rights.on_answer(refused("a/1"), None)
    assert rights.is_refused("a/2")
    assert not rights.is_refused("a/1")
    for topic in ("a/2", "b/1"):
        rights.on_answer(refused(topic), None)
    assert rights.fault is None


def test_very_many_refused_topics_take_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    rights = asking()
    for n in range(5000):
        rights.on_answer(refused(f"{n}/pred"), "no")
        rights.tell(n / 10)
    assert len(errors(caplog)) <= 10 + 500 / RETRY_SECONDS + 1
    assert max(map(len, errors(caplog))) < 5000
    assert rights.fault is not None
    assert rights.fault.endswith("(and to 4,999 more topics)")


def test_a_retained_publication_is_counted_once_however_often_it_is_refused() -> None:
    rights = asking()
    one = refused("a/1", retain=True)
    assert rights.on_answer(one, "no") == 1
    assert rights.take_retry(100.0) == [], "just refused"
    assert rights.take_retry(100.0 + RETRY_SECONDS - 1) == []
    assert rights.take_retry(100.0 + RETRY_SECONDS) == [one]
    assert rights.on_answer(one, "no") == 0
    assert rights.on_answer(refused("a/1", retain=True), "no") == 1, "another one"
    rights.restart(answers_with_reason=False)
    assert rights.fault is None
