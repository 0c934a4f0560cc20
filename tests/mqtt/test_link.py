"""Both connections of a link: neither blocks the other, and a message takes the drawn ways."""

from __future__ import annotations

import contextlib
import re
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import paho.mqtt.client as paho
import pytest

from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection, Link, publish_rights
from edgeai.mqtt import ways as ways_module
from tests.support.brokers import RunningBroker
from tests.support.links import Route, open_link
from tests.support.live import PATIENCE_SECONDS, peer, wait_for

pytestmark = pytest.mark.broker

PUBLICATIONS = [Publication("out", b"%d" % number, 1, retain=False) for number in range(20)]


@pytest.fixture
def route(broker: RunningBroker) -> Iterator[Route]:
    one = Route(broker.port)
    yield one
    one.close()


@contextlib.contextmanager
def linked(
    route: Route, *, fast_path: bool, turn_messages: int
) -> Iterator[tuple[Link, list[int]]]:
    """Yield a connected link, and a list that stops the link when it is not empty."""
    stopping: list[int] = []
    wake, other = socket.socketpair()
    broker = Broker(
        host="127.0.0.1", port=route.port, reconnect_min_seconds=0.05,
        reconnect_max_seconds=0.2, fast_path=fast_path,
    )  # fmt: skip
    limits = Limits(outgoing_messages=1, turn_messages=turn_messages, payload_bytes=1000)
    link = Link(
        broker, "edgeai-link", {"in": 1}, limits, Metrics(), status=None,
        wake_fd=wake.fileno(), stopping=lambda: bool(stopping),
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_SECONDS
    subscriber = link._subscriber.lifecycle
    while not (link.connected and subscriber.subscribed) and time.monotonic() < deadline:
        link.receive(0.05)
    try:
        yield link, stopping
    finally:
        link.close(1.0)
        wake.close()
        other.close()


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("waiting", [0, 50])
def test_both_connections_are_lost_while_publications_wait(
    broker: RunningBroker, route: Route, fast_path: bool, waiting: int
) -> None:
    """Meanwhile more messages wait in the broker than a turn may take."""
    with (
        peer(broker.port, "out") as listener,
        linked(route, fast_path=fast_path, turn_messages=2) as (link, stopping),
    ):
        route.cut()
        for number in range(waiting):
            listener.publish("in", str(number), 1)
        timer = threading.Timer(PATIENCE_SECONDS, lambda: stopping.append(1))
        timer.start()
        link.publish(PUBLICATIONS)
        assert not stopping, link.fault
        timer.cancel()
        wait_for(lambda: len(set(listener.raw("out"))) == len(PUBLICATIONS), "publications")
        got: list[int] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(set(got)) < waiting and time.monotonic() < deadline:
            got += [int(payload) for _, payload, _, _ in link.receive(0.1)]
            link.commit()
        assert sorted(set(got)) == list(range(waiting))


@pytest.mark.parametrize("fast_path", [True, False])
def test_sending_goes_on_when_a_full_socket_drains(
    broker: RunningBroker, fast_path: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an event of the socket, and not only by the next maintenance."""
    body = b"x" * 200_000
    with (
        peer(broker.port, "out") as other,
        open_link(broker.port, fast_path=fast_path) as one,
    ):
        link = one.link
        link.publish([Publication("out", b"first", 0, retain=False)])
        one.until(lambda: other.heard and not link.waiting_to_send, "the first one")
        broker.process.send_signal(signal.SIGSTOP)
        try:
            link.publish([Publication("out", body, 0, retain=False) for _ in range(100)])
            assert link.waiting_to_send, "the socket took it all: the test needs more"
        finally:
            broker.process.send_signal(signal.SIGCONT)
        monkeypatch.setattr(link, "_maintain", lambda: None)
        link._next_maintenance = float("inf")
        link._maintained_changes = -1
        one.until(lambda: len(other.heard) == 101, "all of them")
        assert not link.waiting_to_send


# ------------------------------------------------------------------- the ways drawn in mqtt/ways.py

Call = tuple[int, str]
"""Depth in the call tree, and qualified name of the function."""
CARRIERS = (str(Path(ways_module.__file__).parent), str(Path(paho.__file__)))


def drawn_ways() -> dict[str, list[Call]]:
    """The call trees in the docstring of `edgeai.mqtt.ways`, by the letter of the way."""
    assert ways_module.__doc__ is not None
    ways: dict[str, list[Call]] = {}
    letters: list[str] = []
    for line in ways_module.__doc__.splitlines():
        if not line.startswith("    "):
            letters += re.findall(r"\b[Ww]ay ([A-Z]),", line)
            continue
        call = re.match(r"    ( *)(\S+)", line)
        assert call is not None
        depth, name = len(call[1]) // 2, call[2]
        if name.startswith("on_"):
            break
        if depth == 0:
            way = ways.setdefault(letters.pop(0), [])
        way.append((depth, name))
    return ways


def calls_of(work: Callable[[], object], names: set[str]) -> list[Call]:
    """Run, and return the call tree of the functions named; repeated calls in a row once."""
    stack: list[str] = []
    calls: list[Call] = []

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        name = frame.f_code.co_qualname
        if name not in names or not frame.f_code.co_filename.startswith(CARRIERS):
            return
        if event == "call":
            before = next((one for one in reversed(calls) if one[0] <= len(stack)), None)
            if before != (len(stack), name):
                calls.append((len(stack), name))
            stack.append(name)
        elif event == "return":
            stack.pop()

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("fast_path", [True, False])
def test_the_drawn_ways_are_those_that_run(
    broker: RunningBroker, fast_path: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_rights, "NEW_SECONDS", 0.0)  # the right is known at once
    drawn = drawn_ways()
    assert sorted(drawn) == list("ABCDEFGHIJK")
    names = {name for way in drawn.values() for _, name in way}
    route = Route(broker.port)
    with (
        contextlib.closing(route),
        peer(broker.port, "out") as other,
        linked(route, fast_path=fast_path, turn_messages=50) as (link, _),
    ):

        def arrives(connection: Connection) -> None:
            """Wait for bytes in the socket, and keep maintenance out of the next calls."""
            assert select.select([connection.polled.fileno], [], [], PATIENCE_SECONDS)[0]
            link._next_maintenance = time.monotonic() + 60

        def receive(payload: str, qos: int) -> list[Call]:
            other.publish("in", payload, qos)
            arrives(link._subscriber)
            return calls_of(lambda: link.receive(0), names)

        def publish(qos: int) -> list[Call]:
            link._next_maintenance = time.monotonic() + 60
            return calls_of(lambda: link.publish([Publication("out", b"1", qos, False)]), names)

        receive("1", 0)
        ran = {
            "AD": receive("1", 0),
            "BD": receive("1", 1),
            "JK": calls_of(link.commit, names),
            "CD": receive("x" * 1001, 0),
            "FG": publish(1),
        }
        arrives(link._publisher)
        ran["HI"] = calls_of(lambda: link.receive(0), names)
        publish(0)  # at QoS 1, to see the answer
        arrives(link._publisher)
        link.receive(0)
        publish(0)
        ran["EG"] = publish(0 if fast_path else 1)
    for ways, calls in ran.items():
        assert calls == drawn[ways[0] if fast_path else ways[1]], ways
