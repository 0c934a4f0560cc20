"""The engine's source and sink: one connection that subscribes and one that publishes.

With a single connection the broker's PUBACKs for our publications would queue behind the messages
that it sends us, so a slow broker would force us to read more input. With two, the input is simply
not read while too many publications wait: the broker keeps QoS 1 messages, and the socket fills at
QoS 0.

`edgeai.mqtt.ways` draws every way of a message and of a publication through this room.
"""

import logging
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.log_events import event
from edgeai.messages import AT_ONCE, Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.client_factory import LastWill, Status
from edgeai.mqtt.connection import Connection
from edgeai.mqtt.connection_log import ConnectionLog
from edgeai.mqtt.read_pacing import ReadPacer
from edgeai.mqtt.redelivery import Redelivery
from edgeai.mqtt.retained_reader import RetainedReader

log = logging.getLogger("edgeai.mqtt")

POLL_ERRORS = select.POLLHUP | select.POLLERR
WAKE_BYTES = 4096  # more signals and commands than can wait
PAUSE_BYTES = 4 * 1024 * 1024  # more than one socket receives during a pause


class Link:
    """Receives messages for the engine and publishes its results."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        subscriptions: dict[str, int],
        limits: Limits,
        metrics: Metrics,
        *,
        status: Status | None,
        wake_fd: int,
        stopping: Callable[[], bool],
        optional: Sequence[str] = (),
        kept_filters: Path | None = None,
        interval_seconds: Callable[[str], float | None] = lambda _topic: None,
        retained: RetainedReader | None = None,
        will: LastWill | None = None,
        keeps_properties: bool = False,
    ) -> None:
        """Prepare; the first `receive` connects.

        Args:
            broker: Address, credentials, TLS and session.
            client_id: Of the subscribing connection; the publishing one appends `-out`.
            subscriptions: QoS by topic filter.
            limits: Limits of a turn and of publications that wait.
            metrics: Metrics of both connections.
            status: Published when both connections are made; None if another process does so.
            wake_fd: File descriptor that becomes readable to end a wait; it is read here.
            stopping: Returns whether `receive` and `publish` must return early.
            optional: Topic filters that the broker may refuse.
            kept_filters: File that keeps the topic filters of the session; None: none does.
            interval_seconds: As for `Redelivery`.
            retained: Reads own retained topics once; None: nothing is read.
            will: Last will of the subscribing connection; None: there is none.
            keeps_properties: Whether messages keep their user properties (MQTT 5).

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        self._poll = select.poll()
        self._poll.register(wake_fd, select.POLLIN)
        self._wake_fd = wake_fd
        self._woken = False
        """Whether the wait of `receive` is to end without a message."""
        self._address = f"{broker.host}:{broker.port}"
        self.served_monotonic = time.monotonic()
        """When the sockets were polled last. A recent time shows that the loop does not hang, even
        if the broker cannot be reached."""
        self._reported_connected = False
        self.connections = 0
        """How often both connections were made."""
        self._maintained_changes = -1
        """Sum of both `state_changes` at the last maintenance."""
        self._next_maintenance = 0.0
        """When to call `_maintain` next, in seconds of the monotonic clock."""
        self._steady = False
        """Whether neither connection has bytes to write, or unread bytes outside its socket, and
        both are polled for input only. While true, `_serve` skips both `watch` calls."""
        self._version5 = False
        self._taken: list[Message] = []
        """Messages of the last turn."""
        self._taken_monotonic = 0.0
        """When they were returned; 0 before the first turn."""
        self._stopping = stopping
        self._max_waiting = limits.outgoing_messages
        self._pacer = ReadPacer(limits, acknowledging=any(subscriptions.values()))
        self._metrics = metrics
        repeats = metrics.unrouted.labels("duplicate")
        self._redelivery = Redelivery(interval_seconds, repeats.inc, broker.receive_maximum)
        told = ConnectionLog()
        self._subscriber = Connection(
            broker, client_id, subscriptions, limits, metrics,
            optional=optional, kept_filters=kept_filters,
            redelivery=self._redelivery, will=will, poll=self._poll, told=told,
            keeps_properties=keeps_properties,
        )  # fmt: skip
        self._publisher = Connection(
            broker, f"{client_id}-out", {}, limits, metrics,
            retained=retained, status=status, poll=self._poll, told=told,
        )  # fmt: skip

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted both connections."""
        return self._subscriber.connected and self._publisher.connected

    @property
    def fault(self) -> str | None:
        """Why messages cannot flow, as text for the user; None if they can."""
        return self._subscriber.fault or self._publisher.fault

    @property
    def protocol(self) -> str | None:
        """The MQTT version in use; None while not connected."""
        return self._subscriber.protocol

    @property
    def waiting_to_send(self) -> int:
        """Number of publications that the broker may not have received."""
        return self._publisher.waiting_to_send

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        """Return the messages that have arrived; wait for the first until the timeout.

        Args:
            timeout_seconds: Longest wait. Connections are kept alive meanwhile. With 0, all
                messages that have arrived are read.
            due: When the next window can be due. Messages before that may gather for a while
                (`edgeai.mqtt.read_pacing`).
        """
        subscriber, publisher, pacer = self._subscriber, self._publisher, self._pacer
        inbox = subscriber.inbox
        if self._taken_monotonic:  # done now and not when they came: predictions go first
            pacer.record_turn(len(self._taken), inbox.taken_bytes, self._taken_monotonic)
        now = time.monotonic()
        deadline = wait_until = now + timeout_seconds
        deferring, deferred_bytes, read_by = False, 0, now
        if due is not AT_ONCE or subscriber.polled.deferred_bytes:
            pacer.record_sizes(self._taken, version5=self._version5)
            deferred_bytes, read_by = pacer.defer(due, now) if timeout_seconds else (0, now)
            unread_bytes = pacer.unread_bytes(deferred_bytes, 0) if deferred_bytes else 0
            deferring = subscriber.leave_in_socket(unread_bytes)
            wait_until = min(deadline, read_by) if deferring else deadline
        pause_seconds = pacer.pause_seconds(now) if pacer.busy else 0.0
        if pause_seconds > 0 and not subscriber.has_unread:
            now = self._pause(now, now + pause_seconds)
        while True:
            reading = self._steady or publisher.waiting_to_send <= self._max_waiting
            now = self._serve(now, wait_until, reading=reading)
            if deferring and inbox.messages and now < read_by and not inbox.full:
                unread_bytes = pacer.unread_bytes(deferred_bytes, len(inbox.messages))
                if unread_bytes >= 0 and not self._stopping():
                    subscriber.leave_in_socket(unread_bytes)
                    continue
            packet_ids, redelivered_ids = inbox.acks, inbox.redelivered_ids
            messages = inbox.take()
            if messages or now >= deadline or self._woken or self._stopping():
                if packet_ids:
                    messages = self._redelivery.take(
                        messages, packet_ids, redelivered_ids, inbox.taken_bytes
                    )
                break
            if deferring and now >= read_by:
                deferring = subscriber.leave_in_socket(0)
                wait_until = deadline
        self._taken, self._taken_monotonic, self._woken = messages, now, False
        return messages

    def _pause(self, now: float, until: float) -> float:
        """Let messages gather in the socket, but go on sending; return the time after.

        A high SO_RCVLOWAT makes the kernel acknowledge unread bytes (Linux, tcp_input.c). Without
        it the broker's kernel stops sending after a few packets, and half of the messages come one
        turn later.
        """
        self._subscriber.leave_in_socket(PAUSE_BYTES)
        while now < until and not self._stopping():
            now = self._serve(now, until, reading=False)
        self._subscriber.leave_in_socket(0)
        return now

    def publish(self, publications: list[Publication]) -> None:
        """Send in this order; wait for the broker while more than the limit waits to be sent."""
        if self._publisher.send(publications):
            return
        self._steady = False
        if self._publisher.waiting_to_send > self._max_waiting:
            self._next_maintenance = 0.0  # the publishing connection may need to be made first
        while self._publisher.waiting_to_send > self._max_waiting and not self._stopping():
            now = time.monotonic()
            self._serve(now, now + 1.0, reading=False)

    def publish_newest(self, publication: Publication) -> None:
        """Send a message that replaces those of its topic which have not been sent; never wait."""
        self._steady = False
        self._publisher.send_newest(publication)

    def commit(self) -> None:
        """Acknowledge the QoS 1 messages that `receive` returned."""
        if self._subscriber.inbox.unacknowledged:
            self._steady = False
            self._subscriber.commit()
            if self._redelivery.active:
                self._redelivery.on_acknowledged()

    def close(self, timeout_seconds: float) -> bool:
        """Send what waits and the offline status, and disconnect; return whether all was sent."""
        self._poll.unregister(self._wake_fd)  # a further signal must not end the waits
        self._subscriber.close(0)
        return self._publisher.close(timeout_seconds)

    def _serve(self, now: float, deadline: float, *, reading: bool) -> float:
        """Wait for either socket and serve it, with one system call per wait.

        Args:
            now: Seconds of the monotonic clock.
            deadline: Longest wait, on the same clock.
            reading: Whether to read messages. A subscribing connection that is not complete is read
                in any case, up to the limits of a turn: it needs the broker's answers.

        Returns:
            The time after, in seconds of the monotonic clock.
        """
        subscriber, publisher = self._subscriber, self._publisher
        if now >= self._next_maintenance:
            self._maintain()
        if not reading and not subscriber.lifecycle.subscribed:
            reading = not subscriber.inbox.full
        unread = False
        if not (self._steady and reading):
            unread = subscriber.watch(reading=reading)
            publisher.watch()
        wait = 0.0 if unread else min(deadline, self._next_maintenance) - now
        ready = self._poll.poll(max(0.0, wait) * 1000)
        self._steady = (
            reading
            and not unread
            and subscriber.polled.events == publisher.polled.events == select.POLLIN
        )
        if unread:
            subscriber.read()
        for fileno, events in ready:
            if fileno == subscriber.polled.fileno:
                if (reading or events & POLL_ERRORS) and not unread:
                    self._steady = subscriber.read() and self._steady
            elif fileno == publisher.polled.fileno:
                self._steady = False
                publisher.serve_publisher()
            elif fileno == self._wake_fd:
                self._woken = True
                with suppress(OSError):  # else every later wait would end at once
                    os.read(fileno, WAKE_BYTES)
        changes = subscriber.lifecycle.state_changes + publisher.lifecycle.state_changes
        if changes != self._maintained_changes:
            self._maintain()
        self.served_monotonic = time.monotonic()
        return self.served_monotonic

    def _needs_publisher(self) -> bool:
        """Return whether to maintain the publishing connection.

        It is made after the subscribing one, unless publications wait. Nothing is read before they
        are sent, so the subscribing connection may have to wait for the publishing one.
        """
        publisher = self._publisher
        return (
            self._subscriber.lifecycle.subscribed
            or publisher.connected
            or publisher.waiting_to_send > 0
        )

    def _maintain(self) -> None:
        """Connect, keep both connections alive, and report when that changes."""
        subscriber, publisher = self._subscriber.lifecycle, self._publisher.lifecycle
        self._steady = False
        subscriber.maintain()
        if self._needs_publisher():
            publisher.maintain()
            self._publisher.pump()
        self._maintained_changes = subscriber.state_changes + publisher.state_changes
        self._next_maintenance = (
            min(subscriber.next_maintenance, publisher.next_maintenance)
            if self._needs_publisher()
            else subscriber.next_maintenance
        )
        self._version5 = subscriber.protocol == "5"
        connected = self.connected
        if connected != self._reported_connected:
            self._reported_connected = connected
            self._metrics.connected.set(connected)
            if connected:
                self.connections += 1
                log.info(
                    "connected to %s with MQTT %s", self._address, self.protocol,
                    extra=event(
                        "broker_connected", broker=self._address, protocol=self.protocol
                    ),
                )  # fmt: skip
