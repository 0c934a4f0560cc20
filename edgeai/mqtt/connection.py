"""A connection to the broker, driven by the caller's thread: no thread of paho's runs.

`receive` waits, reads and keeps the connection alive; `publish` sends; `commit` acknowledges. A
lost connection is made anew with back-off inside `receive`, and nothing here raises because of the
network. What paho would do on its own and we do instead, because of what was measured
(docs/mqtt.md): a fresh client for each attempt (no stale queue resent in a burst), our own window
of unacknowledged publications (paho ignores the broker's Receive Maximum), TCP_NODELAY, and
callbacks that cannot raise into paho's loop.
"""

import logging
import select
import socket
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import LogLevel, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edgeai.config.node import Broker, Limits
from edgeai.messages import Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.client_factory import Clients, Status
from edgeai.mqtt.inbox import DROPS_TOPIC, Inbox
from edgeai.mqtt.outbox import Outbox
from edgeai.mqtt.paho_client import PlainClient, keep
from edgeai.mqtt.reconnect import VERSION_NAMES, Attempts

log = logging.getLogger("edgeai.mqtt")

UNSUPPORTED_PROTOCOL = 0x84
MAX_WAIT_SECONDS = 1.0


class Connection:
    """One client of a broker: subscriptions in, publications out."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        subscriptions: dict[str, int],
        limits: Limits,
        metrics: Metrics,
        *,
        status: Status | None = None,
        poll: "select.poll | None" = None,
    ) -> None:
        """Prepare; the first connection is made by `receive`.

        Args:
            broker: Where and how.
            client_id: Must be this client's alone.
            subscriptions: QoS by topic filter.
            limits: Bounds of a turn, a payload, and what waits to be sent.
            metrics: Counts of the connection.
            status: Published retained when connected and on `close`, and set as last will.
            poll: Where to register the socket, when others are to be waited for as well.

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        self._client_id = client_id
        self._subscriptions = subscriptions
        self._limits = limits
        self._metrics = metrics
        self._status = status
        self._clients = Clients(
            broker, client_id, keep_session=any(qos > 0 for qos in subscriptions.values())
        )
        self._attempts = Attempts(broker, client_id)
        self._where = f"{broker.host}:{broker.port}"
        self._guess = ""
        """What a broker may want that closes the connection without a word."""
        if broker.tls is None:
            self._guess = " (does it want TLS, broker.tls?)"
        elif broker.tls.cert_file is None:
            self._guess = " (does it want a client certificate, broker.tls.cert_file?)"

        self._client: PlainClient | None = None
        self._connected = False
        self._answer_due = 0.0
        """To CONNECT, on the monotonic clock."""
        self._next_misc = 0.0
        self._refused_filters: list[str] = []
        self._subscribed: dict[int, list[str]] = {}
        self._poll = poll or select.poll()
        self.fileno: int | None = None
        """The socket, as it is registered to be polled; None while there is none."""
        self.events = 0
        """What it is polled for."""
        self.left_bytes = 0
        """Bytes that the socket may hold without waking us."""
        self.changes = 0
        """Goes up whenever what `tend_due`, `connected` or `subscribed` say may have changed."""

        self._inbox = Inbox(limits, metrics)
        self.owed: list[int] = []
        """Packet ids of what `receive` has returned and `commit` will acknowledge."""
        self._outbox = Outbox(metrics)
        self._socket_error = ""

    # --------------------------------------------------------------------------- what others call

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._connected

    @property
    def fault(self) -> str | None:
        """Why messages cannot flow, in words for a person; None when all is well."""
        if not self._connected:
            return self._attempts.told or f"not connected to {self._where}"
        if self._refused_filters:
            return f"the broker refuses the subscription {self._refused_filters[0]}"
        return None

    @property
    def protocol(self) -> str | None:
        """The MQTT version in use, `5` or `3.1.1`; None while not connected."""
        return VERSION_NAMES[self._attempts.version] if self._connected else None

    @property
    def waiting_to_send(self) -> int:
        """Publications that the broker does not have yet, as far as we know."""
        return len(self._outbox)

    @property
    def subscribed(self) -> bool:
        """Whether the broker has accepted us and answered every subscription."""
        return self._connected and not self._subscribed

    @property
    def has_room(self) -> bool:
        """Whether `read` would read: the bounds of a turn are not reached."""
        return not self._inbox.full

    @property
    def has_messages(self) -> bool:
        """Whether `take` would return any."""
        return bool(self._inbox.messages)

    @property
    def taken_bytes(self) -> int:
        """Payload bytes of what `take` returned last."""
        return self._inbox.taken_bytes

    def receive(self, timeout_seconds: float) -> list[Message]:
        """Return what has arrived, waiting for the first message at most so long."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.tend()
            self.read()
            self.pump()
            now = time.monotonic()
            if self.has_messages or now >= deadline:
                return self.take()
            unread = self.watch()
            wait = 0.0 if unread else min(deadline, self.tend_due) - now
            self._poll.poll(max(0.0, wait) * 1000)

    def take(self) -> list[Message]:
        """Return what was read; `commit` will acknowledge it."""
        messages, acks = self._inbox.take()
        self.owed += acks
        return messages

    def send(self, publications: list[Publication]) -> bool:
        """Send in this order; what cannot be sent now waits for `pump`, however much it is.

        Returns:
            Whether it is certain that the socket has it all and nobody is asked for it any more.
        """
        client = self._client
        if client is not None and self._connected and self._outbox.may_be_passed_by:
            taken = client.send_at_once(publications)
            if taken is not None and client is self._client:
                return taken
            if taken is not None:  # lost meanwhile
                self._outbox.add(publications)
                return False
        self._outbox.add(publications)
        self.pump()
        return False

    def publish(self, publications: list[Publication]) -> None:
        """Send in this order; beyond the limit the oldest of what waits is dropped and counted."""
        self.send(publications)
        self._outbox.drop_oldest(self._limits.outgoing_messages)

    def commit(self) -> None:
        """Acknowledge the QoS 1 messages that `receive` returned."""
        owed, self.owed = self.owed, []
        if owed and self._client is not None:
            self._client.send_acks(owed)

    def announce(self, status: Status) -> None:
        """Replace the status, and publish it if connected; the last will stays what it was."""
        self._status = status
        if self._connected:
            self._outbox.forget(status.topic)
            self.send([Publication(status.topic, status.online, 1, True)])

    def close(self, timeout_seconds: float = 2.0) -> bool:
        """Send what waits, publish the offline status, disconnect; return whether all was sent."""
        deadline = time.monotonic() + timeout_seconds
        if self._connected and self._status is not None:
            self._outbox.add([Publication(self._status.topic, self._status.offline, 1, True)])
        while self._connected and self.waiting_to_send and time.monotonic() < deadline:
            self.pump()
            self.read()
            self._inbox.take()  # not acknowledged: the broker keeps what it must
            self.watch()
            self._poll.poll(20)
        sent = self.waiting_to_send == 0
        client, connected = self._client, self._connected
        self._connected = False  # what follows is no loss
        # Without the offline status, no DISCONNECT: the last will is to tell that we are gone.
        if client is not None and connected and sent:
            client.on_disconnect = None
            client.disconnect()
            while client.want_write() and time.monotonic() < deadline:
                client.loop_write()
        self._drop_client()
        return sent

    # --------------------------------------------------------------------------------- connecting

    def tend(self) -> None:
        """Connect when it is time to, keep alive, give up on a broker that does not answer."""
        now = time.monotonic()
        client = self._client
        if client is None:
            if now >= self._attempts.due:
                self._connect()
            return
        if not self._connected and now > self._answer_due:
            self._fail(f"{self._where} does not answer as an MQTT broker", may_be_version=True)
        elif now >= self._next_misc:
            self._next_misc = now + MAX_WAIT_SECONDS
            if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lose("the broker does not answer")

    def _connect(self) -> None:
        """Open the socket and send CONNECT; the answer comes through `receive`."""
        client = self._clients.new(self._attempts.version, self._status)
        self._hear_from(client)
        self._client = client
        try:
            self._clients.connect(client)
        except (OSError, ValueError) as error:
            # Of certificates, `strerror` is the whole text; a time out has none.
            why = (error.strerror if isinstance(error, OSError) else None) or error
            self._fail(f"cannot connect to {self._where}: {why}", may_be_version=False)
            return
        self._answer_due = time.monotonic() + self._attempts.answer_seconds
        self._next_misc = time.monotonic() + MAX_WAIT_SECONDS
        self._flush()

    def _hear_from(self, client: PlainClient) -> None:
        """Be told what happens to a client."""
        client.on_connect = _guarded(self._on_connect)
        client.on_disconnect = _guarded(self._on_disconnect)
        client.attach(self._inbox, _guarded(self._outbox.acknowledged))
        client.on_message = _guarded(keep)
        client.on_subscribe = _guarded(self._on_subscribe)
        client.on_socket_open = _guarded(self._on_socket_open)
        client.on_log = _guarded(self._on_log)
        self._socket_error = ""

    def _on_socket_open(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        # With Nagle's algorithm a small packet waits for the acknowledgement of the one before: 20
        # to 40 ms measured on loopback.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fileno = sock.fileno()
        self.events = select.POLLIN
        self.left_bytes = 0
        self._poll.register(self.fileno, self.events)

    def _on_log(self, _client: paho.Client, _userdata: Any, level: int, text: str) -> None:
        """Keep why the socket failed: paho says it nowhere else (a TLS alert after CONNECT)."""
        if level == LogLevel.MQTT_LOG_ERR:
            self._socket_error = f": {text.partition('socket: ')[2] or text}"

    def _on_connect(
        self, client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            is_version = reason.value == UNSUPPORTED_PROTOCOL
            self._fail(f"{self._where} refuses us: {reason}", may_be_version=is_version)
            return
        client.on_log = None  # it would be called for each packet
        self._connected = True
        self.changes += 1
        self._attempts.stands()
        self._refused_filters = []
        self._outbox.allow(
            getattr(properties, "ReceiveMaximum", None),
            getattr(properties, "MaximumPacketSize", None),
        )
        self._metrics.connects.inc()
        log.debug("%s connected with MQTT %s", self._client_id, self.protocol)
        own = [(DROPS_TOPIC, 0)] if self._subscriptions else []
        for topic_filter, qos in [*self._subscriptions.items(), *own]:
            _, mid = client.subscribe(topic_filter, qos)
            if mid is not None:
                self._subscribed[mid] = [topic_filter]
        if self._status is not None:
            # One that was under way when the last connection ended would be sent after this one.
            self._outbox.forget(self._status.topic)
            online = Publication(self._status.topic, self._status.online, 1, True)
            self._outbox.add_first([online])

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, mid: int, reasons: list[ReasonCode], _props: Any
    ) -> None:
        self.changes += 1
        for topic_filter, reason in zip(self._subscribed.pop(mid, []), reasons, strict=False):
            if reason.is_failure and topic_filter != DROPS_TOPIC:
                self._refused_filters.append(topic_filter)
                log.error("the broker refuses the subscription %s: %s", topic_filter, reason)

    def _on_disconnect(
        self, client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _props: Any
    ) -> None:
        if client is not self._client:
            return
        if self._connected:
            self._lose(f"connection lost: {reason}")
        else:
            why = f"{self._where} closed the connection{self._guess}"
            self._fail(why, may_be_version=True, detail=self._socket_error)

    def _fail(self, why: str, *, may_be_version: bool, detail: str = "") -> None:
        """Give up this attempt."""
        self._metrics.connect_failures.inc()
        self._drop_client()
        self._attempts.failed(why, may_be_version=may_be_version, detail=detail)

    def _lose(self, why: str) -> None:
        """Note the end of a connection that stood."""
        self._drop_client()
        self._attempts.lost(why)

    def _drop_client(self) -> None:
        """Let go of the client; what it had not got acknowledged waits for the next."""
        client, self._client = self._client, None
        self._connected = False
        self.changes += 1
        if self.fileno is not None:
            self._poll.unregister(self.fileno)
            self.fileno = None
        self._inbox.acks.clear()  # a packet id means nothing on another connection
        self.owed.clear()
        self._subscribed.clear()
        self._outbox.send_again()
        if client is not None:
            sock = client.socket()
            if sock is not None:
                sock.close()

    # ------------------------------------------------------------------------------------ reading

    @property
    def tend_due(self) -> float:
        """When `tend` is to be called next, on the monotonic clock."""
        if self._client is None:
            return self._attempts.due
        return self._next_misc if self._connected else min(self._next_misc, self._answer_due)

    def watch(self, *, reading: bool = True) -> bool:
        """Say what to poll the socket for; return whether `read` has something without it.

        Args:
            reading: False leaves what arrives in the socket: back-pressure.
        """
        client = self._client
        if client is None or self.fileno is None:
            return False
        events = (select.POLLIN if reading else 0) | (select.POLLOUT if client.want_write() else 0)
        if events != self.events:
            self.events = events
            self._poll.modify(self.fileno, events)
        return reading and client.has_unread()

    @property
    def has_unread(self) -> bool:
        """Whether `read` would find a packet without waiting for the socket."""
        return self._client is not None and self._client.has_unread()

    def leave_in_socket(self, count: int) -> bool:
        """Let the socket wake us only when more than so many bytes have come; whether it will."""
        client = self._client
        if client is None or self.fileno is None or count == self.left_bytes == 0:
            return False
        sock: Any = client.socket()
        count = max(0, count - client.unread_bytes)
        if sock is not None and count != self.left_bytes:
            self.left_bytes = count
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count + 1)
        return count > 0

    def read(self) -> bool:
        """Read packets while there are any, up to the bounds of a turn.

        Returns:
            Whether it is certain that nothing is left to write, or of what was read.
        """
        client = self._client
        if client is None:
            return False
        if client.read_packets():
            return True
        if client is self._client and client.socket() is None:
            self._on_disconnect(client, None, None, ReasonCode(PacketTypes.DISCONNECT), None)
        self._flush()
        return False

    # ------------------------------------------------------------------------------------ sending

    def pump(self) -> None:
        """Give paho what waits, as far as the broker and the socket take it."""
        client = self._client
        while client is not None and self._connected:
            if client.want_write():
                self._flush()
                if client is not self._client or client.want_write():
                    return  # the socket is full: the rest waits here, not inside paho
            batch = self._outbox.next_batch()
            if not batch:
                return
            packet_ids = list(client.send_publications(batch))
            if client is not self._client:  # lost meanwhile; it is queued again
                return
            self._outbox.sent(batch, packet_ids)

    def _flush(self) -> None:
        client = self._client
        if client is not None and client.want_write():
            client.loop_write()


def _guarded(callback: Callable[..., None]) -> Callable[..., None]:
    """Wrap a callback so that nothing escapes into paho's loop, which an exception would end."""

    def call(*arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:
            log.exception("error in %s; the message is skipped", callback.__name__)

    return call
