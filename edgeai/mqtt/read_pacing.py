"""When to read: at once on a quiet line, in larger portions where nothing is gained by haste.

A turn has a price of its own, some 30 to 100 us with cold caches, however few messages it takes.
Two kinds of turns are saved, where all input is at QoS 0, and neither delays a prediction on a
quiet line:

- A message with which no window can be due is left in the socket: the kernel wakes us when so many
  bytes are there that they may hold the message that matters (SO_RCVLOWAT, socket(7)), or at the
  time at which it can come. How many messages come before is certain for one stream and likely for
  all of them, as long as senders keep to the model's sample rate. At most until `defer_seconds`
  after the last reading, so that counts and clocks stay fresh, and a sender that is faster than
  its rate is not kept waiting for longer.
- Under load, BUSY_MESSAGES in `turn_interval_seconds`, turns come at that interval, so that the
  price of a turn falls on many messages.

Why not a timer that collects a batch: it would delay the message that nothing else follows.
"""

from edgeai.config.node import Limits
from edgeai.messages import Due, Message

BUSY_MESSAGES = 128
"""So many in the time of `turn_interval_seconds` are load: waiting for more pays."""
MESSAGE_BYTES = 4096
"""So many count as a further message: a frame of a waveform is worth waiting for as well."""
SURVEY_INTERVALS = 3
"""Their rate is looked at over so many intervals: a sender's pause does not end the load. It begins
with the second in a row: one burst is none."""
LEFT_MESSAGES = 8
"""A sender may stop at ten packets that nobody has acknowledged (the initial window of RFC 6928),
and the kernel acknowledges small ones when they are read, or 40 ms later."""
FEW_MESSAGES = 64
"""Turns of more are of a burst, where nothing is left in the socket: their sizes are not read."""
GENERATION_MESSAGES = 1000
"""The smallest message is looked for among so many, and as many before them."""
PUBLISH_HEAD_BYTES = 4
"""Of a PUBLISH packet, at least: type, length, length of the topic (MQTT 3.1.1, 3.3)."""
LONG_BYTES = 128
"""From here on a packet's length takes two bytes or more (MQTT 3.1.1, 2.2.3)."""
NONE_SEEN = 1 << 30


class Patience:
    """How long, and for how many bytes, the next turn waits."""

    def __init__(self, limits: Limits, *, acknowledging: bool) -> None:
        """Begin without patience.

        Args:
            limits: Bounds of what may wait.
            acknowledging: Whether messages come at QoS 1: then the broker sends only so many (20
                of mosquitto's own accord) before acknowledgements, and must not be kept waiting
                for them.
        """
        self._interval = 0.0 if acknowledging else limits.turn_interval_seconds
        self._seconds = 0.0 if acknowledging else limits.defer_seconds
        self._read_by = 0.0
        """When what was left in the socket is to be read, on the monotonic clock."""
        self._begun = 0.0
        self.busy = self._loaded = False
        """Whether turns come at their interval: under load."""
        self._surveyed = 0.0
        """Since when messages are counted, on the monotonic clock."""
        self._counted = 0
        self._smallest = self._smallest_before = NONE_SEEN
        self._seen = 0

    def pause(self, now: float) -> float:
        """Return how many seconds too early it is for a turn; `now` on the monotonic clock."""
        if not self.busy:
            return 0.0
        return self._interval - (now - self._begun)

    def leave(self, due: Due, now: float) -> tuple[int, float]:
        """Return how many bytes to leave in the socket, and until when if no more come.

        Args:
            due: When the next window can be due. As many of the smallest messages seen are left as
                come before, and not one byte more: the next may be of the message that matters.
            now: On the monotonic clock, as is what is returned.
        """
        smallest = min(self._smallest, self._smallest_before)
        if due.messages <= 1 or self.busy or now >= self._read_by or smallest == NONE_SEEN:
            return 0, now
        certain = min(due.messages - 1, LEFT_MESSAGES)
        usual = min(due.usual_messages - 1, LEFT_MESSAGES)
        if usual > certain and due.seconds > 0:
            return usual * smallest, min(self._read_by, now + due.seconds)
        return certain * smallest, self._read_by

    def begin(self, messages: int, size: int, now: float) -> None:
        """Take note of a turn that begins with so many messages.

        Args:
            messages: How many.
            size: Bytes of their payloads.
            now: On the monotonic clock.
        """
        self._begun = now
        self._counted += messages + size // MESSAGE_BYTES
        passed = now - self._surveyed
        if passed > SURVEY_INTERVALS * self._interval:
            loaded = self._counted * self._interval >= BUSY_MESSAGES * passed
            self.busy, self._loaded = loaded and self._loaded, loaded
            self._surveyed, self._counted = now, 0
        if messages:
            self._read_by = now + self._seconds

    def look_at(self, messages: list[Message], *, version5: bool) -> None:
        """Look for the smallest message of a turn; there is time for it when the turn is over.

        Args:
            messages: What the turn took.
            version5: Whether they came with properties, at least the byte that says none.
        """
        count = len(messages)
        if 0 < count <= FEW_MESSAGES and self._seconds:
            sizes = [len(payload) + len(topic) for topic, payload, _, _ in messages]
            least = min(sizes) + PUBLISH_HEAD_BYTES + version5
            self._smallest = min(self._smallest, least + (least - 2 >= LONG_BYTES))
            self._seen += count
            if self._seen >= GENERATION_MESSAGES:
                self._smallest_before, self._smallest = self._smallest, NONE_SEEN
                self._seen = 0
