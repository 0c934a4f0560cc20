"""Messages read from the broker that the engine has not taken yet."""

import logging
import time

from edgeai.config.limits import Limits
from edgeai.log_events import event
from edgeai.messages import REDELIVERED, RETAINED, Message
from edgeai.metrics.definitions import Metrics

log = logging.getLogger("edgeai.mqtt")

DROPS_TOPIC = "$SYS/broker/publish/messages/dropped"
"""mosquitto publishes here how many messages it has dropped since its start: retained, and not
before the first drop."""
VERSION_TOPIC = "$SYS/broker/version"
"""mosquitto retains its version here."""
TELL_AGAIN_SECONDS = 600.0  # between two lines of the log about it


class Inbox:
    """Messages in the order of arrival, and the packet ids to acknowledge.

    `FastClient` and `PacketReader` append to `messages` and `acks` and increase `size` directly,
    because a call per message is too slow. They do so only for payloads that `accepts_size`.
    """

    def __init__(self, limits: Limits, metrics: Metrics, *, keeps_properties: bool = False) -> None:
        """Start empty.

        Args:
            limits: Of a turn and of a payload.
            metrics: Receive counts.
            keeps_properties: Whether messages keep their user properties (MQTT 5). Packets with
                properties are then read by paho, which is slower.
        """
        self.limits = limits
        self.keeps_properties = keeps_properties
        self._max_messages, self._max_bytes = limits.turn_messages, limits.turn_bytes
        self._metrics = metrics
        self._received_bytes = metrics.received_bytes
        self._broker_drops: int | None = None
        """The broker's last count of dropped messages; None before the first."""
        self.messages: list[Message] = []
        self.size = 0
        """Payload bytes in `messages`."""
        self.taken_bytes = 0
        """Payload bytes that the last `take` returned."""
        self.acks: list[int] = []
        """Packet ids of QoS 1 messages received since the last `take`, refused ones included."""
        self.redelivered_ids: list[int] = []
        """Packet ids of the messages in `messages` with the flag REDELIVERED, in order."""
        self.unacknowledged: list[int] = []
        """Packet ids of the messages that `take` returned and that are not acknowledged yet."""
        self._tell_drops_after = 0.0  # monotonic seconds

    @property
    def full(self) -> bool:
        """Whether one of the limits of a turn is reached."""
        return len(self.messages) >= self._max_messages or self.size >= self._max_bytes

    def accepts_size(self, payload_bytes: int) -> bool:
        """Return whether a payload is small enough; the only place of this rule."""
        return payload_bytes <= self.limits.payload_bytes

    def add(self, topic: str, payload: bytes, *, flags: int, packet_id: int) -> None:
        """Add a message that paho has read, unless it is too large or the broker's drop counter."""
        if topic == DROPS_TOPIC:
            self._count_broker_drops(payload, retained=bool(flags & RETAINED))
        elif not self.accepts_size(len(payload)):
            self.count_refused("too_large")
        else:
            self.messages.append((topic, payload, time.time_ns(), flags))
            if flags & REDELIVERED:
                self.redelivered_ids.append(packet_id)
            self.size += len(payload)

    def count_refused(self, reason: str) -> None:
        """Count a message that no pipeline will receive."""
        self._metrics.unrouted.labels(reason).inc()

    def _count_broker_drops(self, payload: bytes, *, retained: bool) -> None:
        """Count what the broker has dropped since its last count.

        Drops of before the first connection are not this node's: the first retained count is where
        counting begins. A count that is lower than the last comes from a broker that was restarted.
        """
        if not payload.isdigit():
            return
        count, last = int(payload[:18]), self._broker_drops
        self._broker_drops = count
        if last is None:
            last = count if retained else 0
        more = count - last if count >= last else count
        self._metrics.broker_drops.inc(more)
        now = time.monotonic()
        if more and now >= self._tell_drops_after:
            self._tell_drops_after = now + TELL_AGAIN_SECONDS
            log.warning(
                "the broker has dropped %d messages, for all its clients: it queues too few for a "
                "slow or absent one (mosquitto: max_queued_messages)", more,
                extra=event("broker_drops", count=more),
            )  # fmt: skip

    def take(self) -> list[Message]:
        """Return the messages and empty the inbox; their packet ids go to `unacknowledged`."""
        self._received_bytes.value += self.size
        self.taken_bytes = self.size
        self.unacknowledged += self.acks
        messages = self.messages
        self.messages, self.acks, self.redelivered_ids, self.size = [], [], [], 0
        return messages

    def drain(self) -> list[Message]:
        """Return the messages and empty the inbox: they are none that a pipeline receives."""
        messages, self.messages, self.size = self.messages, [], 0
        return messages

    def forget_acks(self) -> None:
        """Forget all packet ids: they are valid only on the connection that was lost."""
        self.acks.clear()
        self.redelivered_ids.clear()
        self.unacknowledged.clear()
