"""What was read from the broker and not yet taken by the engine."""

import time

from edgeai.config.node import Limits
from edgeai.messages import Message
from edgeai.metrics.definitions import Metrics

DROPS_TOPIC = "$SYS/broker/publish/messages/dropped"


class Inbox:
    """Messages in the order of their arrival, with the packet ids to acknowledge."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self._max_messages, self._max_bytes = limits.turn_messages, limits.turn_bytes
        self._metrics = metrics
        self._received_bytes = metrics.received_bytes
        self.messages: list[Message] = []
        self.size = 0
        """Payload bytes in `messages`."""
        self.taken_bytes = 0
        """Payload bytes of what `take` returned last."""
        self.acks: list[int] = []
        """Packet ids of QoS 1 messages received, those that were dropped too."""

    @property
    def full(self) -> bool:
        """Whether a turn's bounds are reached."""
        return len(self.messages) >= self._max_messages or self.size >= self._max_bytes

    def add(self, topic: str, payload: bytes, *, redelivered: bool) -> None:
        """Take one message, unless it is too large or the broker's own."""
        if topic == DROPS_TOPIC:
            self.note_broker_drops(payload)
        elif len(payload) > self.limits.payload_bytes:
            self.refuse("too_large")
        else:
            self.messages.append((topic, payload, time.time_ns(), redelivered))
            self.size += len(payload)

    def refuse(self, reason: str) -> None:
        """Count a message that no pipeline will see."""
        self._metrics.unrouted.labels(reason).inc()

    def note_broker_drops(self, payload: bytes) -> None:
        """Take note of how many messages the broker says it dropped."""
        if payload.isdigit():
            self._metrics.broker_drops.set(int(payload[:18]))

    def take(self) -> tuple[list[Message], list[int]]:
        """Return messages and packet ids, and begin anew."""
        self._received_bytes.value += self.size
        self.taken_bytes = self.size
        taken = self.messages, self.acks
        self.messages, self.acks, self.size = [], [], 0
        return taken
