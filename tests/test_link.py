"""Both connections at once: what one waits for must not keep the other from it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from edgeai.config.node import Broker, Limits
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.link import Link
from tests.brokers import RunningBroker
from tests.live import PATIENCE_SECONDS, peer, wait_for

pytestmark = pytest.mark.broker

PUBLICATIONS = [Publication("out", b"%d" % number, 1, retain=False) for number in range(20)]


class Route:
    """The way to a broker, which can be cut as by a firewall: both ends get a reset."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._near: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._near.append(near)
                for source, target in ((near, far), (far, near)):
                    self._start(partial(_pass_on, source, target))

    def _start(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def cut(self) -> None:
        near, self._near = self._near, []
        for sock in near:
            with contextlib.suppress(OSError):  # closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
            sock.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
    source.close()


@pytest.fixture
def route(broker: RunningBroker) -> Iterator[Route]:
    one = Route(broker.port)
    yield one
    one.close()


@contextlib.contextmanager
def linked(
    route: Route, *, fast_path: bool, turn_messages: int
) -> Iterator[tuple[Link, list[int]]]:
    """A link that stands, and a list that stops it when it is no longer empty."""
    stopping: list[int] = []
    wake, other = socket.socketpair()
    broker = Broker(
        host="127.0.0.1", port=route.port, reconnect_min_seconds=0.05,
        reconnect_max_seconds=0.2, fast_path=fast_path,
    )  # fmt: skip
    limits = Limits(outgoing_messages=1, turn_messages=turn_messages)
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
    """And more input waits in the broker than a turn may hold."""
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
