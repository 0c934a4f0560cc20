"""The engine's source and sink: two connections to one broker, one to read and one to write.

On a single connection the acknowledgements of what we publish stand in line behind what the broker
sends us: a slow outlet could only be served by reading ever more input. With two, the input is
simply not read while too much waits to be sent: the broker's window, or its socket, holds it back.
"""

import logging
import select
import time
from collections.abc import Callable

from edgeai.config import Broker, Limits
from edgeai.metrics import Metrics
from edgeai.mqtt.connection import Connection, Status
from edgeai.records import Message, Publication

log = logging.getLogger("edgeai.mqtt")


class Link:
    """What the engine reads from and writes to."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        subscriptions: dict[str, int],
        limits: Limits,
        metrics: Metrics,
        *,
        status: Status,
        wake_fd: int,
        stopping: Callable[[], bool],
    ) -> None:
        """Prepare; `receive` connects.

        Args:
            broker: Where and how.
            client_id: Of the reading connection; the writing one's ends in `-out`.
            subscriptions: QoS by topic filter.
            limits: Bounds of a turn and of what waits to be sent.
            metrics: Counts of both connections.
            status: Published once input and output stand.
            wake_fd: Readable when someone wants `receive` and `publish` to return.
            stopping: Whether that someone wants them to.

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        self._poll = select.poll()
        self._poll.register(wake_fd, select.POLLIN)
        self._wake_fd = wake_fd
        self._where = f"{broker.host}:{broker.port}"
        self._told_connected = False
        self._stopping = stopping
        self._limit = limits.outgoing_messages
        self._metrics = metrics
        self._inlet = Connection(broker, client_id, subscriptions, limits, metrics, poll=self._poll)
        self._outlet = Connection(
            broker, f"{client_id}-out", {}, limits, metrics, status=status, poll=self._poll
        )

    @property
    def connected(self) -> bool:
        """Whether both connections stand."""
        return self._inlet.connected and self._outlet.connected

    @property
    def fault(self) -> str | None:
        """Why messages cannot flow, in words for a person; None when all is well."""
        return self._inlet.fault or self._outlet.fault

    @property
    def protocol(self) -> str | None:
        """The MQTT version in use; None while not connected."""
        return self._inlet.protocol

    @property
    def waiting_to_send(self) -> int:
        """Publications that the broker does not have yet, as far as we know."""
        return self._outlet.waiting_to_send

    def receive(self, timeout_seconds: float) -> list[Message]:
        """Return what has arrived, waiting for the first message at most so long."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self._serve_outlet()
            reading = self._outlet.waiting_to_send <= self._limit
            self._inlet.tend()
            if reading:
                self._inlet.read()
            remaining = deadline - time.monotonic()
            if self._inlet.has_messages or remaining <= 0 or self._stopping():
                return self._inlet.take()
            self._wait(remaining, reading=reading)

    def publish(self, publications: list[Publication]) -> None:
        """Send in this order, and wait for the broker while more waits than the limit allows."""
        self._outlet.send(publications)
        while self._outlet.waiting_to_send > self._limit and not self._stopping():
            self._inlet.tend()
            self._wait(1.0, reading=False)
            self._serve_outlet()

    def commit(self) -> None:
        """Acknowledge the QoS 1 messages that `receive` returned."""
        self._inlet.commit()

    def close(self, timeout_seconds: float) -> bool:
        """Send what waits, publish the offline status, disconnect; return whether all was sent."""
        self._poll.unregister(self._wake_fd)  # it stays readable, and nobody needs to be woken now
        self._inlet.close(0)
        return self._outlet.close(timeout_seconds)

    def _serve_outlet(self) -> None:
        if self._inlet.subscribed or self._outlet.connected:
            self._outlet.tend()
        self._outlet.read()
        self._outlet.pump()
        connected = self.connected
        if connected != self._told_connected:
            self._told_connected = connected
            self._metrics.connected.set(connected)
            if connected:
                log.info("connected to %s with MQTT %s", self._where, self.protocol)

    def _wait(self, seconds: float, *, reading: bool) -> None:
        seconds = min(
            seconds, self._inlet.prepare_wait(reading=reading), self._outlet.prepare_wait()
        )
        self._poll.poll(seconds * 1000)
