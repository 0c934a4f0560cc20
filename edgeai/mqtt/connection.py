"""One connection to the broker, driven by the thread that calls it; paho's own thread is not used.

`receive` waits for messages, reads them and keeps the connection alive; `publish` sends; `commit`
acknowledges. `receive` also connects again after a loss, with a growing wait. Errors of the network
never raise an exception here. `ClientLifecycle` connects and disconnects; this module moves
messages between the current client, the inbox and the outbox.
"""

import select
import time
from collections.abc import Sequence
from pathlib import Path

from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.messages import Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.client_factory import LastWill, Status
from edgeai.mqtt.client_lifecycle import ClientLifecycle
from edgeai.mqtt.connection_log import ConnectionLog
from edgeai.mqtt.inbox import Inbox
from edgeai.mqtt.outbox import Outbox
from edgeai.mqtt.redelivery import Redelivery
from edgeai.mqtt.retained_reader import RetainedReader

CLOSE_POLL_MS = 20


class Connection:
    """One MQTT client: subscriptions in, publications out."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        subscriptions: dict[str, int],
        limits: Limits,
        metrics: Metrics,
        *,
        optional: Sequence[str] = (),
        kept_filters: Path | None = None,
        redelivery: Redelivery | None = None,
        retained: RetainedReader | None = None,
        status: Status | None = None,
        will: LastWill | None = None,
        poll: "select.poll | None" = None,
        told: ConnectionLog | None = None,
        keeps_properties: bool = False,
    ) -> None:
        """Prepare; the first `receive` connects.

        Args:
            broker: Address, credentials, TLS and session.
            client_id: Must be unique at the broker.
            subscriptions: QoS by topic filter.
            limits: Limits of a turn, of a payload, and of publications that wait.
            metrics: Metrics of the connection.
            optional: Topic filters that the broker may refuse, as for `Subscriptions`.
            kept_filters: File that keeps the topic filters of the session; None: none does.
            redelivery: Sorts the messages that follow a reconnect, for a caller that uses it.
            retained: Reads own retained topics once; None: nothing is read.
            status: Published retained after connecting and in `close`, and set as the last will.
            will: The last will of a connection without a status; None: there is none.
            poll: Poll object to register the socket in, if the caller polls others as well.
            told: Shared by connections to one broker, so that each cause is told once.
            keeps_properties: Whether messages keep their user properties (MQTT 5).

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        self._max_waiting = limits.outgoing_messages
        self._outbox = Outbox(metrics, broker.keepalive_seconds)
        self.inbox = Inbox(limits, metrics, keeps_properties=keeps_properties)
        self.lifecycle = ClientLifecycle(
            broker,
            client_id,
            subscriptions,
            metrics,
            optional=optional,
            kept_filters=kept_filters,
            redelivery=redelivery,
            retained=retained,
            status=status,
            will=will,
            poll=poll,
            inbox=self.inbox,
            outbox=self._outbox,
            told=told or ConnectionLog(),
        )
        self.polled = self.lifecycle.polled

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection (CONNACK)."""
        return self.lifecycle.connected

    @property
    def fault(self) -> str | None:
        """Why messages cannot flow, as text for the user; None if they can."""
        return self.lifecycle.fault

    @property
    def protocol(self) -> str | None:
        """The MQTT version in use, `5` or `3.1.1`; None while not connected."""
        return self.lifecycle.protocol

    @property
    def waiting_to_send(self) -> int:
        """Number of publications that the broker may not have received."""
        return len(self._outbox)

    # ---------------------------------------------------------------------------------- receiving

    def receive(self, timeout_seconds: float) -> list[Message]:
        """Return the messages that have arrived; wait for the first until the timeout."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.lifecycle.maintain()
            self.read()
            self.pump()
            now = time.monotonic()
            if self.inbox.messages or now >= deadline:
                return self.inbox.take()
            unread = self.watch()
            wait = 0.0 if unread else min(deadline, self.lifecycle.next_maintenance) - now
            self.polled.poll.poll(max(0.0, wait) * 1000)

    def read(self) -> bool:
        """Read packets until the socket is empty or a limit of a turn is reached.

        Returns:
            True only if the connection is open, nothing waits to be written and all bytes read were
            processed.
        """
        lifecycle = self.lifecycle
        client = lifecycle.client
        if client is None:
            return False
        if client.read_packets():
            return True
        if client is lifecycle.client and client.socket() is None:
            lifecycle.handle_closed_socket(client)
        lifecycle.flush()
        return False

    def serve_publisher(self) -> None:
        """Read the answers to publications, and send what they leave room for."""
        self.read()
        while self.inbox.messages:
            self.lifecycle.take_retained()
            self.read()
        self.pump()

    def commit(self) -> None:
        """Acknowledge the QoS 1 messages that `receive`, or `inbox.take`, returned."""
        inbox, client = self.inbox, self.lifecycle.client
        packet_ids, inbox.unacknowledged = inbox.unacknowledged, []
        if packet_ids and client is not None:
            try:
                client.send_acks(packet_ids)
            except Exception:  # the next call acknowledges them
                inbox.unacknowledged = packet_ids + inbox.unacknowledged
                raise

    def watch(self, *, reading: bool = True) -> bool:
        """Set the events that the socket is polled for.

        Args:
            reading: False leaves arriving bytes in the socket; the broker then has to wait.

        Returns:
            Whether bytes wait to be processed that polling the socket does not show.
        """
        client, polled = self.lifecycle.client, self.polled
        if client is None or polled.fileno is None:
            return False
        events = (select.POLLIN if reading else 0) | (select.POLLOUT if client.want_write() else 0)
        if events != polled.events:
            polled.set_events(events)
        return reading and client.has_unread()

    @property
    def has_unread(self) -> bool:
        """Whether `read` would find a packet without waiting for the socket."""
        client = self.lifecycle.client
        return client is not None and client.has_unread()

    def leave_in_socket(self, count: int) -> bool:
        """Wake the poll only when more than this number of bytes has come; return if that is set.

        Args:
            count: Number of bytes, including bytes read of a packet that is still incomplete.
        """
        client, polled = self.lifecycle.client, self.polled
        if client is None or polled.fileno is None or count == polled.deferred_bytes == 0:
            return False
        sock = client.socket()
        count = max(0, count - client.unread_bytes)
        if sock is not None and count != polled.deferred_bytes:
            polled.set_deferred_bytes(sock, count)
        return count > 0

    # ------------------------------------------------------------------------------------ sending

    def publish(self, publications: list[Publication]) -> None:
        """Send in this order; if too many wait, drop and count the oldest."""
        self.send(publications)
        self._outbox.drop_oldest(self._max_waiting)

    def send(self, publications: list[Publication]) -> bool:
        """Send in this order; all that cannot be sent now waits for `pump`, without a limit.

        Returns:
            True only if the socket took everything and no acknowledgement is expected.
        """
        lifecycle = self.lifecycle
        client = lifecycle.client
        if client is not None and lifecycle.connected and self._outbox.can_bypass:
            sent = client.send_at_once(publications)
            if sent is not None and client is lifecycle.client:
                self._outbox.confirmation.sent += len(publications)
                return sent
            if sent is not None:  # the connection was lost while sending
                self._outbox.add(publications)
                return False
        self._outbox.add(publications)
        self.pump()
        return False

    def pump(self) -> None:
        """Send waiting publications, up to the limits of the broker and of the socket."""
        lifecycle = self.lifecycle
        client = lifecycle.client
        while client is not None and lifecycle.connected:
            if client.want_write():
                lifecycle.flush()
                if client is not lifecycle.client or client.want_write():
                    return  # the socket is full: the rest waits here and not in paho's queue
            batch = self._outbox.next_batch()
            if not batch:
                return
            packet_ids = list(client.send_publications(batch, self._outbox.rights.is_known))
            if client is not lifecycle.client:  # the connection was lost; the batch is queued again
                return
            self._outbox.mark_sent(batch, packet_ids)

    def send_newest(self, publication: Publication) -> None:
        """Send a message that replaces those of its topic which have not been sent yet."""
        if len(self._outbox):
            self._outbox.drop_topic(publication.topic)
        self.send([publication])

    def announce(self, status: Status) -> None:
        """Replace the status and publish it if connected; the last will does not change."""
        self.lifecycle.status = status
        if self.lifecycle.connected:
            self._outbox.drop_topic(status.topic)
            self.send([Publication(status.topic, status.online, 1, True)])

    def close(self, timeout_seconds: float = 2.0) -> bool:
        """Send what waits and the offline status, and disconnect; return whether all was sent.

        If not all was sent, DISCONNECT is not sent either: the broker then publishes the last will
        in place of the offline status.
        """
        lifecycle = self.lifecycle
        status = lifecycle.status
        deadline = time.monotonic() + timeout_seconds
        if lifecycle.connected and status is not None:
            self._outbox.add([Publication(status.topic, status.offline, 1, True)])
        while lifecycle.connected and self.waiting_to_send and time.monotonic() < deadline:
            self.pump()
            self.read()
            self.inbox.take()  # never acknowledged, so the broker keeps QoS 1 messages
            self.watch()
            self.polled.poll.poll(CLOSE_POLL_MS)
        sent = self.waiting_to_send == 0
        lifecycle.disconnect(deadline, send_disconnect=sent)
        return sent
