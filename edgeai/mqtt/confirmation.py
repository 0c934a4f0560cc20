"""Counts the publications at QoS 0 that a lost connection may have taken with it.

The socket takes a publication at QoS 0, and nobody says whether the broker has read it. A broker
handles packets in their order, so its answer to a later PINGREQ confirms all that was sent before.
While publications are sent, the client asks once a second. After a loss, those sent since the last
answer are unconfirmed: they may have arrived or not.
"""

from collections import deque

KEEP_ALIVES = 2  # a connection that lasts for this many keep-alive times has been answered


class Confirmation:
    """What was sent on one connection, and how much of it the broker has confirmed."""

    def __init__(self, keepalive_seconds: float) -> None:
        """Start with nothing sent.

        Args:
            keepalive_seconds: After two of these times without an answer the client closes the
                connection. So older publications count as confirmed where no answer is seen.
        """
        self.sent = 0
        """Publications at QoS 0 given to the socket, on this connection."""
        self._confirmed = 0
        self._marks: deque[tuple[float, int]] = deque()
        """When the broker was asked, in monotonic seconds, and `sent` at that time."""
        self._oldest_seconds = KEEP_ALIVES * keepalive_seconds

    def mark(self, now: float) -> bool:
        """Return whether to ask the broker now; the answer is reported to `on_answer`."""
        while self._marks and now - self._marks[0][0] > self._oldest_seconds:
            self.on_answer()
        if self.sent == (self._marks[-1][1] if self._marks else self._confirmed):
            return False
        self._marks.append((now, self.sent))
        return True

    def on_answer(self) -> None:
        """Record the broker's answer to the oldest question."""
        if self._marks:
            self._confirmed = self._marks.popleft()[1]

    def restart(self) -> int:
        """Start again for the next connection; return how many publications are unconfirmed."""
        unconfirmed = self.sent - self._confirmed
        self.sent = self._confirmed = 0
        self._marks.clear()
        return unconfirmed
