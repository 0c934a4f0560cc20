"""Finds out whether the broker takes our publications, as far as MQTT tells.

At MQTT 5 a broker answers a publication at QoS 1, and says if it refuses it (an ACL, for example);
one at QoS 0 is thrown away without a word, as is every one at MQTT 3.1.1. So on each connection one
publication to each topic is sent at QoS 1 in place of QoS 0.

A broker may deliver QoS 0 before QoS 1: mosquitto queues QoS 1 while a subscriber has not
acknowledged 20 messages, and lets QoS 0 pass. The predictions of an asset must arrive in order, so
that one publication is chosen with care: not while a topic is new, because the first states of all
alarms are then on their way at QoS 1; not while more than a few of our publications were sent at
QoS 1 shortly before; and those that follow it to the same topic wait for the broker's answer.

What is refused makes the node not ready, is told once, and is tried again every RETRY_SECONDS.
"""

import logging
from collections import deque
from typing import Literal

from edgeai.log_events import event
from edgeai.messages import Publication

log = logging.getLogger("edgeai.mqtt")

MAX_ASKED = 10_000  # topics that are asked about on one connection
MAX_REFUSED = 10_000  # topics that are known to be refused
MAX_KEPT = 1000  # retained publications that are sent again
RETRY_SECONDS = 30.0
NEW_SECONDS = 2.0  # a topic is asked about when it is older, by its first use on the connection
QUIET_COUNT, QUIET_SECONDS = 10, 0.5
"""Ask only if fewer publications were sent at QoS 1 within this time: half of mosquitto's 20."""
MAX_WAIT_SECONDS = 30.0  # ask after this time even if it is never quiet
ANSWER_SECONDS = 2.0  # the longest wait for the broker's answer
MAX_LINES = 10  # kinds of refused topics that the log names at once
SHOWN_TOPICS = 20  # named in one line that tells of further ones

Way = Literal["send", "ask", "hold"]


