"""Connects a client to the broker, keeps it connected, and replaces it after a loss.

A new paho client is created for each attempt, because paho resends its whole queue at once after a
reconnect. All callbacks of a client are methods here or in `Outbox`. They are collected in the
constructor of `ClientLifecycle` and set in the constructor of each client.
"""

import logging
import select
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import LogLevel, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edgeai.config.broker import Broker
from edgeai.log_events import event
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.broker_limits import Terms, describe_terms, limits_of
from edgeai.mqtt.client_factory import ClientFactory, LastWill, Status, will_of
from edgeai.mqtt.connection_log import ConnectionLog
from edgeai.mqtt.inbox import Inbox
from edgeai.mqtt.outbox import Outbox
from edgeai.mqtt.paho_client import Callbacks, PahoClient
from edgeai.mqtt.polled_socket import PolledSocket
from edgeai.mqtt.reconnect import VERSION_NAMES, ReconnectSchedule
from edgeai.mqtt.redelivery import Redelivery
from edgeai.mqtt.retained_reader import RetainedReader
from edgeai.mqtt.subscriptions import Subscriptions
from edgeai.mqtt.tls import describe_tls_error, in_words, peer_expiry_seconds

log = logging.getLogger("edgeai.mqtt")

# Reason codes (MQTT 5.0, section 2.4)
UNSUPPORTED_PROTOCOL_VERSION = 0x84
SESSION_TAKEN_OVER = 0x8E
RETAIN_NOT_SUPPORTED, QOS_NOT_SUPPORTED = 0x9A, 0x9B
KEEP_ALIVE_CHECK_SECONDS = 1.0
CLOSED_ALTHOUGH_ACCEPTED = " (does it limit the number of connections? It has accepted one before)"


