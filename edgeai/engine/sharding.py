"""Which streams a worker takes: `workers: N` splits them by a stable hash of their keys.

Every worker subscribes to everything and skips the messages of other workers' streams. MQTT's
shared subscriptions would save that reading, but they spread the messages of one stream over all
workers, so no worker would see a whole window.
"""

import re
import time
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from edgeai.config.node import MAX_WORKERS
from edgeai.engine.topic_cache import TopicCache
from edgeai.messages import AT_ONCE, Due, Message, MessageSource


class Shard(NamedTuple):
    """The streams of worker `number` of `of`; the default is all streams."""

    number: int = 1
    of: int = 1

    def takes(self, key: str) -> bool:
        """Return whether a stream key is in this shard.

        CRC-32, because Python's own hash differs from process to process.
        """
        return zlib.crc32(key.encode("utf-8", "replace")) % self.of == self.number - 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `2/4`.

        Raises:
            ValueError: The text is not of this form, or its numbers are out of range.
        """
        found = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]) <= MAX_WORKERS:
            msg = f"must be NUMBER/OF, such as 2/4, of at most {MAX_WORKERS}: {text!r}"
            raise ValueError(msg)
        return cls(int(found[1]), int(found[2]))


class ShardedSource:
    """A source without the messages of other workers' streams; one look-up a message."""

    def __init__(
        self,
        source: MessageSource,
        shard: Shard,
        keys_of: Callable[[str], Iterable[str] | None],
        count_skipped: Callable[[int], None],
    ) -> None:
        """Wrap a source.

        Args:
            source: Gives all messages.
            shard: The streams to let through.
            keys_of: Returns the stream keys of a topic, none if no pipeline takes it. Such a topic
                is let through by the first worker, which counts it. None: messages name the
                streams, so every worker lets them through.
            count_skipped: Called with the number of messages that were skipped.
        """
        self._source = source
        self._shard = shard
        self._keys_of = keys_of
        self._count_skipped = count_skipped
        self._is_mine: TopicCache[bool] = TopicCache()

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        """Return this worker's messages; wait at most `timeout_seconds` for the first."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            wait = deadline - time.monotonic()
            messages = self._source.receive(max(0.0, wait), due)
            mine = [message for message in messages if self._takes(message[0])]
            if len(mine) != len(messages):
                self._count_skipped(len(messages) - len(mine))
            if mine or not messages or wait <= 0:
                return mine
            # All were other workers': skip the turn, but acknowledge, so that the broker goes on.
            self._source.commit()

    def commit(self) -> None:
        """Acknowledge all that was received, the messages of other workers included."""
        self._source.commit()

    def _takes(self, topic: str) -> bool:
        mine = self._is_mine.get(topic)
        if mine is None:
            found = self._keys_of(topic)
            keys = None if found is None else list(found)
            if keys is None:
                mine = True
            else:
                mine = any(map(self._shard.takes, keys)) if keys else self._shard.number == 1
            self._is_mine.add(topic, mine)
        return mine
