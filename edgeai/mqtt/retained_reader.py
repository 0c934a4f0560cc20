"""Reads, once after the start, what the broker retains under some topic filters.

The publishing connection subscribes, because its session never persists, and unsubscribes after a
short time. Retained messages follow the subscription at once, but nothing in MQTT marks the last
one: reading ends when none has come for a while. A broker that refuses the subscription, or closes
the connection because of it, loses nothing by that: it is told once, and not tried again.
"""

import logging
import time
from collections.abc import Callable, Sequence

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from edgeai.log_events import event
from edgeai.messages import RETAINED, Message

log = logging.getLogger("edgeai.mqtt")

QUIET_SECONDS = 1.0  # without a retained message, reading ends
MAX_SECONDS = 10.0
MAX_MESSAGES, MAX_BYTES = 20_000, 64 * 1024 * 1024
NOT_READ = "alarms that it retains, and of which this node has kept no state, stay as they are"


class RetainedReader:
    """Subscribes for a short time, and hands over the retained messages."""

    def __init__(self, filters: Sequence[str], receive: Callable[[str, bytes], None]) -> None:
        """Prepare; `begin` subscribes.

        Args:
            filters: Topic filters to read.
            receive: Takes topic and payload of each retained message.
        """
        self._filters = list(filters)
        self._receive = receive
        self._unanswered: dict[int, str] = {}
        """Topic filters that wait for SUBACK, by packet id."""
        self._began = self._last = 0.0  # monotonic seconds
        self._messages = self._bytes = 0
        self.is_done = not filters
        """Whether nothing is to be read any more."""
        self.is_reading = False

    def begin(self, client: paho.Client, *, has_retained: bool) -> None:
        """Subscribe on a new connection, unless that was done.

        Args:
            client: Connected.
            has_retained: Whether the broker keeps retained messages.
        """
        if self.is_done or not has_retained:
            self.is_done = True
            return
        self.is_reading = True
        self._began = self._last = time.monotonic()
        for topic_filter in self._filters:
            _, packet_id = client.subscribe(topic_filter, 0)
            if packet_id is not None:
                self._unanswered[packet_id] = topic_filter

    def on_suback(self, packet_id: int, reasons: list[ReasonCode]) -> None:
        """Record the broker's answer."""
        topic_filter = self._unanswered.pop(packet_id, None)
        if topic_filter is not None and reasons and reasons[0].is_failure:
            log.info(
                "the broker lets nobody read %s (%s): %s", topic_filter, reasons[0], NOT_READ,
                extra=event("retained_not_read", topic=topic_filter, reason=str(reasons[0])),
            )  # fmt: skip
        self._last = time.monotonic()

    def take(self, messages: list[Message]) -> None:
        """Hand over the retained ones of the messages that have come."""
        for topic, payload, _, flags in messages:
            if not (self.is_reading and flags & RETAINED):
                continue
            self._messages += 1
            self._bytes += len(payload)
            self._last = time.monotonic()
            try:
                self._receive(topic, bytes(payload))
            except Exception:
                log.exception(
                    "the retained message of %s is left as it is", topic[:200],
                    extra=event("retained_not_read", topic=topic[:200]),
                )  # fmt: skip

    def end_if_due(self, client: paho.Client, now: float) -> None:
        """Unsubscribe when all has come, or too much, or after a long time."""
        if not self.is_reading:
            return
        is_quiet = not self._unanswered and now - self._last >= QUIET_SECONDS
        is_too_much = self._messages >= MAX_MESSAGES or self._bytes >= MAX_BYTES
        if is_too_much:
            log.warning(
                "the broker retains more on %s than is read (%d messages): %s",
                ", ".join(self._filters), self._messages, NOT_READ,
                extra=event("retained_not_read", topic=", ".join(self._filters)),
            )  # fmt: skip
        if is_quiet or is_too_much or now - self._began >= MAX_SECONDS:
            self._end()
            for topic_filter in self._filters:
                client.unsubscribe(topic_filter)

    def on_lost(self) -> None:
        """Give up: the broker may close the connection because of the subscription."""
        if self.is_reading:
            self._end()
            log.info(
                "the connection ended while %s was read, which is now left out: %s",
                ", ".join(self._filters), NOT_READ,
                extra=event("retained_not_read", topic=", ".join(self._filters)),
            )  # fmt: skip

    def _end(self) -> None:
        self.is_reading = False
        self.is_done = True
        self._unanswered.clear()
