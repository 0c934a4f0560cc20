"""paho as it is: one callback a message, one system call a publication or acknowledgement."""

import select
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from edgeai.messages import Publication
from edgeai.mqtt.inbox import Inbox

Acknowledged = Callable[[int, str | None], None]
"""Takes a packet id, and why the broker refused the publication, or None."""


class PlainClient(paho.Client):
    """The three things a connection does with messages, by paho's own means."""

    def attach(self, inbox: Inbox, acknowledged: Acknowledged) -> None:
        """Say where messages go, and who is told that the broker has a publication of ours."""
        self.inbox = inbox
        self.acknowledged = acknowledged
        self.on_message = keep
        self.on_publish = tell

    def read_packets(self) -> bool:
        """Read packets while there are any and the inbox has room.

        Returns:
            Whether it is certain that all is well: the connection stands, nothing is to be written,
            and what was read is taken. paho does not say.
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
        """Bytes that have been read and are not a whole packet yet; paho does not say."""
        return 0

    def has_unread(self) -> bool:
        """Whether bytes are here that a poll of the socket does not see: TLS keeps some."""
        sock = self.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def send_publications(self, publications: Iterable[Publication]) -> Iterable[int]:
        """Send; give the packet id of each, 0 at QoS 0."""
        for publication in publications:
            qos = publication.qos
            sent = self.publish(publication.topic, publication.payload, qos, publication.retain)
            yield sent.mid if qos else 0

    def send_at_once(self, _publications: list[Publication]) -> bool | None:
        """Send nothing and return None: paho has no quicker way for publications at QoS 0."""
        return None

    def send_acks(self, packet_ids: list[int]) -> None:
        """Acknowledge QoS 1 messages."""
        for packet_id in packet_ids:
            if self.ack(packet_id, 1) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return  # the connection is gone; the broker will send them again


def keep(client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
    """Put a message into the client's inbox: paho's callback for messages."""
    if message.qos > 0:
        client.inbox.acks.append(message.mid)
    try:
        topic = message.topic
    except UnicodeDecodeError:
        client.inbox.refuse("invalid_topic")
        return
    client.inbox.add(topic, bytes(message.payload), redelivered=message.dup)


def tell(client: Any, _userdata: Any, packet_id: int, reason: ReasonCode, _properties: Any) -> None:
    """Tell of the broker's answer to a publication: paho's callback for it."""
    client.acknowledged(packet_id, str(reason) if reason.is_failure else None)
