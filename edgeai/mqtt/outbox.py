"""Publications on their way: waiting, sent and not yet acknowledged, and what may not be sent."""

import logging
from collections import deque
from collections.abc import Iterable

from edgeai import topics
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics

log = logging.getLogger("edgeai.mqtt")

MAX_UNACKNOWLEDGED = 100
"""QoS 1 publications under way. paho's search at each PUBACK makes a larger window slower."""
PACKET_HEAD_BYTES = 10
"""Of a PUBLISH, at most: fixed header 5, length of the topic 2, packet id 2, no properties 1."""
BATCH_BYTES = 256 * 1024
MAX_SOUND_TOPICS = 100_000


class Outbox:
    """First in, first out; a QoS 1 publication stays until the broker has acknowledged it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: deque[Publication] = deque()
        self._unacknowledged: dict[int, Publication] = {}
        self._in_hand: list[Publication] = []
        """Taken, and not yet said to be sent."""
        self._sound_topics: set[str] = set()
        self._told_too_large = False
        self._window = MAX_UNACKNOWLEDGED
        self._max_packet_bytes: int | None = None

    def __len__(self) -> int:
        """How many the broker does not have yet, as far as we know."""
        return len(self._waiting) + len(self._unacknowledged)

    def allow(self, receive_maximum: int | None, max_packet_bytes: int | None) -> None:
        """Take note of what a new connection's broker takes; None where it does not say."""
        self._window = min(MAX_UNACKNOWLEDGED, receive_maximum or MAX_UNACKNOWLEDGED)
        self._max_packet_bytes = max_packet_bytes

    @property
    def may_be_passed_by(self) -> bool:
        """Whether publications of topics that were sent before may be sent at once.

        As mostly: nothing waits, and the broker takes packets of any size.
        """
        return not self._waiting and self._max_packet_bytes is None

    def add(self, publications: Iterable[Publication]) -> None:
        """Queue in this order."""
        self._waiting.extend(publications)

    def add_first(self, publications: Iterable[Publication]) -> None:
        """Queue before all others, in this order."""
        self._waiting.extendleft(reversed(list(publications)))

    def forget(self, topic: str) -> None:
        """Drop what waits for a topic: something newer is to be its retained message."""
        self._waiting = deque(one for one in self._waiting if one.topic != topic)

    def drop_oldest(self, limit: int) -> None:
        """Drop, and count, the oldest of what waits beyond a limit."""
        excess = len(self._waiting) - limit
        for _ in range(excess):
            self._waiting.popleft()
        if excess > 0:
            self._metrics.unpublished.inc(excess)

    def next_batch(self) -> list[Publication]:
        """Take what may be sent now, about BATCH_BYTES of it; `sent` says that it was."""
        batch: list[Publication] = []
        size = 0
        room = self._window - len(self._unacknowledged)
        while self._waiting and size < BATCH_BYTES:
            publication = self._waiting[0]
            if publication.qos:
                if room <= 0:
                    break
                room -= 1
            self._waiting.popleft()
            if self._is_sound(publication):
                batch.append(publication)
                size += len(publication.payload)
        self._in_hand = batch
        return batch

    def sent(self, batch: list[Publication], packet_ids: Iterable[int]) -> None:
        """Remember what the broker has to acknowledge; its packet id is 0 at QoS 0."""
        for publication, packet_id in zip(batch, packet_ids, strict=True):
            if packet_id:
                self._unacknowledged[packet_id] = publication
        self._in_hand = []

    def acknowledged(self, packet_id: int, failure: str | None) -> None:
        """Forget what the broker has taken, or has refused for a reason."""
        publication = self._unacknowledged.pop(packet_id, None)
        if publication is not None and failure is not None:
            log.error("the broker refuses a publication to %r: %s", publication.topic, failure)
            self._metrics.unpublished.inc()

    def send_again(self) -> None:
        """Queue again, before all others, what was not acknowledged on a connection now lost.

        Then what was being sent: of both, what had arrived has the same id again.
        """
        self.add_first([*self._unacknowledged.values(), *self._in_hand])
        self._unacknowledged.clear()
        self._in_hand = []

    def _is_sound(self, publication: Publication) -> bool:
        """Refuse, and count, what a broker would answer with a disconnect, again and again."""
        topic = publication.topic
        if topic not in self._sound_topics:
            if not topics.is_topic_name(topic):
                log.error("cannot publish to %r: not a topic name", topic[:200])
                self._metrics.unpublished.inc()
                return False
            if len(self._sound_topics) >= MAX_SOUND_TOPICS:
                self._sound_topics.clear()
            self._sound_topics.add(topic)
        limit = self._max_packet_bytes
        if limit is None:
            return True
        size = len(publication.payload) + len(topic.encode()) + PACKET_HEAD_BYTES
        if size <= limit:
            return True
        if not self._told_too_large:
            self._told_too_large = True
            log.error(
                "the broker takes packets of at most %d bytes; dropped one of %d to %r, and so on",
                limit, size, topic[:200],
            )  # fmt: skip
        self._metrics.unpublished.inc()
        return False
