"""A paho client without a fast path: one callback per message, one system call per packet sent.

It is used with versions of paho that `fast_client` was not tested with. All callbacks of paho are
set here, in the constructor. Each is wrapped by `guard`, because an exception that reaches paho's
loop would end the connection.
"""

import logging
import select
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edgeai.log_events import event
from edgeai.messages import REDELIVERED, RETAINED, Publication, with_properties
from edgeai.mqtt.inbox import Inbox

log = logging.getLogger("edgeai.mqtt")

PahoCallback = Callable[..., None]
OnPuback = Callable[[int, str | None], None]
"""Takes a packet id, and why the broker refused the publication (None: it was accepted)."""


@dataclass(frozen=True)
class Callbacks:
    """Functions of a connection that its client calls. Those of paho take paho's arguments."""

    on_socket_open: PahoCallback
    on_connect: PahoCallback  # at CONNACK
    on_disconnect: PahoCallback
    on_subscribe: PahoCallback  # at SUBACK
    on_unsubscribe: PahoCallback  # at UNSUBACK
    on_log: PahoCallback
    on_puback: OnPuback
    on_pingresp: Callable[[], None]


class PahoClient(paho.Client):
    """Reads messages, sends publications and acknowledgements through paho's public interface."""

    def __init__(
        self,
        client_id: str,
        protocol: MQTTProtocolVersion,
        *,
        keep_session: bool,
        inbox: Inbox,
        callbacks: Callbacks,
    ) -> None:
        """Prepare a client that is not connected.

        Args:
            client_id: Identifies the client to the broker.
            protocol: The MQTT version.
            keep_session: Whether the broker keeps the session after a disconnect. Used at version
                3.1.1; at version 5 it is an argument of `connect`.
            inbox: Receives the messages and the packet ids to acknowledge.
            callbacks: Called when something happens to the connection.
        """
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if protocol == MQTTProtocolVersion.MQTTv5 else not keep_session,
            protocol=protocol,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self.inbox = inbox
        self.on_puback = guard(callbacks.on_puback)
        self.on_socket_open = guard(callbacks.on_socket_open)
        self.on_connect = guard(callbacks.on_connect)
        self.on_disconnect = guard(callbacks.on_disconnect)
        self.on_subscribe = guard(callbacks.on_subscribe)
        self.on_unsubscribe = guard(callbacks.on_unsubscribe)
        self.on_log = guard(callbacks.on_log)
        self.on_message = guard(store_message)
        self.on_publish = guard(report_published)

    def read_packets(self) -> bool:
        """Read packets until the socket is empty or the inbox is full.

        Returns:
            True only if the connection is open, nothing waits to be written and all bytes read were
            processed. This class always returns False, because paho does not give this information.
        """
        while (sock := self.socket()) is not None and not self.inbox.full:
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN)
            if not poll.poll(0) and not self.has_unread():
                break
            self.loop_read()
        return False

    @property
    def unread_bytes(self) -> int:
        """Number of bytes read from the socket but not processed; always 0, paho hides it."""
        return 0

    def has_unread(self) -> bool:
        """Return whether the TLS layer holds bytes that polling the socket does not show."""
        sock = self.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def send_publications(
        self,
        publications: Iterable[Publication],
        is_known: Callable[[str], bool] | None = None,  # noqa: ARG002  there is no quicker way
    ) -> Iterable[int]:
        """Send publications and yield the packet id of each; the packet id is 0 at QoS 0.

        Args:
            publications: In their order.
            is_known: Whether `send_at_once` may send later ones to a topic; None: to any.
        """
        for publication in publications:
            qos = publication.qos
            sent = self.publish(publication.topic, publication.payload, qos, publication.retain)
            yield sent.mid if qos else 0

    def send_at_once(self, _publications: list[Publication]) -> bool | None:
        """Return None: paho has no quicker way to send publications at QoS 0."""
        return None

    def ping(self) -> None:
        """Do nothing: paho pings by itself, and does not say when it is answered."""

    def send_acks(self, packet_ids: list[int]) -> None:
        """Send a PUBACK for each packet id."""
        for packet_id in packet_ids:
            if self.ack(packet_id, 1) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return  # the connection is closed; the broker will send the messages again


def guard(callback: Callable[..., None]) -> Callable[..., None]:
    """Wrap a callback so that its exceptions are logged and do not reach paho's loop."""

    def guarded(*arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:
            name = callback.__name__
            log.exception(
                "error in the MQTT callback %s; the event is skipped", name,
                extra=event("callback_failed", callback=name),
            )  # fmt: skip

    return guarded


def store_message(client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
    """Put a message into the client's inbox; paho's `on_message`."""
    if message.qos > 0:
        client.inbox.acks.append(message.mid)
    try:
        topic = message.topic
    except UnicodeDecodeError:
        client.inbox.count_refused("invalid_topic")
        return
    flags = RETAINED if message.retain else 0
    if message.dup and message.qos > 0:  # it means nothing at QoS 0 (MQTT 5.0, 3.3.1.1)
        flags |= REDELIVERED
    payload = bytes(message.payload)
    if client.inbox.keeps_properties:
        payload = with_properties(payload, user_properties(message))
    client.inbox.add(topic, payload, flags=flags, packet_id=message.mid)


def user_properties(message: paho.MQTTMessage) -> dict[str, str]:
    """Return the user properties of a message by name; of those of one name the last counts."""
    pairs: list[tuple[str, str]] = getattr(message.properties, "UserProperty", [])
    return dict(pairs)


def report_published(
    client: Any, _userdata: Any, packet_id: int, reason: ReasonCode, _properties: Any
) -> None:
    """Report the broker's answer to a publication; paho's `on_publish`."""
    client.on_puback(packet_id, str(reason) if reason.is_failure else None)
