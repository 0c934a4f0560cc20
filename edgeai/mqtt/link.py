"""The engine's source and sink: two connections to one broker, one to read and one to write.

On a single connection the acknowledgements of what we publish stand in line behind what the broker
sends us: a slow outlet could only be served by reading ever more input. With two, the input is
simply not read while too much waits to be sent: the broker's window, or its socket, holds it back.
"""

import logging
import select
import time
from collections.abc import Callable

from edgeai.config.node import Broker, Limits
from edgeai.messages import AT_ONCE, Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.client_factory import Status
from edgeai.mqtt.connection import Connection
from edgeai.mqtt.read_pacing import Patience

log = logging.getLogger("edgeai.mqtt")

BROKEN = select.POLLHUP | select.POLLERR
PAUSE_BYTES = 4 * 1024 * 1024
"""More than gathers in one socket while a turn waits."""


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
        status: Status | None,
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
            status: Published once input and output stand; None: another process does.
            wake_fd: Readable when someone wants `receive` and `publish` to return.
            stopping: Whether that someone wants them to.

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        self._poll = select.poll()
        self._poll.register(wake_fd, select.POLLIN)
        self._wake_fd = wake_fd
        self._where = f"{broker.host}:{broker.port}"
        self.served_monotonic = time.monotonic()
        """When a socket was last waited for: whoever waits for the broker is no hanging loop."""
        self._told_connected = False
        self._tended_changes = -1
        """How often the connections had changed when they were tended."""
        self._tend_due = 0.0
        self._steady = False
        """Whether neither connection has anything to write, nor unread bytes outside its socket,
        and both are polled for what comes: as it mostly is, so that nobody need ask."""
        self._version5 = False
        self._taken: list[Message] = []
        """The messages of the last turn."""
        self._taken_monotonic = 0.0
        """When they were taken; 0: never yet."""
        self._stopping = stopping
        self._limit = limits.outgoing_messages
        self._patience = Patience(limits, acknowledging=any(subscriptions.values()))
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

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        """Return what has arrived, waiting for the first message at most so long.

        Args:
            timeout_seconds: On the way to it the connections are kept alive. With 0 everything
                is read that is there.
            due: When the next window can be due: what comes before may be left where it is for a
                while (`edgeai.mqtt.read_pacing`).
        """
        inlet, outlet, patience = self._inlet, self._outlet, self._patience
        if self._taken_monotonic:  # not when they came: a prediction was waiting to be made
            patience.begin(len(self._taken), inlet.taken_bytes, self._taken_monotonic)
        now = time.monotonic()
        deadline = wait_until = now + timeout_seconds
        left, read_by = False, now
        if due is not AT_ONCE or inlet.left_bytes:
            patience.look_at(self._taken, version5=self._version5)
            left_bytes, read_by = patience.leave(due, now) if timeout_seconds else (0, now)
            left = inlet.leave_in_socket(left_bytes)
            wait_until = min(deadline, read_by) if left else deadline
        early = patience.pause(now) if patience.busy else 0.0
        if early > 0 and not inlet.has_unread:
            now = self._pause(now, now + early)
        while True:
            reading = self._steady or outlet.waiting_to_send <= self._limit
            now = self._serve(now, wait_until, reading=reading)
            messages = inlet.take()
            if messages or now >= deadline or self._stopping():
                break
            if left and now >= read_by:
                left = inlet.leave_in_socket(0)
                wait_until = deadline
        self._taken, self._taken_monotonic = messages, now
        return messages

    def _pause(self, now: float, until: float) -> float:
        """Let messages gather in the socket; what is being sent does not wait. Return the time.

        The kernel acknowledges what lies unread only as long as nobody could be woken by it
        (SO_RCVLOWAT, tcp_input.c); without that the broker's kernel stops sending after some
        packets, and half of what comes meanwhile comes a turn later.
        """
        self._inlet.leave_in_socket(PAUSE_BYTES)
        while now < until and not self._stopping():
            now = self._serve(now, until, reading=False)
        self._inlet.leave_in_socket(0)
        return now

    def publish(self, publications: list[Publication]) -> None:
        """Send in this order, and wait for the broker while more waits than the limit allows."""
        if self._outlet.send(publications):
            return
        self._steady = False
        if self._outlet.waiting_to_send > self._limit:
            self._tend_due = 0.0  # the outlet may need to be connected first
        while self._outlet.waiting_to_send > self._limit and not self._stopping():
            now = time.monotonic()
            self._serve(now, now + 1.0, reading=False)

    def commit(self) -> None:
        """Acknowledge the QoS 1 messages that `receive` returned."""
        if self._inlet.owed:
            self._steady = False
            self._inlet.commit()

    def close(self, timeout_seconds: float) -> bool:
        """Send what waits, publish the offline status, disconnect; return whether all was sent."""
        self._poll.unregister(self._wake_fd)  # it stays readable, and nobody needs to be woken now
        self._inlet.close(0)
        return self._outlet.close(timeout_seconds)

    def _serve(self, now: float, deadline: float, *, reading: bool) -> float:
        """Wait for either socket and serve it; return the time after. One system call a wait.

        An inlet that is about to connect is read in any case, as far as a turn holds: what holds
        back the broker's messages must not hold back its answers.
        """
        inlet, outlet = self._inlet, self._outlet
        if now >= self._tend_due:
            self._tend()
        if not reading and not inlet.subscribed:
            reading = inlet.has_room
        unread = False
        if not (self._steady and reading):
            unread = inlet.watch(reading=reading)
            outlet.watch()
        wait = 0.0 if unread else min(deadline, self._tend_due) - now
        ready = self._poll.poll(max(0.0, wait) * 1000)
        self._steady = reading and not unread and inlet.events == outlet.events == select.POLLIN
        if unread:
            inlet.read()
        for fileno, event in ready:
            if fileno == inlet.fileno:
                if (reading or event & BROKEN) and not unread:
                    self._steady = inlet.read() and self._steady
            elif fileno == outlet.fileno:
                self._steady = False
                outlet.read()
                outlet.pump()
        if inlet.changes + outlet.changes != self._tended_changes:
            self._tend()
        self.served_monotonic = time.monotonic()
        return self.served_monotonic

    def _due(self) -> float:
        """When to tend next, on the monotonic clock."""
        inlet, outlet = self._inlet, self._outlet
        return min(inlet.tend_due, outlet.tend_due) if self._needs_outlet() else inlet.tend_due

    def _needs_outlet(self) -> bool:
        """Whether the outlet is to be tended: it follows the inlet, but if it has what to send.

        Then nothing is read before that is gone, and so the inlet may wait for the outlet.
        """
        outlet = self._outlet
        return self._inlet.subscribed or outlet.connected or outlet.waiting_to_send > 0

    def _tend(self) -> None:
        """Connect, keep alive, and tell when that changes."""
        inlet, outlet = self._inlet, self._outlet
        self._steady = False
        inlet.tend()
        if self._needs_outlet():
            outlet.tend()
            outlet.pump()
        self._tended_changes = inlet.changes + outlet.changes
        self._tend_due = self._due()
        self._version5 = inlet.protocol == "5"
        connected = self.connected
        if connected != self._told_connected:
            self._told_connected = connected
            self._metrics.connected.set(connected)
            if connected:
                log.info("connected to %s with MQTT %s", self._where, self.protocol)
