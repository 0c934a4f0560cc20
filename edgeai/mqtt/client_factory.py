"""Making a client of paho as the configuration wants it, and sending its CONNECT."""

import ssl
from dataclasses import dataclass

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeai.config.node import Broker
from edgeai.errors import ConfigError, Problem
from edgeai.mqtt import fast_client
from edgeai.mqtt.fast_client import WireClient
from edgeai.mqtt.paho_client import PlainClient


@dataclass(frozen=True)
class Status:
    """The retained message that tells whether this node lives: its topic and the two payloads."""

    topic: str
    online: bytes
    offline: bytes
    lost: bytes
    """The last will: what the broker publishes when we vanish."""


class Clients:
    """Makes the clients of one connection, a fresh one for each attempt."""

    def __init__(self, broker: Broker, client_id: str, *, keep_session: bool) -> None:
        """Read what the configuration refers to.

        Args:
            broker: Where and how.
            client_id: Must be this connection's alone.
            keep_session: Whether the broker is to keep what comes while we are away.

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        self._broker = broker
        self._client_id = client_id
        self._keep_session = keep_session
        self._password = broker.password.reveal("broker.password") if broker.password else None
        self._tls = _tls_context(broker)
        self._make = WireClient if broker.fast_path and fast_client.is_tested() else PlainClient

    def new(self, version: MQTTProtocolVersion, status: Status | None) -> PlainClient:
        """Return a client that has not connected, with the status as its last will."""
        broker = self._broker
        client = self._make(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if version == MQTTProtocolVersion.MQTTv5 else not self._keep_session,
            protocol=version,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = broker.connect_timeout_seconds
        if broker.username is not None:
            client.username_pw_set(broker.username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if status is not None:
            client.will_set(status.topic, status.lost, 1, True)
        return client

    def connect(self, client: PlainClient) -> None:
        """Open the socket and queue CONNECT.

        Raises:
            OSError: The broker cannot be reached, or refuses TLS.
            ValueError: A certificate cannot be checked.
        """
        broker = self._broker
        if client.protocol != MQTTProtocolVersion.MQTTv5:
            client.connect(broker.host, broker.port, broker.keepalive_seconds)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = broker.receive_maximum
        if self._keep_session:
            # Without an expiry a version 5 session ends with its connection.
            properties.SessionExpiryInterval = broker.session_expiry_seconds
        client.connect(
            broker.host,
            broker.port,
            broker.keepalive_seconds,
            clean_start=not self._keep_session,
            properties=properties,
        )


def _tls_context(broker: Broker) -> ssl.SSLContext | None:
    if broker.tls is None:
        return None
    tls = broker.tls
    field, files = "ca_file", tls.ca_file
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            field, files = "cert_file, key_file", f"{tls.cert_file}, {tls.key_file}"
            # A key that wants a passphrase is an error here; OpenSSL would ask on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: b"")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        rule = f"cannot be loaded: {reason}"
        raise ConfigError([Problem("config", f"broker.tls.{field}", rule, files, True)]) from error
    return context
