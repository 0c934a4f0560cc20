"""Subscriptions at a real broker: overlaps, what a session keeps, refused and optional ones."""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgeai import topics
from edgeai.mqtt.inbox import DROPS_TOPIC
from edgeai.mqtt.subscriptions import PUNISHED_SECONDS
from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.links import Route, open_link
from tests.support.live import peer

pytestmark = pytest.mark.broker
PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@PROTOCOLS
def test_overlapping_filters_bring_each_message_once(broker: RunningBroker, protocol: str) -> None:
    """mosquitto delivers a message once for each subscription at MQTT 5."""
    rng = random.Random(protocol)
    levels = ["a", "b", "+"]
    names = [f"{one}/{two}/{three}" for one in "ab" for two in "ab" for three in "ab"]
    with peer(broker.port) as sender:
        for number in range(4):
            wanted: dict[str, int] = {}
            while len(wanted) < 4:
                one = "/".join(rng.choice(levels) for _ in range(rng.randint(1, 3)))
                one += rng.choice(["", "/#"])
                if all(
                    topics.contains(one, other)
                    or topics.contains(other, one)
                    or not topics.may_overlap(one, other)
                    for other in wanted
                ):
                    wanted[one] = rng.randint(0, 1)
            with open_link(
                broker.port, wanted, client_id=f"edgeai-{number}", protocol=protocol
            ) as one_link:
                for name in names:
                    sender.publish(name, name)
                sender.publish(f"a/a/a/{number}", "a/a/a")
                matched = [
                    name
                    for name in [*names, f"a/a/a/{number}"]
                    if any(topics.TopicTemplate(one).match(name) is not None for one in wanted)
                ]
                one_link.until(lambda: len(one_link.messages) >= len(matched), "messages")  # noqa: B023
                for _ in range(3):
                    one_link.turn()
                found = Counter(topic for topic, *_ in one_link.messages)
                assert found == Counter(matched), wanted


@PROTOCOLS
def test_a_removed_topic_is_unsubscribed(
    broker: RunningBroker, protocol: str, tmp_path: Path
) -> None:
    """A persistent session keeps it at the broker, where it fills the queue."""
    kept = tmp_path / "state" / "mqtt" / "one.json"
    first = {"old/#": 1, "both/#": 1}
    with open_link(broker.port, first, protocol=protocol, kept_filters=kept):
        pass
    with (
        open_link(
            broker.port, {"both/#": 1, "new/#": 1}, protocol=protocol, kept_filters=kept
        ) as link,
        peer(broker.port) as sender,
    ):
        link.until(lambda: "old/#" not in kept.read_text(), "the answer to UNSUBSCRIBE")
        for topic in ("old/1", "both/1", "new/1"):
            sender.publish(topic, topic, 1)
        link.until(lambda: len(link.messages) >= 2, "two messages")
        link.turn()
        assert sorted(link.payloads) == [b"both/1", b"new/1"]
        assert kept.read_text() == '{"filters": ["both/#", "new/#"]}'


