"""A link to a real broker, in the test's own thread, and a way to cut it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.messages import Message
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Link, Status
from edgeai.mqtt.retained_reader import RetainedReader
from tests.support.live import PATIENCE_SECONDS, wait_for

STATUS = Status("edgeai/test/status", b"online", b"offline", b"lost")


class Route:
    """A TCP proxy to a broker that can be cut as a firewall does: both ends get a reset.

    With `forbidden` it closes each connection on which a client sends these bytes, as brokers do
    that punish a subscription (AWS IoT Core). No broker that runs here can be told to do so. With
    `max_open` it closes a connection beyond so many that are open; mosquitto 2.0 counts them wrong.
    """

    def __init__(
        self, port: int, forbidden: bytes | None = None, max_open: int | None = None
    ) -> None:
        self._to = port
        self._forbidden = forbidden
        self._max_open = max_open
        self._open = 0
        self.connections = 0
        self.punished = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._near: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._max_open is not None and not self._has_room(self._max_open):
                    near.close()
                    continue
                self._open += 1
                far = socket.create_connection(("127.0.0.1", self._to))
                self._near.append(near)
                self.connections += 1
                for source, target in ((near, far), (far, near)):
                    self._start(partial(self._forward, source, target))

    def _has_room(self, max_open: int) -> bool:
        """Return whether a connection may be opened; one that ends now counts for a moment."""
        for _ in range(30):
            if self._open < max_open:
                return True
            time.sleep(0.01)
        return False

    def _start(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._forbidden is not None and self._forbidden in data:
                    self.punished += 1
                    break
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        if source in self._near:
            self._open -= 1
        source.close()

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


class OpenLink:
    """A link, and what it has received."""

    def __init__(self, link: Link, metrics: Metrics) -> None:
        self.link = link
        self.metrics = metrics
        self.messages: list[Message] = []

    def turn(self, seconds: float = 0.02, *, commit: bool = True) -> None:
        """Receive, for so long at most, and acknowledge once."""
        self.messages += self.link.receive(seconds)
        if commit:
            self.link.commit()

    def until(self, condition: Callable[[], Any], what: str, *, commit: bool = True) -> Any:
        """Take turns until the condition is true, and return its value."""

        def step() -> Any:
            self.turn(commit=commit)
            return condition()

        return wait_for(step, what)

    def until_connected(self) -> None:
        lifecycle = self.link._subscriber.lifecycle
        self.until(lambda: self.link.connected and lifecycle.subscribed, "the connections")

    def until_lost(self) -> None:
        self.until(lambda: not self.link.connected, "the loss")

    @property
    def payloads(self) -> list[bytes]:
        return [bytes(payload) for _, payload, _, _ in self.messages]

    def value(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(f"edgeai_{name}", labels)
        assert found is not None, (name, labels)
        return found


@contextlib.contextmanager
def open_link(
    port: int,
    subscriptions: dict[str, int] | None = None,
    *,
    client_id: str = "edgeai-test",
    status: Status | None = None,
    connect: bool = True,
    kept_filters: Path | None = None,
    interval_seconds: Callable[[str], float | None] = lambda _topic: None,
    retained: RetainedReader | None = None,
    optional: Sequence[str] = (),
    **broker: Any,
) -> Iterator[OpenLink]:
    """Open a link for the time of a test."""
    wake, other = socket.socketpair()
    settings = {"reconnect_min_seconds": 0.05, "reconnect_max_seconds": 0.2, **broker}
    metrics = Metrics()
    link = Link(
        Broker(host="127.0.0.1", port=port, **settings), client_id, subscriptions or {"in/#": 0},
        Limits(), metrics, status=status, wake_fd=wake.fileno(), stopping=lambda: False,
        kept_filters=kept_filters, interval_seconds=interval_seconds, retained=retained,
        optional=optional,
    )  # fmt: skip
    one = OpenLink(link, metrics)
    try:
        if connect:
            one.until_connected()
        yield one
    finally:
        link.close(1.0)
        wake.close()
        other.close()
