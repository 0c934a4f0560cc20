"""What a broker delivers from a kept session: messages sent again, and its backlog.

After a reconnect with "session present" the broker first sends again what was not acknowledged
(DUP), then what it queued meanwhile, then what is sent now. Nothing in a packet tells the second
from the third. Here a message counts as backlog if it arrives in the burst that begins with CONNACK
and if its topic has not caught up: two messages of a topic that are half a sample period or more
apart show that it is delivered at the speed of its sender. The burst ends when nothing arrives for
QUIET_SECONDS, and after MAX_BACKLOG_SECONDS at the latest.

A message that was taken before the loss, and whose acknowledgement was lost with the connection, is
sent again with the same packet id and content; it is dropped here, because a payload without a time
would be taken for a new sample. Packet ids alone prove nothing: a broker may use one again at once.
"""

import time
from collections import Counter, deque
from collections.abc import Callable

from edgeai.messages import (
    BACKLOG,
    MAX_BACKLOG_SECONDS,
    REDELIVERED,
    RETAINED,
    SECOND_NS,
    Message,
    content_of,
)

QUIET_SECONDS = 0.5
UNKNOWN_INTERVAL_SECONDS = 0.1  # between two messages of a topic, where no sample rate says it
MAX_TOPICS = 100_000
MAX_REMEMBERED_BYTES = 4 * 1024 * 1024  # a payload may keep a receive buffer of 256 KiB alive


class Redelivery:
    """Sorts the messages that follow a reconnect; inactive at all other times."""

    def __init__(
        self,
        interval_seconds: Callable[[str], float | None],
        count_repeat: Callable[[], None],
        receive_maximum: int,
    ) -> None:
        """Start inactive.

        Args:
            interval_seconds: Returns the time between two messages of a topic at its sender's
                sample rate; None: not known.
            count_repeat: Called for each message that is dropped because it was taken before.
            receive_maximum: Number of messages of which the broker may miss the acknowledgement:
                so many are remembered.
        """
        self._interval_seconds = interval_seconds
        self._count_repeat = count_repeat
        self._min_remembered = receive_maximum
        self._taken: deque[tuple[list[int], list[Message], int]] = deque()
        """The last turns of this connection: packet ids, messages, payload bytes."""
        self._taken_count = self._taken_bytes = 0
        self._repeatable_ids: set[int] = set()
        self._repeatable: Counter[tuple[str, bytes]] = Counter()
        """What was taken from the connection before this one."""
        self._last_ns: dict[str, int] = {}
        """When the last message of a topic arrived in this burst; -1: the topic has caught up."""
        self._began = self._last_message = 0.0  # monotonic seconds
        self.active = False
        """Whether the broker may still deliver what it kept."""

    def take(
        self, messages: list[Message], packet_ids: list[int], redelivered_ids: list[int], size: int
    ) -> list[Message]:
        """Return the messages of a turn without repeats; the backlog has its flag.

        Args:
            messages: As received, in order.
            packet_ids: Packet ids of those at QoS 1.
            redelivered_ids: Packet ids of those that have the flag REDELIVERED, in order.
            size: Bytes of all payloads.
        """
        self.remember(packet_ids, messages, size)
        return self._sort(messages, redelivered_ids) if self.active else messages

    def remember(self, packet_ids: list[int], messages: list[Message], size: int) -> None:
        """Remember messages whose acknowledgement may be lost with the connection."""
        self._taken.append((packet_ids, messages, size))
        self._taken_count += len(messages)
        self._taken_bytes += size
        too_many = self._taken_count >= 2 * self._min_remembered
        if too_many or self._taken_bytes > MAX_REMEMBERED_BYTES:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        taken = self._taken
        while len(taken) > 1 and (
            self._taken_count - len(taken[0][1]) >= self._min_remembered
            or self._taken_bytes > MAX_REMEMBERED_BYTES
        ):
            _, oldest, size = taken.popleft()
            self._taken_count -= len(oldest)
            self._taken_bytes -= size

    def on_acknowledged(self) -> None:
        """Begin the wait for the broker's next messages: our own work is no pause of the broker."""
        self._last_message = time.monotonic()

    def begin(self, *, session_present: bool) -> None:
        """Start with a new connection."""
        self._repeatable_ids.clear()
        self._repeatable.clear()
        self._last_ns.clear()
        if session_present:
            for packet_ids, messages, _ in self._taken:
                self._repeatable_ids.update(packet_ids)
                self._repeatable.update([(one[0], content_of(one[1])) for one in messages])
        self._taken.clear()
        self._taken_count = self._taken_bytes = 0
        self.active = session_present
        self._began = self._last_message = time.monotonic()

    def _sort(self, messages: list[Message], redelivered_ids: list[int]) -> list[Message]:
        now = time.monotonic()
        if now - self._last_message > QUIET_SECONDS or now - self._began > MAX_BACKLOG_SECONDS:
            self._end()
            return messages
        self._last_message = now
        ids = iter(redelivered_ids)
        kept: list[Message] = []
        for message in messages:
            topic, payload, received_ns, flags = message
            if flags & REDELIVERED:
                if self._was_taken(next(ids, 0), topic, payload):
                    self._count_repeat()
                    continue
                flags |= BACKLOG
            elif not flags & RETAINED and self._is_backlog(topic, received_ns):
                flags |= BACKLOG
            kept.append((topic, payload, received_ns, flags))
        return kept

    def _was_taken(self, packet_id: int, topic: str, payload: bytes | memoryview) -> bool:
        content = topic, content_of(payload)
        if packet_id not in self._repeatable_ids or self._repeatable[content] <= 0:
            return False
        self._repeatable[content] -= 1
        return True

    def _is_backlog(self, topic: str, received_ns: int) -> bool:
        """Return whether a topic's message comes from the broker's queue."""
        last_ns = self._last_ns.get(topic)
        if last_ns == -1:
            return False
        if last_ns is not None:
            interval = self._interval_seconds(topic) or UNKNOWN_INTERVAL_SECONDS
            if received_ns - last_ns >= interval * SECOND_NS / 2:
                self._last_ns[topic] = -1
                return False
        elif len(self._last_ns) >= MAX_TOPICS:
            return True
        self._last_ns[topic] = received_ns
        return True

    def _end(self) -> None:
        self.active = False
        self._repeatable_ids.clear()
        self._repeatable.clear()
        self._last_ns.clear()
