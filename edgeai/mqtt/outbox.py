"""Publications that wait to be sent, or that the broker has not acknowledged yet."""

import logging
from collections import deque
from collections.abc import Iterable

from edgeai import topics
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics

log = logging.getLogger("edgeai.mqtt")

MAX_IN_FLIGHT = 100  # QoS 1 publications; paho searches all of them at each PUBACK
MAX_PACKET_OVERHEAD_BYTES = 10  # fixed header 5, topic length 2, packet id 2, no properties 1
BATCH_BYTES = 256 * 1024
MAX_VALID_TOPICS = 100_000


class Outbox:
    """First in, first out. A QoS 1 publication stays until the broker has acknowledged it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: deque[Publication] = deque()
        self._in_flight: dict[int, Publication] = {}
        """QoS 1 publications sent and not acknowledged, by packet id."""
        self._sending: list[Publication] = []
        """Publications returned by `next_batch` and not confirmed by `mark_sent`."""
        self._valid_topics: set[str] = set()
        self._logged_too_large = False
        self._max_in_flight = MAX_IN_FLIGHT
        self._max_packet_bytes: int | None = None

    def __len__(self) -> int:
        """Number of publications that the broker may not have received."""
        return len(self._waiting) + len(self._in_flight)

    def set_broker_limits(self, receive_maximum: int | None, max_packet_bytes: int | None) -> None:
        """Store the limits from CONNACK; None where the broker sets no limit."""
        self._max_in_flight = min(MAX_IN_FLIGHT, receive_maximum or MAX_IN_FLIGHT)
        self._max_packet_bytes = max_packet_bytes

    @property
    def can_bypass(self) -> bool:
        """Whether publications to topics used before may be sent without the outbox.

        This is the usual case: nothing waits, and the broker does not limit the packet size.
        """
        return not self._waiting and self._max_packet_bytes is None

    def add(self, publications: Iterable[Publication]) -> None:
        """Append to the queue, in this order."""
        self._waiting.extend(publications)

    def add_first(self, publications: Iterable[Publication]) -> None:
        """Insert before the queue, in this order."""
        self._waiting.extendleft(reversed(list(publications)))

    def drop_topic(self, topic: str) -> None:
        """Drop waiting publications to a topic that a newer retained message replaces."""
        self._waiting = deque(one for one in self._waiting if one.topic != topic)

    def drop_oldest(self, limit: int) -> None:
        """Drop and count the oldest waiting publications beyond a limit."""
        excess = len(self._waiting) - limit
        for _ in range(excess):
            self._waiting.popleft()
        if excess > 0:
            self._metrics.unpublished.inc(excess)

    def next_batch(self) -> list[Publication]:
        """Take what may be sent now, about BATCH_BYTES; call `mark_sent` after sending it."""
        batch: list[Publication] = []
        size = 0
        room = self._max_in_flight - len(self._in_flight)
        while self._waiting and size < BATCH_BYTES:
            publication = self._waiting[0]
            if publication.qos:
                if room <= 0:
                    break
                room -= 1
            self._waiting.popleft()
            if self._is_valid(publication):
                batch.append(publication)
                size += len(publication.payload)
        self._sending = batch
        return batch

    def mark_sent(self, batch: list[Publication], packet_ids: Iterable[int]) -> None:
        """Remember the QoS 1 publications of a batch by packet id; the id is 0 at QoS 0."""
        for publication, packet_id in zip(batch, packet_ids, strict=True):
            if packet_id:
                self._in_flight[packet_id] = publication
        self._sending = []

    def acknowledge(self, packet_id: int, failure: str | None) -> None:
        """Remove a publication that the broker has accepted, or refused for a reason."""
        publication = self._in_flight.pop(packet_id, None)
        if publication is not None and failure is not None:
            log.error("the broker refuses a publication to %r: %s", publication.topic, failure)
            self._metrics.unpublished.inc()

    def requeue_unacknowledged(self) -> None:
        """Queue again, first, what was in flight or being sent on a connection that was lost.

        The broker may receive some of it twice, with the same `id` in the payload.
        """
        self.add_first([*self._in_flight.values(), *self._sending])
        self._in_flight.clear()
        self._sending = []

    def _is_valid(self, publication: Publication) -> bool:
        """Return False, and count, if the broker would close the connection because of it."""
        topic = publication.topic
        if topic not in self._valid_topics:
            if not topics.is_topic_name(topic):
                log.error("cannot publish to %r: not a valid topic name", topic[:200])
                self._metrics.unpublished.inc()
                return False
            if len(self._valid_topics) >= MAX_VALID_TOPICS:
                self._valid_topics.clear()
            self._valid_topics.add(topic)
        limit = self._max_packet_bytes
        if limit is None:
            return True
        size = len(publication.payload) + len(topic.encode()) + MAX_PACKET_OVERHEAD_BYTES
        if size <= limit:
            return True
        if not self._logged_too_large:
            self._logged_too_large = True
            log.error(
                "the broker accepts packets of at most %d bytes; a publication of %d bytes to %r "
                "was dropped (later ones are counted in edgeai_publications_dropped_total)",
                limit, size, topic[:200],
            )  # fmt: skip
        self._metrics.unpublished.inc()
        return False
