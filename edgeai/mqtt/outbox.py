"""Publications that wait to be sent, or that the broker has not acknowledged yet."""

import logging
import time
from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from edgeai import topics
from edgeai.log_events import event
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.broker_limits import BrokerLimits, Terms
from edgeai.mqtt.confirmation import Confirmation
from edgeai.mqtt.publish_rights import PublishRights

log = logging.getLogger("edgeai.mqtt")

MAX_IN_FLIGHT = 100  # QoS 1 publications; paho searches all of them at each PUBACK
MAX_PACKET_OVERHEAD_BYTES = 10  # fixed header 5, topic length 2, packet id 2, no properties 1
BATCH_BYTES = 256 * 1024
MAX_HELD, MAX_HELD_BYTES = 1000, 1024 * 1024  # publications that wait for an answer about others
MAX_VALID_TOPICS = 100_000


class Outbox:
    """First in, first out. A QoS 1 publication stays until the broker has acknowledged it."""

    def __init__(self, metrics: Metrics, keepalive_seconds: float) -> None:
        """Start empty.

        Args:
            metrics: Metrics of the connection.
            keepalive_seconds: As for `Confirmation`.
        """
        self.confirmation = Confirmation(keepalive_seconds)
        """What was sent at QoS 0."""
        self.rights = PublishRights()
        self._metrics = metrics
        self._waiting: deque[Publication] = deque()
        self._in_flight: dict[int, Publication] = {}
        """QoS 1 publications sent and not acknowledged, by packet id."""
        self._held: dict[str, list[Publication]] = {}
        """Publications that wait for the broker's answer to one before them, by topic."""
        self._held_count = self._held_bytes = 0
        self._sending: list[Publication] = []
        """Publications returned by `next_batch` and not confirmed by `mark_sent`."""
        self._valid_topics: set[str] = set()
        self._logged_too_large = False
        self._too_large: str | None = None
        """What the broker does not take because of its size; None: nothing on this connection."""
        self._limits = BrokerLimits()
        self._may_bypass = True
        """Whether the broker takes publications at QoS 0 as they are, as far as it has said."""

    def __len__(self) -> int:
        """Number of publications that the broker may not have received."""
        return len(self._waiting) + len(self._in_flight) + self._held_count

    @property
    def fault(self) -> str | None:
        """What the broker does not take, as text for the user; None if nothing is known."""
        return self.rights.fault or self._too_large

    def set_broker_limits(self, limits: BrokerLimits) -> None:
        """Store the limits of a new connection."""
        self._limits = limits
        self._too_large = None
        self.rights.restart(
            answers_with_reason=limits.answers_with_reason and limits.terms.max_qos > 0
        )
        self._update_bypass()

    def _update_bypass(self) -> None:
        limits = self._limits
        is_unlimited = limits.max_packet_bytes is None and limits.terms.retain
        self._may_bypass = is_unlimited and self.rights.is_settled

    @property
    def can_bypass(self) -> bool:
        """Whether publications to topics used before may be sent without the outbox.

        This is the usual case: nothing waits, the broker has no limit that concerns them, and
        refuses nothing.
        """
        return not self._waiting and self._may_bypass

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
        limits, rights = self._limits, self.rights
        now = time.monotonic()
        room = min(MAX_IN_FLIGHT, limits.receive_maximum or MAX_IN_FLIGHT) - len(self._in_flight)
        while self._waiting and size < BATCH_BYTES:
            publication = self._within(limits.terms, self._waiting[0])
            if publication.qos and room <= 0:
                break
            self._waiting.popleft()
            if not self._is_valid(publication):
                continue
            if publication.qos:
                room -= 1
                rights.note_qos1(now)
            elif rights.asks:
                way = rights.way_of(publication.topic, now, may_ask=room > 0)
                if way == "hold":
                    self._hold(publication)
                    continue
                if way == "ask":
                    publication = replace(publication, qos=1)
                    room -= 1
                elif rights.count_sent(publication.topic):  # sent, in case it is accepted now
                    self._metrics.unpublished.inc()
            batch.append(publication)
            size += len(publication.payload)
        self._sending = batch
        self._update_bypass()
        return batch

    def mark_sent(self, batch: list[Publication], packet_ids: Iterable[int]) -> None:
        """Remember the QoS 1 publications of a batch by packet id; the id is 0 at QoS 0."""
        for publication, packet_id in zip(batch, packet_ids, strict=True):
            if packet_id:
                self._in_flight[packet_id] = publication
            else:
                self.confirmation.sent += 1
        self._sending = []

    def acknowledge(self, packet_id: int, failure: str | None) -> None:
        """Remove a publication that the broker has accepted, or refused for a reason."""
        publication = self._in_flight.pop(packet_id, None)
        if publication is None:
            return
        lost = self.rights.on_answer(publication, failure)
        if lost:
            self._metrics.unpublished.inc(lost)
        if self._held:
            self._release(publication.topic)
        self._update_bypass()

    def _hold(self, publication: Publication) -> None:
        """Let a publication wait for the answer to one before it; beyond the bounds none waits."""
        topic = publication.topic
        self._held.setdefault(topic, []).append(publication)
        self._held_count += 1
        self._held_bytes += len(publication.payload)
        if self._held_count > MAX_HELD or self._held_bytes > MAX_HELD_BYTES:
            self.rights.stop_waiting(topic)
            self._release(topic)

    def _release(self, topic: str) -> None:
        """Queue first what waits for the answer about a topic."""
        held = self._held.pop(topic, [])
        self._held_count -= len(held)
        self._held_bytes -= sum(len(one.payload) for one in held)
        self.add_first(held)

    def tick(self, now: float) -> None:
        """Do what is due from time to time.

        What waits too long for an answer is queued, and so is, again, what the broker has refused.

        Args:
            now: Seconds of the monotonic clock.
        """
        for topic in self.rights.overdue(now):
            self._release(topic)
        self.rights.tell(now)
        self._waiting.extend(self.rights.take_retry(now))

    def requeue_unacknowledged(self) -> None:
        """Queue again, first, what was in flight or being sent on a connection that was lost.

        The broker may receive some of it twice, with the same `id` in the payload.
        """
        sent = [
            replace(one, qos=0) if not one.retain and self.rights.awaits_answer(one.topic) else one
            for one in [*self._in_flight.values(), *self._sending]
        ]
        self.add_first([*sent, *[one for held in self._held.values() for one in held]])
        self._in_flight.clear()
        self._held.clear()
        self._held_count = self._held_bytes = 0
        self._sending = []

    def _within(self, terms: Terms, publication: Publication) -> Publication:
        """Return a publication as the broker takes it."""
        if publication.retain > terms.retain or publication.qos > terms.max_qos:
            retain, qos = publication.retain and terms.retain, min(publication.qos, terms.max_qos)
            return replace(publication, retain=retain, qos=qos)
        return publication

    def _is_valid(self, publication: Publication) -> bool:
        """Return False, and count, if the broker would close the connection because of it."""
        topic = publication.topic
        if topic not in self._valid_topics:
            if not topics.is_topic_name(topic):
                log.error(
                    "cannot publish to %r: not a valid topic name", topic[:200],
                    extra=event("publication_invalid", topic=topic[:200]),
                )  # fmt: skip
                self._metrics.unpublished.inc()
                return False
            if len(self._valid_topics) >= MAX_VALID_TOPICS:
                self._valid_topics.clear()
            self._valid_topics.add(topic)
        limit = self._limits.max_packet_bytes
        if limit is None:
            return True
        size = len(publication.payload) + len(topic.encode()) + MAX_PACKET_OVERHEAD_BYTES
        if size <= limit:
            return True
        self._too_large = (
            f"the broker takes packets of at most {limit:,} bytes, and a publication to "
            f"{topic[:200]} has {size:,}: raise it at the broker (mosquitto: max_packet_size)"
        )
        if not self._logged_too_large:
            self._logged_too_large = True
            log.error(
                "the broker accepts packets of at most %d bytes; a publication of %d bytes to %r "
                "was dropped (later ones are counted in edgeai_publications_dropped_total)",
                limit, size, topic[:200],
                extra=event("publication_too_large", topic=topic[:200], size=size, limit=limit),
            )  # fmt: skip
        self._metrics.unpublished.inc()
        return False
