"""A client beside the node, which reads topics and leaves nothing at the broker."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from edgeai import topics
from edgeai.config.broker import Broker
from edgeai.config.limits import Limits
from edgeai.config.node import Config
from edgeai.errors import ConfigError, Problem
from edgeai.messages import Message
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection

TURN_SECONDS = 0.25
FIRST_MESSAGE_SECONDS = 10.0
"""Without a message after this time, a hint tells what may be wrong."""
NO_MESSAGE = (
    "no message in {seconds:.0f} s on {filters}: the senders may be off, the topic may be wrong, "
    "or the broker's access list may refuse to deliver it without a word"
)


def source_filters(config: Config) -> dict[str, int]:
    """Return the QoS by topic filter of all sources of a configuration."""
    found: dict[str, int] = {}
    for source in config.read_sources.values():
        one = topics.template_filter(source.topic)
        found[one] = max(found.get(one, 0), source.qos)
    return topics.cover(found)


def checked_filters(texts: Sequence[str]) -> dict[str, int]:
    """Return topic filters of a command line with QoS 0.

    Raises:
        ConfigError: One of them is no topic filter.
    """
    for text in texts:
        fault = topics.filter_fault(text)
        if fault is not None:
            rule = f"is no topic filter: {fault}"
            raise ConfigError([Problem("command line", "--topic", rule, text, has_value=True)])
    return topics.cover(dict.fromkeys(texts, 0))


def broker_at(text: str) -> Broker:
    """Return a broker without login by its address, HOST or HOST:PORT.

    Raises:
        ConfigError: The text is no such address.
    """
    host, colon, port = text.rpartition(":")
    if not colon or host.endswith(":") or text.endswith("]"):  # no port, or an IPv6 address
        host, port = text, "1883"
    try:
        return Broker(host=host.strip("[]"), port=int(port))
    except ValueError as error:
        rule = "must be HOST or HOST:PORT, such as 192.168.0.10:1883"
        problem = Problem("command line", "--broker", rule, text, has_value=True)
        raise ConfigError([problem]) from error


class Subscriber:
    """Receives the messages of some topic filters; connects again after a loss."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        filters: Mapping[str, int],
        limits: Limits,
        tell: Callable[[str], None],
    ) -> None:
        """Prepare; the first `receive` connects.

        Args:
            broker: Address, credentials and TLS. Its session ends with the connection.
            client_id: Start of the client id, which gets a random end.
            filters: QoS by topic filter. QoS 1 is used only with `broker.protocol: "5"`: with 3.1.1
                the broker would keep the session, and its messages, after the end.
            limits: Limits of a turn and of a payload.
            tell: Called with each change of the connection, and with a hint if nothing comes.

        Raises:
            ConfigError: A secret or a certificate cannot be read.
        """
        if broker.protocol != "5":
            filters = dict.fromkeys(filters, 0)
        own = broker.model_copy(update={"session_expiry_seconds": 0})
        self._metrics = Metrics()
        self._connection = Connection(
            own,
            f"{client_id}-{secrets.token_hex(3)}",
            dict(filters),
            limits,
            self._metrics,
            keeps_properties=True,
        )
        self._filters = sorted(filters)
        self._tell = tell
        self._told_fault: str | None = ""
        self._connected_at: float | None = None
        self._heard = False

    @property
    def refused(self) -> dict[str, int]:
        """Messages that were not taken, by reason."""
        counts = self._metrics.unrouted_counts()
        return {reason: count for reason, count in counts.items() if count}

    def receive(self) -> list[Message]:
        """Return the messages that have arrived; wait a short time for the first."""
        messages = self._connection.receive(TURN_SECONDS)
        fault = self._connection.fault
        if fault != self._told_fault and (fault is None or self._told_fault is not None or fault):
            if fault is None:
                self._tell(f"connected; subscribed to {', '.join(self._filters)}")
                self._connected_at = self._connected_at or time.monotonic()
            elif self._told_fault is None or not fault.startswith("not connected"):
                self._tell(fault)
            self._told_fault = fault
        self._heard = self._heard or bool(messages)
        if not self._heard and self._connected_at is not None:
            waited = time.monotonic() - self._connected_at
            if waited >= FIRST_MESSAGE_SECONDS:
                self._heard = True  # the hint is given once
                self._tell(NO_MESSAGE.format(seconds=waited, filters=", ".join(self._filters)))
        return messages

    def commit(self) -> None:
        """Acknowledge the messages that `receive` has returned."""
        self._connection.commit()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()
