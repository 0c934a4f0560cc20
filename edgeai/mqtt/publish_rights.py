"""Finds out whether the broker takes our publications, as far as MQTT tells.

At MQTT 5 a broker answers a publication at QoS 1, and says if it refuses it (an ACL, for example);
one at QoS 0 is thrown away without a word, as is every one at MQTT 3.1.1. So on each connection the
first publication under each parent topic is sent at QoS 1 in place of QoS 0; and where something is
refused, the next one to each topic. (Not the first to each topic from the start: a subscriber may
get many messages at QoS 1 after those at QoS 0 that follow them.) What is refused is told once for
each parent, makes the node not ready, and is tried again every RETRY_SECONDS.
"""

import logging
from collections import Counter

from edgeai.log_events import event
from edgeai.messages import Publication

log = logging.getLogger("edgeai.mqtt")

MAX_ASKED = 1000  # topics that are asked about on one connection
MAX_REFUSED = 1000  # topics that are known to be refused
RETRY_SECONDS = 30.0


class PublishRights:
    """What the broker has said about the topics that we publish to."""

    def __init__(self) -> None:
        self._asks = False
        self._asked: set[str] = set()
        """Parent topics asked about on this connection; topics, where something is refused."""
        self._unanswered: set[str] = set()
        """Topics of the publications that were sent at QoS 1 to see the answer."""
        self._unknown: dict[str, Counter[str]] = {}
        """Publications at QoS 0 that were sent before the answer, by parent and topic."""
        self._refused: dict[str, str] = {}
        """Why publications are refused, by topic."""
        self._parents: set[str] = set()
        """Parents of the refused topics."""
        self._kept: dict[str, Publication] = {}
        """The last refused retained publication of each topic."""
        self._next_retry = 0.0  # monotonic seconds

    @property
    def fault(self) -> str | None:
        """What is refused, as text for the user; None if nothing is known to be."""
        return next(iter(self._refused.values()), None)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is refused, and no answer is awaited."""
        return not self._refused and not self._unanswered

    def restart(self, *, answers_with_reason: bool) -> None:
        """Start with a new connection.

        Args:
            answers_with_reason: Whether the broker says if it refuses a publication at QoS 1.
        """
        self._asks = answers_with_reason
        self._asked.clear()
        self._unanswered.clear()
        self._unknown.clear()
        if not answers_with_reason:
            self._refused.clear()
            self._parents.clear()
            self._kept.clear()

    def wants_answer(self, topic: str) -> bool:
        """Return whether to send a publication to this topic at QoS 1, to see the answer."""
        if not self._asks:
            return False
        parent = _parent(topic)
        asked = topic if parent in self._parents else parent
        if asked in self._asked or len(self._asked) >= MAX_ASKED:
            return False
        self._asked.add(asked)
        self._unanswered.add(topic)
        self._unknown.setdefault(parent, Counter())
        return True

    def is_lost(self, topic: str) -> bool:
        """Return whether the broker is known to throw away a publication at QoS 0 to this topic.

        While it is not known, the publication is counted until the answer comes.
        """
        if topic in self._refused:
            return True
        unknown = self._unknown.get(_parent(topic))
        if unknown is not None and (topic in unknown or len(unknown) < MAX_REFUSED):
            unknown[topic] += 1
        return False

    def is_refused(self, topic: str) -> bool:
        """Return whether the broker refuses publications to this topic, as far as it has said."""
        return topic in self._refused

    def on_answer(self, publication: Publication, failure: str | None) -> tuple[int, int]:
        """Record the broker's answer.

        Args:
            publication: At QoS 1.
            failure: Why the broker refused it; None: it was accepted.

        Returns:
            How many publications are lost by this that were not counted before, and how many to
            other topics under the same parent may be.
        """
        topic, parent = publication.topic, _parent(publication.topic)
        self._asked.add(parent)
        self._unanswered.discard(topic)
        unknown = self._unknown.pop(parent, None) or Counter[str]()
        lost = unknown.pop(topic, 0)
        counted_before = self._kept.pop(topic, None) is publication
        if failure is None:
            if self._refused.pop(topic, None):
                self._parents = {_parent(one) for one in self._refused}
                if parent not in self._parents:
                    log.info(
                        "the broker accepts publications to %s again", topic[:200],
                        extra=event("publications_accepted", topic=topic[:200]),
                    )  # fmt: skip
            return 0, 0
        fault = f"the broker refuses publications to {topic[:200]}: {failure}"
        if parent not in self._parents:
            log.error(
                "%s; tried again every %.0f s, and counted as dropped", fault, RETRY_SECONDS,
                extra=event("publications_refused", topic=topic[:200], reason=failure),
            )  # fmt: skip
        if topic in self._refused or len(self._refused) < MAX_REFUSED:
            self._refused[topic] = fault
            self._parents.add(parent)
            if publication.retain:
                self._kept[topic] = publication
        return lost + (not counted_before), unknown.total()

    def take_retry(self, now: float) -> list[Publication]:
        """Return the retained publications to be sent again now; others are asked about again.

        Args:
            now: Seconds of the monotonic clock.
        """
        if not self._refused or now < self._next_retry:
            return []
        first = self._next_retry == 0.0
        self._next_retry = now + RETRY_SECONDS
        if first:  # refused just now
            return []
        self._asked -= self._refused.keys() | self._parents
        return list(self._kept.values())


def _parent(topic: str) -> str:
    return topic.rpartition("/")[0]
