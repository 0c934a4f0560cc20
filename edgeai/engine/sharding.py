"""Which streams a worker takes: `workers: N` splits them by a stable hash of their keys.

Every worker subscribes to everything and leaves what is another's. Shared subscriptions would spare
the reading, but hand the messages of one stream to all in turn: no window would be whole.
"""

import re
import time
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from edgeai.config.node import MAX_WORKERS
from edgeai.messages import AT_ONCE, Due, Message

MAX_TOPICS = 200_000


class Share(NamedTuple):
    """The share of one worker of several: the first of one takes all."""

    number: int = 1
    of: int = 1

    def takes(self, key: str) -> bool:
        """Whether a stream key is this worker's. Not Python's hash: that differs by process."""
        return zlib.crc32(key.encode("utf-8", "replace")) % self.of == self.number - 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read `2/4`.

        Raises:
            ValueError: It is none.
        """
        found = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]) <= MAX_WORKERS:
            msg = f"must be NUMBER/OF, such as 2/4, of at most {MAX_WORKERS}: {text!r}"
            raise ValueError(msg)
        return cls(int(found[1]), int(found[2]))


class Source(Protocol):
    """Where all messages come from."""

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        """Return what has arrived; nothing only when the time is over or the process stops.

        Messages with which no window is due may be left for later.
        """

    def commit(self) -> None:
        """Acknowledge everything that `receive` has returned."""


class OwnMessages:
    """A source that leaves the messages of other workers' streams: one look-up for each."""

    def __init__(
        self,
        source: Source,
        share: Share,
        keys_of: Callable[[str], Iterable[str]],
        left: Callable[[int], None],
    ) -> None:
        """Wrap a source.

        Args:
            source: Gives everything.
            share: What to let through.
            keys_of: The stream keys of a topic, at least one where somebody wants it. A topic that
                nobody wants is the first worker's to count.
            left: Told how many messages were left to others.
        """
        self._source = source
        self._share = share
        self._keys_of = keys_of
        self._left = left
        self._mine: dict[str, bool] = {}

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        """Return what has arrived for this worker, waiting for the first at most so long."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            wait = deadline - time.monotonic()
            messages = self._source.receive(max(0.0, wait), due)
            mine = [message for message in messages if self._is_mine(message[0])]
            if len(mine) != len(messages):
                self._left(len(messages) - len(mine))
            if mine or not messages or wait <= 0:
                return mine
            # All are other workers': no turn for them, but the broker's window must open again.
            self._source.commit()

    def commit(self) -> None:
        """Acknowledge everything that was received, other workers' messages too."""
        self._source.commit()

    def _is_mine(self, topic: str) -> bool:
        mine = self._mine.get(topic)
        if mine is None:
            keys = list(self._keys_of(topic))
            mine = any(map(self._share.takes, keys)) if keys else self._share.number == 1
            if len(self._mine) >= MAX_TOPICS:
                self._mine.clear()
            self._mine[topic] = mine
        return mine