class _New:
    """A topic that was used on this connection and not asked about."""

    __slots__ = ("sent", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        """Its first use, monotonic seconds."""
        self.sent = 0
        """Publications at QoS 0 since then."""


class PublishRights:
    """What the broker has said about the topics that we publish to."""

    def __init__(self) -> None:
        self.asks = False
        """Whether the broker says if it refuses a publication at QoS 1."""
        self._new: dict[str, _New] = {}
        self._asked: set[str] = set()
        self._unanswered: dict[str, tuple[float, int]] = {}
        """Topics whose answer is awaited: since when, and publications at QoS 0 before."""
        self._sent_at_qos1: deque[float] = deque(maxlen=QUIET_COUNT)
        """When the last of them were sent, monotonic seconds."""
        self._refused: dict[str, str] = {}
        """Why publications are refused, by topic."""
        self._refused_parents: dict[str, int] = {}
        """Number of refused topics by parent topic."""
        self._untold: list[str] = []
        """Refused topics of which the log has not told yet."""
        self._next_tell = 0.0  # monotonic seconds
        self._kept: dict[str, Publication] = {}
        """The last refused retained publication of each topic."""
        self._next_retry = 0.0  # monotonic seconds

    @property
    def fault(self) -> str | None:
        """What is refused, as text for the user; None if nothing is known to be."""
        first = next(iter(self._refused.values()), None)
        more = len(self._refused) - 1
        return f"{first} (and to {more:,} more topics)" if more > 0 else first

    @property
    def is_settled(self) -> bool:
        """Whether nothing is refused, and no answer is awaited."""
        return not self._refused and not self._unanswered

    def restart(self, *, answers_with_reason: bool) -> None:
        """Start with a new connection.

        Args:
            answers_with_reason: Whether the broker says if it refuses a publication at QoS 1.
        """
        self.asks = answers_with_reason
        self._new.clear()
        self._asked.clear()
        self._unanswered.clear()
        self._sent_at_qos1.clear()
        if not answers_with_reason:
            self._refused.clear()
            self._refused_parents.clear()
            self._untold.clear()
            self._kept.clear()

    def is_known(self, topic: str) -> bool:
        """Return whether publications to this topic need no further look by `way_of`."""
        if not self.asks or (topic in self._asked and topic not in self._unanswered):
            return True
        return topic not in self._new and len(self._new) + len(self._asked) >= MAX_ASKED

    def note_qos1(self, now: float) -> None:
        """Note that a publication is sent at QoS 1."""
        self._sent_at_qos1.append(now)

    def way_of(self, topic: str, now: float, *, may_ask: bool = True) -> Way:
        """Return how to send a publication of QoS 0 to a topic.

        Args:
            topic: Its topic.
            now: Monotonic seconds.
            may_ask: Whether it may be sent at QoS 1.

        Returns:
            `ask`: at QoS 1, to see the answer. `hold`: not before the answer. `send`: as it is.
        """
        unanswered = self._unanswered.get(topic)
        if unanswered is not None:
            return "hold" if now - unanswered[0] < ANSWER_SECONDS else "send"
        if not self.asks or topic in self._asked:
            return "send"
        new = self._new.get(topic)
        if new is None:
            if len(self._new) + len(self._asked) >= MAX_ASKED:
                return "send"
            new = self._new[topic] = _New(now)
        age = now - new.since
        is_time = age >= NEW_SECONDS and (age >= MAX_WAIT_SECONDS or self._is_quiet(now))
        if not (is_time and may_ask):
            return "send"
        self.note_qos1(now)
        del self._new[topic]
        self._asked.add(topic)
        self._unanswered[topic] = now, new.sent
        return "ask"

    def _is_quiet(self, now: float) -> bool:
        sent = self._sent_at_qos1
        return len(sent) < QUIET_COUNT or now - sent[0] >= QUIET_SECONDS

    def count_sent(self, topic: str) -> bool:
        """Count a publication sent at QoS 0; return whether it is known to be thrown away."""
        if topic in self._refused:
            return True
        new = self._new.get(topic)
        if new is not None:
            new.sent += 1
        elif topic in self._unanswered:  # the broker does not answer
            since, sent = self._unanswered[topic]
            self._unanswered[topic] = since, sent + 1
        return False

    def awaits_answer(self, topic: str) -> bool:
        """Return whether a publication to this topic was sent at QoS 1 only to see the answer."""
        return topic in self._unanswered

    def is_refused(self, topic: str) -> bool:
        """Return whether the broker refuses publications to this topic, as far as it has said."""
        return topic in self._refused

    def stop_waiting(self, topic: str) -> None:
        """Hold no more publications to a topic, although its answer is awaited."""
        self._unanswered[topic] = -ANSWER_SECONDS, self._unanswered[topic][1]

    def overdue(self, now: float) -> list[str]:
        """Return the topics whose answer does not come."""
        waiting = self._unanswered.items()
        return [topic for topic, (since, _) in waiting if now - since >= ANSWER_SECONDS]

    def on_answer(self, publication: Publication, failure: str | None) -> int:
        """Record the broker's answer.

        Args:
            publication: At QoS 1.
            failure: Why the broker refused it; None: it was accepted.

        Returns:
            How many publications are lost by this that were not counted before.
        """
        topic = publication.topic
        _, lost = self._unanswered.pop(topic, (0.0, 0))
        counted_before = self._kept.pop(topic, None) is publication
        if failure is None:
            if self._new.pop(topic, None) is not None:
                self._asked.add(topic)
            self._accept(topic)
            return 0
        self._refuse(topic, failure)
        if publication.retain and topic in self._refused and len(self._kept) < MAX_KEPT:
            self._kept[topic] = publication
        return lost + (not counted_before)

    def _accept(self, topic: str) -> None:
        if self._refused.pop(topic, None) is None:
            return
        parent = _parent(topic)
        self._refused_parents[parent] -= 1
        if not self._refused_parents[parent]:
            del self._refused_parents[parent]
            log.info(
                "the broker accepts publications to %s again", topic[:200],
                extra=event("publications_accepted", topic=topic[:200]),
            )  # fmt: skip

    def _refuse(self, topic: str, failure: str) -> None:
        if topic in self._refused or len(self._refused) >= MAX_REFUSED:
            return
        if not self._refused:  # the rights may have changed: all topics are asked about again
            self._asked = {topic, *self._unanswered}
        parent = _parent(topic)
        fault = f"the broker refuses publications to {topic[:200]}: {failure}"
        if parent in self._refused_parents or len(self._refused_parents) >= MAX_LINES:
            self._untold.append(topic)
        else:
            log.error(
                "%s; tried again every %.0f s, and counted as dropped", fault, RETRY_SECONDS,
                extra=event("publications_refused", topic=topic[:200], reason=failure),
            )  # fmt: skip
        self._refused[topic] = fault
        self._refused_parents[parent] = self._refused_parents.get(parent, 0) + 1

    def tell(self, now: float) -> None:
        """Tell from time to time which further topics are refused."""
        if not self._untold or now < self._next_tell:
            return
        self._next_tell = now + RETRY_SECONDS
        untold, self._untold = [one for one in self._untold if one in self._refused], []
        if untold:
            more = len(untold) - SHOWN_TOPICS
            log.error(
                "the broker also refuses publications to %s%s",
                ", ".join(topic[:200] for topic in untold[:SHOWN_TOPICS]),
                f" and {more:,} more topics" if more > 0 else "",
                extra=event("publications_refused", topic=untold[0][:200]),
            )  # fmt: skip

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
        self._asked -= self._refused.keys() - self._unanswered.keys()
        return list(self._kept.values())


def _parent(topic: str) -> str:
    return topic.rpartition("/")[0]
