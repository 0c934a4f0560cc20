"""What a kept session delivers: repeats are dropped, and only the backlog is marked."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.messages import BACKLOG, REDELIVERED, RETAINED, SECOND_NS, Message
from edgeai.mqtt import redelivery
from edgeai.mqtt.redelivery import Redelivery
from tests.support.brokers import RunningBroker
from tests.support.links import OpenLink, Route, open_link
from tests.support.live import patient, peer

pytestmark = pytest.mark.broker
BOTH = pytest.mark.parametrize("fast_path", [True, False])
PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@contextlib.contextmanager
def through_a_route(broker: RunningBroker, **options: Any) -> Iterator[tuple[OpenLink, Route]]:
    """A link at QoS 1 whose connections can be cut."""
    route = Route(broker.port)
    with contextlib.closing(route), open_link(route.port, {"in/#": 1}, **options) as link:
        yield link, route


def flags(link: OpenLink) -> list[int]:
    return [one[3] for one in link.messages]


@BOTH
@PROTOCOLS
def test_what_the_broker_held_is_marked(
    broker: RunningBroker, fast_path: bool, protocol: str
) -> None:
    """In the same process and after a restart; what is sent live, before and after, is not."""
    options: dict[str, Any] = {"fast_path": fast_path, "protocol": protocol}
    options["interval_seconds"] = lambda _topic: 0.2
    with peer(broker.port) as sender:
        with through_a_route(broker, **options) as (link, route):
            sender.publish("in/a", "live", 1)
            link.until(lambda: link.messages, "a message")
            route.cut()
            link.until_lost()
            for number in range(50):
                sender.publish("in/a", f"held {number}", 1)
            link.until_connected()
            link.until(lambda: len(link.messages) == 51, "the backlog")
            assert [one & BACKLOG for one in flags(link)] == [0] + [BACKLOG] * 50
            link.turn(0.12)
            sender.publish("in/a", "live again", 1)
            link.until(lambda: len(link.messages) == 52, "a live message")
            assert flags(link)[-1] == 0, "half a sample period after the one before"
        for number in range(50):
            sender.publish("in/a", f"held {number}", 1)
        with through_a_route(broker, **options) as (link, _):
            link.until(lambda: len(link.messages) == 50, "the backlog")
            assert all(one & BACKLOG for one in flags(link))


def test_a_first_connection_and_quality_of_service_0_have_no_backlog(broker: RunningBroker) -> None:
    with peer(broker.port) as sender:
        for topic_filter in ({"in/#": 1}, {"in/#": 0}):
            with open_link(broker.port, topic_filter, client_id=f"c{topic_filter}") as link:
                for number in range(50):
                    sender.publish("in/a", f"{number}", 1)
                link.until(lambda: len(link.messages) == 50, "messages")
                assert set(flags(link)) == {0}


@BOTH
@PROTOCOLS
@pytest.mark.parametrize("same", [True, False])
def test_each_message_is_taken_once_however_often_the_link_breaks(
    broker: RunningBroker, fast_path: bool, protocol: str, same: bool
) -> None:
    """Without a time, and even if all look the same: cuts before and after acknowledgements."""
    rng = random.Random(f"{fast_path} {protocol} {same}")
    count = 60
    with (
        peer(broker.port) as sender,
        through_a_route(broker, fast_path=fast_path, protocol=protocol) as (link, route),
    ):
        for number in range(count):
            sender.publish("in/a", "same" if same else f"{number}", 1)
            link.turn(0, commit=rng.random() < 0.5)
            if number % 12 == 7:
                route.cut()
                link.until_lost()
                link.until_connected()
        link.until(lambda: len(link.messages) >= count, "all messages")
        for _ in range(5):
            link.turn()
        assert len(link.messages) == count
        if not same:
            assert link.payloads == [b"%d" % number for number in range(count)]


def test_the_burst_ends_when_the_broker_pauses(broker: RunningBroker) -> None:
    """A topic that had no backlog is live from then on."""
    with peer(broker.port) as sender, through_a_route(broker) as (link, route):
        route.cut()
        link.until_lost()
        link.until_connected()
        assert link.link._redelivery.active
        time.sleep(redelivery.QUIET_SECONDS + patient(0.05))
        sender.publish("in/a", "1", 1)
        link.until(lambda: link.messages, "a message")
        assert flags(link) == [0]
        assert not link.link._redelivery.active


# ---------------------------------------------------------------------------- without a broker


def messages(*parts: tuple[str, int, float], payload: bytes = b"x") -> list[Message]:
    """Topic, flags, and second of arrival."""
    return [(topic, payload, round(at * SECOND_NS), bits) for topic, bits, at in parts]


def begun(interval: float | None = 1.0) -> tuple[Redelivery, list[int]]:
    repeats: list[int] = []
    one = Redelivery(lambda _topic: interval, lambda: repeats.append(1), 1000)
    one.begin(session_present=True)
    return one, repeats


def test_each_topic_catches_up_alone() -> None:
    one, _ = begun()
    sent = [("a", 0, 10.0), ("b", 0, 10.0), ("a", 0, 10.01), ("b", 0, 10.6), ("a", 0, 10.7)]
    sent += [("a", 0, 10.71), ("b", 0, 10.61), ("c", RETAINED, 11.0)]
    found = one.take(messages(*sent), [1], [], 1)
    marked = [bool(bits & BACKLOG) for _, _, _, bits in found]
    assert marked == [True, True, True, False, False, False, False, False]
    assert found[-1][3] == RETAINED


def test_the_burst_has_an_end_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    one, _ = begun()
    seconds = 0.0
    while one.active:
        now += 0.1
        seconds += 0.1
        one.take(messages(("a", 0, now / 1e6)), [1], [], 1)
        assert seconds < 61
    assert seconds > 59


def test_the_time_of_our_own_work_is_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    one, _ = begun()
    one.take(messages(("a", 0, 1.0)), [1], [], 1)
    now += 5  # a turn that takes long
    one.on_acknowledged()
    now += 0.1
    (last,) = one.take(messages(("a", 0, 1.001)), [2], [], 1)
    assert last[3] == BACKLOG


@settings(deadline=None, max_examples=200)
@given(
    taken=st.lists(st.tuples(st.integers(1, 5), st.sampled_from([b"x", b"y"])), max_size=8),
    again=st.lists(st.tuples(st.integers(1, 5), st.sampled_from([b"x", b"y"])), max_size=8),
)
def test_a_repeat_has_a_known_id_and_a_known_content(
    taken: list[tuple[int, bytes]], again: list[tuple[int, bytes]]
) -> None:
    """What was not taken is never dropped for its packet id alone."""
    repeats: list[int] = []
    one = Redelivery(lambda _topic: None, lambda: repeats.append(1), 1000)
    for packet_id, payload in taken:
        one.take(messages(("a", 0, 1.0), payload=payload), [packet_id], [], 1)
    one.begin(session_present=True)
    sent = [message for _, body in again for message in messages(("a", 1, 2.0), payload=body)]
    ids = [packet_id for packet_id, _ in again]
    found = one.take(sent, ids, ids, 1)
    assert len(found) + len(repeats) == len(again)
    for content in (b"x", b"y"):
        dropped = sum(body == content for _, body in again) - sum(
            bytes(body) == content for _, body, _, _ in found
        )
        known = [packet_id for packet_id, body in taken if body == content]
        possible = [
            packet_id
            for packet_id, body in again
            if body == content and packet_id in {packet_id for packet_id, _ in taken}
        ]
        assert dropped == min(len(known), len(possible))
    assert all(bits == REDELIVERED | BACKLOG for _, _, _, bits in found)


def test_nothing_is_dropped_where_the_session_is_new() -> None:
    one, repeats = begun()
    one.take(messages(("a", 0, 1.0)), [1], [], 1)
    one.begin(session_present=False)
    assert len(one.take(messages(("a", REDELIVERED, 2.0)), [1], [1], 1)) == 1
    assert repeats == []


def test_what_is_remembered_is_bounded() -> None:
    one, _ = begun()
    for number in range(5000):
        one.take(messages(("a", 0, number)), [number], [], 1)
    assert len(one._taken) <= 2000
    for number in range(100):
        one.take(messages(("a", 0, number), payload=b"x" * 100_000), [number], [], 100_000)
    assert len(one._taken) <= 42