def test_without_a_state_folder_it_works_and_is_told(
    broker: RunningBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    kept = tmp_path / "file" / "mqtt" / "one.json"
    with open_link(broker.port, {"a/#": 1}, kept_filters=kept):
        pass
    (line,) = warnings(caplog)
    assert "one.json" in line
    assert "will stay subscribed" in line


@PROTOCOLS
def test_a_session_that_the_broker_has_forgotten_is_told(
    tmp_path: Path, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "kept.json"
    with start_mosquitto(tmp_path / "broker") as broker:
        with open_link(broker.port, {"a/#": 1}, protocol=protocol, kept_filters=kept) as link:
            assert link.value("broker_sessions_lost_total") == 0
            broker.stop()
            link.until_lost()
            broker.start_again()
            link.until_connected()
            assert link.value("broker_sessions_lost_total") == 1
            assert "has forgotten the session" in "".join(warnings(caplog))
        with open_link(broker.port, {"a/#": 1}, protocol=protocol, kept_filters=kept) as link:
            assert link.value("broker_sessions_lost_total") == 0
        broker.stop()
        broker.start_again()
        with open_link(broker.port, {"a/#": 1}, protocol=protocol, kept_filters=kept) as link:
            assert link.value("broker_sessions_lost_total") == 1, "also across our own restart"


def test_a_session_that_we_have_ended_is_not_missed(broker: RunningBroker, tmp_path: Path) -> None:
    """The configuration went from QoS 1 to QoS 0 and back."""
    kept = tmp_path / "kept.json"
    for qos in (1, 0, 1):
        with open_link(broker.port, {"a/#": qos}, kept_filters=kept) as link:
            assert kept.exists() == bool(qos)
            assert link.value("broker_sessions_lost_total") == 0


def test_the_age_of_a_session_counts_from_its_end(
    broker: RunningBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that ran for longer than the expiry has lost nothing by that."""
    kept = tmp_path / "kept.json"
    with open_link(broker.port, {"a/#": 1}, kept_filters=kept):
        os.utime(kept, (1000, 1000))
    assert time.time() - kept.stat().st_mtime < 60
    os.utime(kept, (1000, 1000))
    with (
        start_mosquitto(tmp_path / "other") as other,
        open_link(other.port, {"a/#": 1}, kept_filters=kept) as link,
    ):
        assert link.value("broker_sessions_lost_total") == 1
    (told,) = warnings(caplog)
    assert "is lost (away for longer than session_expiry_seconds, 3600 s)" in told, "it had expired"


# ------------------------------------------------------------------------------------- $SYS


@pytest.fixture
def strict(broker: RunningBroker) -> Iterator[Route]:
    with closing(Route(broker.port, forbidden=DROPS_TOPIC.encode())) as proxy:
        yield proxy


@PROTOCOLS
def test_a_punished_optional_subscription_is_given_up(
    broker: RunningBroker,
    strict: Route,
    protocol: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        open_link(strict.port, {"in/#": 0}, protocol=protocol, connect=False) as link,
        peer(broker.port) as sender,
    ):
        link.until(lambda: strict.punished == 1, "the cut")
        link.until(lambda: not link.link._subscriber.connected, "the loss")
        link.until_connected()
        sender.publish("in/1", "1")
        link.until(lambda: link.messages, "a message")
        assert strict.punished == 1
        assert strict.connections == 3, "one lost, and the two that stay"
    told = [line for line in warnings(caplog) if DROPS_TOPIC in line]
    assert len(told) == 1, told
    assert "now left out" in told[0]


def test_a_later_loss_does_not_cost_the_optional_subscription(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with open_link(broker.port) as link:
        subscribed = link.link._subscriber.lifecycle._subscriptions
        for _ in range(2):
            link.until(lambda: subscribed._optional_answered is not None, "its answer")
            time.sleep(2 * PUNISHED_SECONDS)
            broker.kill()
            link.until_lost()
            broker.start_again()
            link.until_connected()
        assert subscribed._optional == [DROPS_TOPIC]
    assert not [line for line in warnings(caplog) if DROPS_TOPIC in line]


def test_the_drop_counter_is_read_once_where_a_pipeline_reads_sys(broker: RunningBroker) -> None:
    with open_link(broker.port, {"$SYS/#": 0}) as link:
        assert not link.link._subscriber.lifecycle._subscriptions._optional


# --------------------------------------------------------------------------- operators' commands

COMMANDS = "edgeai/line1/command/#"


@PROTOCOLS
def test_a_broker_that_punishes_the_topics_of_commands_costs_only_these(
    broker: RunningBroker, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        closing(Route(broker.port, forbidden=COMMANDS.encode())) as proxy,
        open_link(
            proxy.port, {"in/#": 0}, protocol=protocol, connect=False, optional=[COMMANDS]
        ) as link,
        peer(broker.port) as sender,
    ):
        link.until(lambda: proxy.punished == 1, "the cut")
        link.until(lambda: not link.link._subscriber.connected, "the loss")
        link.until_connected()
        subscribed = link.link._subscriber.lifecycle._subscriptions
        link.until(lambda: subscribed._optional_answered is not None, "the counter's answer")
        sender.publish("in/1", "1")
        link.until(lambda: link.messages, "a message")
        assert subscribed._optional == [DROPS_TOPIC], "the counter of drops is still read"
        assert link.link.fault is None
    (told,) = [line for line in warnings(caplog) if COMMANDS in line]
    assert "on the page only" in told


def test_commands_arrive_beside_the_input_and_at_once(broker: RunningBroker) -> None:
    """At QoS 0: what is sent while edgeai is away must not be obeyed later."""
    with (
        open_link(broker.port, {"in/#": 1}, optional=[COMMANDS]) as link,
        peer(broker.port) as sender,
    ):
        subscribed = link.link._subscriber.lifecycle._subscriptions
        link.until(lambda: subscribed._asked == 2, "both optional ones")
        assert COMMANDS not in subscribed._kept.filters
        sender.publish("edgeai/line1/command/acknowledge/p/m", "", 1)
        link.until(lambda: link.messages, "the command")
        assert link.messages[0][0] == "edgeai/line1/command/acknowledge/p/m"


def test_commands_that_a_source_reads_already_are_not_subscribed_twice(
    broker: RunningBroker,
) -> None:
    with open_link(broker.port, {"edgeai/#": 0}, optional=[COMMANDS]) as link:
        assert link.link._subscriber.lifecycle._subscriptions._optional == [DROPS_TOPIC]
