"""Creates paho clients from the configuration and opens their connections."""

from dataclasses import dataclass

from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeai.config.broker import Broker
from edgeai.mqtt import fast_client
from edgeai.mqtt.broker_limits import Terms
from edgeai.mqtt.credentials import Credentials
from edgeai.mqtt.fast_client import FastClient
from edgeai.mqtt.inbox import Inbox
from edgeai.mqtt.paho_client import Callbacks, PahoClient


@dataclass(frozen=True)
class Status:
    """The retained status of this node: its topic and the payloads."""

    topic: str
    online: bytes
    offline: bytes
    lost: bytes
    """The last will: the broker publishes it when the connection is lost."""


@dataclass(frozen=True)
class LastWill:
    """What the broker publishes when a connection is lost."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


def will_of(status: Status | None, will: LastWill | None) -> LastWill | None:
    """Return the last will of a connection: that of its status, or one of its own."""
    return will if status is None else LastWill(status.topic, status.lost)


class ClientFactory:
    """Creates the clients of one connection, a new one for each attempt to connect."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        keep_session: bool,
        inbox: Inbox,
        callbacks: Callbacks,
    ) -> None:
        """Read the secrets and certificates that the configuration names.

        Args:
            broker: Address, credentials, TLS and session.
            client_id: Must be unique at the broker.
            keep_session: Whether the broker keeps messages while this client is disconnected.
            inbox: Receives the messages of each client.
            callbacks: Called by each client.

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        self._broker = broker
        self._client_id = client_id
        self._keep_session = keep_session
        self._inbox = inbox
        self._callbacks = callbacks
        self.credentials = Credentials(broker)
        self._client_class = (
            FastClient if broker.fast_path and fast_client.is_tested() else PahoClient
        )

    def create(
        self, version: MQTTProtocolVersion, will: LastWill | None, terms: Terms
    ) -> PahoClient:
        """Return a client that is not connected.

        Args:
            version: MQTT version.
            will: None for a client without a last will.
            terms: What the last will may use.
        """
        broker = self._broker
        client = self._client_class(
            self._client_id,
            version,
            keep_session=self._keep_session,
            inbox=self._inbox,
            callbacks=self._callbacks,
        )
        client.connect_timeout = broker.connect_timeout_seconds
        if broker.username is not None:
            client.username_pw_set(broker.username, self.credentials.password)
        if self.credentials.tls is not None:
            client.tls_set_context(self.credentials.tls)
        if will is not None:
            qos, retain = min(will.qos, terms.max_qos), will.retain and terms.retain
            client.will_set(will.topic, will.payload, qos, retain)
        return client

    def connect(self, client: PahoClient) -> None:
        """Open the socket of a client and queue its CONNECT packet.

        Raises:
            OSError: The broker cannot be reached, or TLS fails.
            ValueError: A certificate cannot be verified.
        """
        broker = self._broker
        if client.protocol != MQTTProtocolVersion.MQTTv5:
            client.connect(broker.host, broker.port, broker.keepalive_seconds)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = broker.receive_maximum
        if self._keep_session:
            # Without an expiry interval an MQTT 5 session ends with its connection.
            properties.SessionExpiryInterval = broker.session_expiry_seconds
        client.connect(
            broker.host,
            broker.port,
            broker.keepalive_seconds,
            clean_start=not self._keep_session,
            properties=properties,
        )