class ClientLifecycle:
    """The current client of a connection, and whether the broker has accepted it."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        subscriptions: dict[str, int],
        metrics: Metrics,
        *,
        optional: Sequence[str],
        kept_filters: Path | None,
        redelivery: Redelivery | None,
        retained: RetainedReader | None,
        status: Status | None,
        will: LastWill | None,
        poll: "select.poll | None",
        inbox: Inbox,
        outbox: Outbox,
        told: ConnectionLog,
    ) -> None:
        """Prepare; the first `maintain` connects.

        Args:
            broker: Address, credentials, TLS and session.
            client_id: Must be unique at the broker.
            subscriptions: QoS by topic filter.
            metrics: Metrics of the connection.
            optional: Topic filters that the broker may refuse.
            kept_filters: File that keeps the topic filters of the session; None: none does.
            redelivery: Sorts the messages that follow a reconnect.
            retained: Reads own retained topics once; None: nothing is read.
            status: Published retained after CONNACK, and set as the last will.
            will: The last will of a connection without a status; None: there is none.
            poll: Poll object to register the socket in; None for one of its own.
            inbox: Receives messages.
            outbox: Sends again after a loss what was not acknowledged.
            told: What the log says of the connections to this broker.

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        self._client_id = client_id
        self._metrics = metrics
        self._address = f"{broker.host}:{broker.port}"
        self._close_hint = _describe_close_hint(broker)
        self._inbox = inbox
        self._outbox = outbox
        self._redelivery = redelivery
        self._retained = retained or RetainedReader([], lambda *_: None)
        self._subscriptions = Subscriptions(
            subscriptions, client_id, broker, metrics, kept_filters, optional=optional
        )
        self._reconnect = ReconnectSchedule(
            broker, client_id, told, has_will=(status or will) is not None
        )
        self._told = told
        self._told_terms = Terms()
        """The terms that the user was told last."""
        self._clients = ClientFactory(
            broker,
            client_id,
            keep_session=self._subscriptions.keep_session,
            inbox=inbox,
            callbacks=Callbacks(
                on_socket_open=self._on_socket_open,
                on_connect=self._on_connect,
                on_disconnect=self._on_disconnect,
                on_subscribe=self._on_subscribe,
                on_unsubscribe=self._on_unsubscribe,
                on_log=self._on_log,
                on_puback=outbox.acknowledge,
                on_pingresp=outbox.confirmation.on_answer,
            ),
        )
        self._watch_certificates()
        self._connack_deadline = 0.0  # monotonic seconds
        self._next_keep_alive_check = 0.0  # monotonic seconds
        self._socket_error = ""
        self.polled = PolledSocket(poll)
        self.status = status
        self._will = will
        self.client: PahoClient | None = None
        """The client that is connecting or connected; None while waiting for the next attempt."""
        self.connected = False
        """Whether the broker has accepted the connection (CONNACK)."""
        self.state_changes = 0
        """Increases when `next_maintenance`, `connected` or `subscribed` may have changed."""

    @property
    def subscribed(self) -> bool:
        """Whether the broker has accepted the connection and answered every subscription."""
        return self.connected and not self._subscriptions.unanswered

    @property
    def fault(self) -> str | None:
        """Why messages cannot flow, as text for the user; None if they can."""
        if not self.connected:
            return self._reconnect.last_error or f"not connected to {self._address}"
        if self._subscriptions.refused:
            return f"the broker refuses the subscription {self._subscriptions.refused[0]}"
        return self._outbox.fault

    @property
    def protocol(self) -> str | None:
        """The MQTT version in use, `5` or `3.1.1`; None while not connected."""
        return VERSION_NAMES[self._reconnect.version] if self.connected else None

    @property
    def next_maintenance(self) -> float:
        """When to call `maintain` next, in seconds of the monotonic clock."""
        if self.client is None:
            return self._reconnect.next_attempt
        if self.connected:
            return self._next_keep_alive_check
        return min(self._next_keep_alive_check, self._connack_deadline)

    def maintain(self) -> None:
        """Connect if it is time to, keep the connection alive, close it if the broker is silent."""
        now = time.monotonic()
        client = self.client
        if client is None:
            if now >= self._reconnect.next_attempt:
                self._connect()
            return
        if not self.connected and now > self._connack_deadline:
            self._fail(f"{self._address} does not answer as an MQTT broker", may_be_version=True)
        elif now >= self._next_keep_alive_check:
            self._next_keep_alive_check = now + KEEP_ALIVE_CHECK_SECONDS
            if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lose("the broker does not answer")
            elif self.connected:
                if self._outbox.confirmation.mark(now):
                    client.ping()
                self._outbox.tick(now)
                self._told.poll(now)
                self._retained.end_if_due(client, now)

    def take_retained(self) -> None:
        """Hand over the messages of a connection that reads own retained topics."""
        self._retained.take(self._inbox.drain())

    def flush(self) -> None:
        """Send what waits in paho's queue, as far as the socket takes it."""
        client = self.client
        if client is not None and client.want_write():
            client.loop_write()

    def handle_closed_socket(self, client: PahoClient) -> None:
        """Handle the end of the connection if paho closed the socket without a callback."""
        self._on_disconnect(client, None, None, ReasonCode(PacketTypes.DISCONNECT), None)

    def disconnect(self, deadline: float, *, send_disconnect: bool) -> None:
        """Close the connection; this is not reported as a loss.

        Args:
            deadline: Until when DISCONNECT may take, in seconds of the monotonic clock.
            send_disconnect: Whether to send DISCONNECT. Without it the broker publishes the last
                will.
        """
        client, connected = self.client, self.connected
        self.connected = False
        if client is not None and connected and send_disconnect:
            client.on_disconnect = None
            client.disconnect()
            while client.want_write() and time.monotonic() < deadline:
                client.loop_write()
            self._outbox.confirmation.restart()  # all was sent before DISCONNECT
        if connected:
            self._subscriptions.on_disconnected()
        self._drop_client()

    def _connect(self) -> None:
        """Open the socket and send CONNECT; `read_packets` receives the CONNACK."""
        self._socket_error = ""
        schedule = self._reconnect
        self._told.note_files(self._clients.credentials.refresh())
        self._watch_certificates()
        client = self.client = self._clients.create(
            schedule.version, will_of(self.status, self._will), schedule.terms
        )
        try:
            self._clients.connect(client)
        except (OSError, ValueError) as error:
            cause = describe_tls_error(error)
            self._fail(f"cannot connect to {self._address}: {cause}", may_be_version=False)
            return
        self._connack_deadline = time.monotonic() + self._reconnect.connack_seconds
        self._next_keep_alive_check = time.monotonic() + KEEP_ALIVE_CHECK_SECONDS
        self.flush()

    def _watch_certificates(self) -> None:
        """Export and tell when the certificates of the files expire."""
        for one in self._clients.credentials.expiries:
            self._metrics.certificate_expires(one.label, one.at_seconds)
            self._told.watch(one.words, one.at_seconds)

    def _fail(
        self, cause: str, *, may_be_version: bool, may_be_will: bool = False, detail: str = ""
    ) -> None:
        """End an attempt to connect."""
        self._metrics.connect_failures.inc()
        self._drop_client()
        self._reconnect.on_failed(
            cause, may_be_version=may_be_version, may_be_will=may_be_will, detail=detail
        )

    def _lose(self, cause: str, *, taken_over: bool = False) -> None:
        """Handle the loss of an accepted connection."""
        self._subscriptions.on_lost()
        self._retained.on_lost()
        unconfirmed = self._outbox.confirmation.restart()
        detail = ""
        if unconfirmed:
            self._metrics.unconfirmed.inc(unconfirmed)
            detail = f"; {unconfirmed} publications at QoS 0 before that are not confirmed"
        self._drop_client()
        is_told = self._reconnect.on_lost(cause, detail, taken_over=taken_over)
        if unconfirmed and not is_told:
            log.warning(
                "%s: %d publications at QoS 0 before the loss are not confirmed",
                self._client_id, unconfirmed,
                extra=event("publications_unconfirmed", client=self._client_id, count=unconfirmed),
            )  # fmt: skip

    def _drop_client(self) -> None:
        """Close the client; unacknowledged publications wait for the next client."""
        client, self.client = self.client, None
        self.connected = False
        self.state_changes += 1
        self.polled.unregister()
        inbox = self._inbox
        if self._redelivery is not None and inbox.acks:  # these messages will be taken
            self._redelivery.remember(inbox.acks.copy(), inbox.messages.copy(), inbox.size)
        inbox.forget_acks()
        self._subscriptions.forget_answers()
        self._outbox.requeue_unacknowledged()
        if client is not None:
            sock = client.socket()
            if sock is not None:
                sock.close()

    # ---------------------------------------------------------------------------- callbacks of paho

    def _on_socket_open(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        self.polled.register(sock)

    def _on_log(self, _client: paho.Client, _userdata: Any, level: int, text: str) -> None:
        """Store why the socket failed; paho reports it nowhere else (a TLS alert, for example)."""
        if level == LogLevel.MQTT_LOG_ERR:
            self._socket_error = f": {in_words(text.partition('socket: ')[2] or text)}"

    def _on_connect(
        self, client: paho.Client, _userdata: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        """Handle CONNACK: subscribe, and publish the status."""
        schedule = self._reconnect
        if reason.is_failure:
            cause = f"{self._address} refuses the connection: {reason}"
            if reason.value in {RETAIN_NOT_SUPPORTED, QOS_NOT_SUPPORTED}:
                self._metrics.connect_failures.inc()
                self._drop_client()
                what = {"retain": False} if reason.value == RETAIN_NOT_SUPPORTED else {"max_qos": 0}
                schedule.on_terms_refused(schedule.terms._replace(**what), cause)
                return
            self._fail(cause, may_be_version=reason.value == UNSUPPORTED_PROTOCOL_VERSION)
            return
        client.on_log = None  # paho would call it for each packet
        self.connected = self._told.was_accepted = True
        self.state_changes += 1
        schedule.on_connected()
        limits = limits_of(properties, schedule.version, schedule.terms)
        self._outbox.set_broker_limits(limits)
        if self.status is not None and limits.terms != self._told_terms:
            self._told_terms = limits.terms
            if limits.terms != Terms():
                text = describe_terms(limits.terms)
                log.warning(
                    "%s: %s", self._client_id, text,
                    extra=event("broker_limits", client=self._client_id, reason=text),
                )  # fmt: skip
        self._metrics.connects.inc()
        expiry_seconds = peer_expiry_seconds(client.socket())
        if expiry_seconds is not None:
            self._metrics.certificate_expires("broker", expiry_seconds)
            self._told.watch("of the broker", expiry_seconds)
        log.debug("%s connected with MQTT %s", self._client_id, self.protocol)
        if self._redelivery is not None:
            self._redelivery.begin(session_present=flags.session_present)
        self._subscriptions.send(client, session_present=flags.session_present)
        self._retained.begin(client, has_retained=limits.terms.retain)
        if self.status is not None:
            # An older status that was in flight on the last connection must not follow this one.
            self._outbox.drop_topic(self.status.topic)
            online = Publication(self.status.topic, self.status.online, 1, True)
            self._outbox.add_first([online])

    def _on_subscribe(
        self,
        client: paho.Client,
        _userdata: Any,
        packet_id: int,
        reasons: list[ReasonCode],
        _props: Any,
    ) -> None:
        """Handle SUBACK."""
        self.state_changes += 1
        self._subscriptions.on_suback(client, packet_id, reasons)
        self._retained.on_suback(packet_id, reasons)

    def _on_unsubscribe(
        self, _client: Any, _userdata: Any, packet_id: int, _reasons: Any, _props: Any
    ) -> None:
        """Handle UNSUBACK."""
        self._subscriptions.on_unsuback(packet_id)

    def _on_disconnect(
        self, client: paho.Client, _userdata: Any, flags: Any, reason: ReasonCode, _props: Any
    ) -> None:
        """Handle the end of the connection, unless the client was already replaced."""
        if client is not self.client:
            return
        if self.connected:
            by_packet = flags is not None and flags.is_disconnect_packet_from_server
            why = str(reason) if by_packet else "the broker or the network closed it"
            self._lose(f"connection lost: {why}", taken_over=reason.value == SESSION_TAKEN_OVER)
        else:
            hint = CLOSED_ALTHOUGH_ACCEPTED if self._told.was_accepted else self._close_hint
            cause = f"{self._address} closed the connection{hint}"
            self._fail(cause, may_be_version=True, may_be_will=True, detail=self._socket_error)


def _describe_close_hint(broker: Broker) -> str:
    """Return what a broker may require that closes the connection without a CONNACK."""
    if broker.tls is None:
        return " (does it want TLS, broker.tls?)"
    if broker.tls.cert_file is None:
        return " (does it want a client certificate, broker.tls.cert_file?)"
    return ""
