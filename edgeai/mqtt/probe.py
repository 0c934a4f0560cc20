"""A short-lived client that asks a broker what it would allow a node, and leaves nothing behind.

It starts a clean session, has no last will and a client id of its own, and publishes nothing that
anybody receives. To ask whether the broker accepts publications to a topic, it sends one at QoS 2
and reads the reason in PUBREC (MQTT 5). It never sends PUBREL, and the broker forgets the message
when the session ends. A broker may deliver such a message at once (MQTT 5.0, 4.3.3 leaves it free);
mosquitto waits for PUBREL. `doctor.publishing` asks only where that is known.
"""

import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edgeai.config.broker import Broker
from edgeai.messages import RETAINED, Message, with_properties
from edgeai.mqtt.broker_limits import BrokerLimits, Terms, limits_of
from edgeai.mqtt.paho_client import user_properties
from edgeai.mqtt.tls import create_tls_context, describe_tls_error, in_words

VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
MAX_MESSAGES, MAX_BYTES = 5000, 16 * 1024 * 1024  # that are kept while listening
STEP_SECONDS = 0.05
REFUSED = 0x80  # reason codes from here on are failures (MQTT 5.0, 2.4)
NOT_AUTHORIZED = 0x87
BAD_CREDENTIALS = {"Bad user name or password", "Not authorized"}
UNSUPPORTED_VERSION = "Unsupported protocol version"
NO_ANSWER = "no answer"


class Granted(NamedTuple):
    """The broker's answer to a subscription."""

    qos: int | None
    """None: it was refused, or not answered."""
    reason: str
    """Why it was refused; empty if it was not."""


class _Client(paho.Client):
    """paho's client, which keeps the answers to publications at QoS 2 and does not go on."""

    answers: dict[int, int]

    def _handle_pubrec(self) -> MQTTErrorCode:
        """Keep the reason code; paho would release the message to the subscribers."""
        packet = bytes(self._in_packet["packet"])
        (packet_id,) = struct.unpack("!H", packet[:2])
        self.answers[packet_id] = packet[2] if len(packet) > 2 else 0
        return MQTTErrorCode.MQTT_ERR_SUCCESS


class Probe:
    """One connection. No method raises for what the network or the broker does."""

    def __init__(self, broker: Broker, client_id: str, version: str) -> None:
        """Prepare; `connect` connects.

        Args:
            broker: Address, credentials and TLS.
            client_id: Must be unique at the broker.
            version: A key of `VERSIONS`.

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        self._broker = broker
        self._version = VERSIONS[version]
        self._is_v5 = version == "5"
        self.messages: list[Message] = []
        """What has arrived, as the engine takes it."""
        self.limits = BrokerLimits()
        self.max_qos = 2
        self.has_answered = False
        """Whether the broker has answered to the login, also if it refuses it."""
        self._size = 0
        self._accepted = False
        self._failure = ""
        self._granted: dict[int, Granted] = {}
        client = self._client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if self._is_v5 else True,
            protocol=self._version,
            reconnect_on_failure=False,
        )
        client.answers = {}
        client.connect_timeout = broker.connect_timeout_seconds
        if broker.username is not None:
            password = broker.password.reveal("broker.password") if broker.password else None
            client.username_pw_set(broker.username, password)
        if broker.tls is not None:
            client.tls_set_context(create_tls_context(broker.tls))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_log = self._on_log

    def connect(self, seconds: float) -> str | None:
        """Connect; return why the broker did not accept, or None if it did."""
        try:
            if self._is_v5:
                self._client.connect(self._broker.host, self._broker.port, clean_start=True)
            else:
                self._client.connect(self._broker.host, self._broker.port)
        except (OSError, ValueError) as error:
            return describe_tls_error(error)
        self._run(seconds, lambda: self._accepted or bool(self._failure))
        if self._accepted:
            return None
        return self._failure or f"{NO_ANSWER} in {seconds:g} s"

    def subscribe(self, filters: Mapping[str, int], seconds: float) -> dict[str, Granted]:
        """Subscribe to topic filters with their QoS; return the broker's answers."""
        asked = {}
        for topic_filter, qos in filters.items():
            _, packet_id = self._client.subscribe(topic_filter, qos)
            asked[topic_filter] = packet_id
        self._run(seconds, lambda: all(one in self._granted for one in asked.values()))
        unanswered = Granted(None, self._failure or f"{NO_ANSWER} in {seconds:g} s")
        return {
            topic_filter: self._granted.get(packet_id or 0, unanswered)
            for topic_filter, packet_id in asked.items()
        }

    def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe without waiting for the answer."""
        self._client.unsubscribe(topic_filter)

    def listen(self, seconds: float, is_enough: Callable[[], bool]) -> None:
        """Collect messages until it is enough, or the time is over."""
        self._run(
            seconds,
            lambda: is_enough() or len(self.messages) >= MAX_MESSAGES or self._size >= MAX_BYTES,
        )

    def offer(self, topic: str, seconds: float, payload: bytes = b"") -> int | None:
        """Offer a publication to a topic and do not release it.

        Args:
            topic: Where to.
            seconds: How long to wait for the answer.
            payload: Nobody receives it.

        Returns:
            The reason code, from `REFUSED` on a refusal; None: no answer.
        """
        packet_id = self._client.publish(topic, payload, 2).mid
        answers = self._client.answers
        self._run(seconds, lambda: packet_id in answers)
        return answers.get(packet_id)

    @property
    def failure(self) -> str:
        """Why the connection ended; empty while it is open."""
        return self._failure

    def close(self) -> None:
        """Disconnect."""
        self._client.on_disconnect = None
        self._client.disconnect()
        sock = self._client.socket()
        if sock is not None:
            sock.close()
        self._client._reset_sockets()  # paho leaves its pair of sockets open

    def _run(self, seconds: float, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not is_done() and not self._failure and time.monotonic() < deadline:
            if self._client.loop(STEP_SECONDS) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._failure = self._failure or "the broker closed the connection"

    # ---------------------------------------------------------------------------- callbacks of paho

    def _on_connect(
        self, _client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, given: Any
    ) -> None:
        self.has_answered = True
        if reason.is_failure:
            self._failure = str(reason)
            return
        self._accepted = True
        self.limits = limits_of(given, self._version, Terms())
        if self._is_v5:
            self.max_qos = getattr(given, "MaximumQoS", 2)

    def _on_disconnect(
        self, _client: paho.Client, _userdata: Any, flags: Any, reason: ReasonCode, _given: Any
    ) -> None:
        if not self._failure:
            by_packet = flags is not None and flags.is_disconnect_packet_from_server
            self._failure = str(reason) if by_packet else "the broker closed the connection"

    def _on_subscribe(
        self,
        _client: paho.Client,
        _userdata: Any,
        packet_id: int,
        reasons: list[ReasonCode],
        _given: Any,
    ) -> None:
        reason = reasons[0]
        self._granted[packet_id] = (
            Granted(None, str(reason)) if reason.is_failure else Granted(reason.value, "")
        )

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        flags = RETAINED if message.retain else 0
        payload = with_properties(bytes(message.payload), user_properties(message))
        self.messages.append((topic, payload, time.time_ns(), flags))
        self._size += len(message.payload)

    def _on_log(self, _client: paho.Client, _userdata: Any, level: int, text: str) -> None:
        """Keep why the socket failed; paho reports it nowhere else (a TLS alert, for example)."""
        if level == LogLevel.MQTT_LOG_ERR and not self._failure:
            self._failure = in_words(text.partition("socket: ")[2] or text)
