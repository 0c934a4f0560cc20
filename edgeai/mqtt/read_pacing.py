"""When to read from the socket: at once on a quiet line, in larger portions where that is cheaper.

Each turn costs CPU time, even for one message (docs/performance.md). Two rules save turns if all
subscriptions use QoS 0. Neither delays a prediction on a quiet line.

- Deferring: messages with which no window can be due gather, and one turn takes them together. They
  gather in the socket first: the kernel wakes the process when enough bytes have come that the
  message that completes a window may be there (SO_RCVLOWAT, socket(7)), or at the time when it can
  come. At most MAX_UNREAD_MESSAGES lie in the socket; these are then read into the inbox, so that
  the kernel acknowledges them and the sender goes on. The number of messages before a window is
  certain for one stream; for all streams together it is likely as long as senders keep to the
  model's sample rate. A turn begins at most `defer_seconds` after the last one, so that counters
  stay fresh and a sender that is faster than its rate does not wait longer.
- Pausing: under load, BUSY_MESSAGES in `turn_interval_seconds`, turns start at that interval, so
  that many messages share the cost of a turn.

A timer that collects a batch would delay a message that is followed by no other.
"""

from edgeai.config.limits import Limits
from edgeai.messages import Due, Message

BUSY_MESSAGES = 128  # per `turn_interval_seconds`; from here on, waiting for more saves CPU
BYTES_PER_EXTRA_MESSAGE = 4096  # payload that counts as one more message: waveform frames are load
RATE_INTERVALS = 3
"""Number of intervals over which the message rate is measured, so that a short pause of a sender
does not end the load. Load begins with the second busy measurement; one burst is not load."""
MAX_DEFERRED_MESSAGES = 63  # from here on the cost of a turn is small beside that of its messages
MAX_UNREAD_MESSAGES = 8
"""A sender may stop after ten unacknowledged packets (initial window, RFC 6928), and the kernel
acknowledges small packets only when they are read or after 40 ms."""
MAX_MESSAGES_MEASURED = 64  # larger turns are bursts, in which nothing is deferred
SIZE_HISTORY_MESSAGES = 1000
"""The smallest message is taken from the current group of this number and the group before it."""
MIN_PUBLISH_HEADER_BYTES = 4  # packet type, remaining length, topic length (MQTT 3.1.1, 3.3)
TWO_BYTE_LENGTH = 128  # remaining lengths from here on take two bytes or more (MQTT 3.1.1, 2.2.3)
UNKNOWN_BYTES = 1 << 30


class ReadPacer:
    """Decides how long the next turn waits, and how many bytes stay in the socket."""

    def __init__(self, limits: Limits, *, acknowledging: bool) -> None:
        """Start without load.

        Args:
            limits: Limits of the waits.
            acknowledging: Whether any subscription uses QoS 1. Then nothing waits, because the
                broker sends only a limited number of messages before it needs acknowledgements
                (mosquitto's default: 20).
        """
        self._interval_seconds = 0.0 if acknowledging else limits.turn_interval_seconds
        self._defer_seconds = 0.0 if acknowledging else limits.defer_seconds
        self._read_by = 0.0
        """When deferred messages must be read, in seconds of the monotonic clock."""
        self._turn_began = 0.0  # monotonic seconds
        self.busy = self._was_busy = False
        """Whether the line is under load, and turns start at their interval."""
        self._rate_since = 0.0
        """Start of the rate measurement, in seconds of the monotonic clock."""
        self._rate_messages = 0
        self._smallest_bytes = self._smallest_bytes_before = UNKNOWN_BYTES
        self._measured_messages = 0

    def pause_seconds(self, now: float) -> float:
        """Return how long to wait before the next turn; `now` is the monotonic clock."""
        if not self.busy:
            return 0.0
        return self._interval_seconds - (now - self._turn_began)

    def defer(self, due: Due, now: float) -> tuple[int, float]:
        """Return how many bytes may gather before the next turn, and when it begins at the latest.

        Args:
            due: When the next window can be due. The bytes are those of the messages before it, all
                assumed to be as small as the smallest one seen, because the next byte may belong to
                the message that completes a window.
            now: Seconds of the monotonic clock, as is the returned time.
        """
        smallest = min(self._smallest_bytes, self._smallest_bytes_before)
        if due.messages <= 1 or self.busy or now >= self._read_by or smallest == UNKNOWN_BYTES:
            return 0, now
        certain = min(due.messages - 1, MAX_DEFERRED_MESSAGES)
        usual = min(due.usual_messages - 1, MAX_DEFERRED_MESSAGES)
        if usual > certain and due.seconds > 0:
            return usual * smallest, min(self._read_by, now + due.seconds)
        return certain * smallest, self._read_by

    def unread_bytes(self, deferred_bytes: int, gathered_messages: int) -> int:
        """Return how many bytes may lie in the socket now; below 0: the turn begins.

        Args:
            deferred_bytes: The result of `defer`.
            gathered_messages: Messages that were read since and wait in the inbox.
        """
        smallest = min(self._smallest_bytes, self._smallest_bytes_before)
        rest = deferred_bytes - gathered_messages * smallest
        return min(rest, MAX_UNREAD_MESSAGES * smallest)

    def record_turn(self, messages: int, payload_bytes: int, now: float) -> None:
        """Update the message rate with a turn.

        Args:
            messages: Number of messages in the turn.
            payload_bytes: Bytes of their payloads.
            now: Begin of the turn, in seconds of the monotonic clock.
        """
        self._turn_began = now
        self._rate_messages += messages + payload_bytes // BYTES_PER_EXTRA_MESSAGE
        passed = now - self._rate_since
        if passed > RATE_INTERVALS * self._interval_seconds:
            busy = self._rate_messages * self._interval_seconds >= BUSY_MESSAGES * passed
            self.busy, self._was_busy = busy and self._was_busy, busy
            self._rate_since, self._rate_messages = now, 0
        if messages:
            self._read_by = now + self._defer_seconds

    def record_sizes(self, messages: list[Message], *, version5: bool) -> None:
        """Update the smallest message size; called after a turn, when there is time for it.

        Args:
            messages: Messages of the turn.
            version5: Whether packets have properties (MQTT 5), at least one byte.
        """
        count = len(messages)
        if 0 < count <= MAX_MESSAGES_MEASURED and self._defer_seconds:
            sizes = [len(payload) + len(topic) for topic, payload, _, _ in messages]
            least = min(sizes) + MIN_PUBLISH_HEADER_BYTES + version5
            self._smallest_bytes = min(self._smallest_bytes, least + (least - 2 >= TWO_BYTE_LENGTH))
            self._measured_messages += count
            if self._measured_messages >= SIZE_HISTORY_MESSAGES:
                self._smallest_bytes_before = self._smallest_bytes
                self._smallest_bytes = UNKNOWN_BYTES
                self._measured_messages = 0
