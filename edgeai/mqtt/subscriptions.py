"""The subscriptions of one connection, how the broker answers them, and what its session holds."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from edgeai import topics
from edgeai.config.broker import Broker
from edgeai.log_events import event
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt.inbox import DROPS_TOPIC
from edgeai.mqtt.kept_filters import KeptFilters

log = logging.getLogger("edgeai.mqtt")

PUNISHED_SECONDS = 0.1
"""A connection that ends before the optional subscription is answered, or so soon after the answer,
has ended because of it."""


class Subscriptions:
    """QoS by topic filter, and what the broker has refused.

    Some are optional, and are subscribed to last, one after the other: the topics of operators'
    commands, and the broker's counter of dropped messages (`DROPS_TOPIC`). A broker may refuse one,
    or close the connection because of it; then it is given up, and the node goes on without it.
    """

    def __init__(
        self,
        qos_by_filter: dict[str, int],
        client_id: str,
        broker: Broker,
        metrics: Metrics,
        kept: Path | None = None,
        *,
        optional: Sequence[str] = (),
    ) -> None:
        """Prepare; `send` subscribes.

        Args:
            qos_by_filter: QoS by topic filter. A filter that another one contains is not
                subscribed: the broker might deliver a message once for each of them.
            client_id: Written to the log.
            broker: How long the broker keeps the session.
            metrics: Metrics of the connection.
            kept: File that keeps the filters of the session; None: nothing is kept.
            optional: Filters that the broker may refuse, at QoS 0: what it cannot deliver now is
                not kept for later. A connection without filters has no optional ones.
        """
        self._qos_by_filter = topics.cover(qos_by_filter)
        self._client_id = client_id
        self._expiry_seconds = broker.session_expiry_seconds
        self._metrics = metrics
        self.keep_session = any(qos > 0 for qos in qos_by_filter.values())
        """Whether the broker must keep messages while the client is disconnected."""
        self._kept = KeptFilters(kept)
        age = self._kept.age_seconds
        self._expects_session = self.keep_session and age is not None
        """Whether the broker has had a session of this client."""
        self._is_expired = age is not None and age >= self._expiry_seconds
        """Whether that session has surely ended: edgeai was away for longer than it lasts."""
        self._optional = [
            one
            for one in ([*optional, DROPS_TOPIC] if qos_by_filter else [])
            if not any(topics.contains(wider, one) for wider in qos_by_filter)
        ]
        """Optional filters that were not given up."""
        self._asked = 0
        """How many of these were subscribed to on this connection."""
        self._optional_id: int | None = None
        """Packet id of the last of them; None if none was."""
        self._optional_answered: float | None = None
        """When it was answered, in monotonic seconds; None before that."""
        self._unsubscribed: dict[int, str] = {}
        """Topic filters that wait for UNSUBACK, by packet id."""
        self.unanswered: dict[int, str] = {}
        """Topic filters that wait for SUBACK, by packet id."""
        self.refused: list[str] = []
        """Topic filters that the broker has refused."""
        self._told_qos: set[str] = set()
        self._told_left_out: set[str] = set()

    def send(self, client: paho.Client, *, session_present: bool) -> None:
        """Send a SUBSCRIBE for each topic filter, and an UNSUBSCRIBE for each one that is left.

        Args:
            client: Connected.
            session_present: Whether the broker has a session of this client.
        """
        self.refused = []
        wanted = self._qos_by_filter.keys()
        if self.keep_session:
            if session_present:
                for topic_filter in sorted(self._kept.filters - wanted):
                    _, packet_id = client.unsubscribe(topic_filter)
                    if packet_id is not None:
                        self._unsubscribed[packet_id] = topic_filter
            elif self._expects_session:
                self._metrics.sessions_lost.inc()
                why = "broker restarted without persistence, or away for longer than"
                log.warning(
                    "%s: the broker has forgotten the session: what was sent at QoS 1 since the "
                    "last connection is lost (%s session_expiry_seconds, %d s)",
                    self._client_id, "away for longer than" if self._is_expired else why,
                    self._expiry_seconds,
                    extra=event("session_lost", client=self._client_id),
                )  # fmt: skip
            left = self._kept.filters if session_present else set()
            self._kept.keep(left | wanted)
            self._expects_session, self._is_expired = True, False
        else:
            self._kept.forget()
        for topic_filter, qos in self._qos_by_filter.items():
            _, packet_id = client.subscribe(topic_filter, qos)
            if packet_id is not None:
                self.unanswered[packet_id] = topic_filter

    def on_suback(self, client: paho.Client, packet_id: int, reasons: list[ReasonCode]) -> None:
        """Record the broker's answer to a SUBSCRIBE; send the optional one after the last."""
        topic_filter = self.unanswered.pop(packet_id, None)
        if topic_filter is not None and reasons:
            self._record_answer(topic_filter, reasons[0])
        elif packet_id == self._optional_id:
            self._optional_answered = time.monotonic()
            if reasons and reasons[0].is_failure:
                self._tell_left_out(self._optional[self._asked - 1], str(reasons[0]))
        is_answered = self._optional_id is None or self._optional_answered is not None
        if not self.unanswered and is_answered and self._asked < len(self._optional):
            self._ask_optional(client)

    def _ask_optional(self, client: paho.Client) -> None:
        _, self._optional_id = client.subscribe(self._optional[self._asked], 0)
        self._optional_answered = None
        self._asked += 1

    def _record_answer(self, topic_filter: str, reason: ReasonCode) -> None:
        if reason.is_failure:
            self.refused.append(topic_filter)
            log.error(
                "the broker refuses the subscription %s: %s", topic_filter, reason,
                extra=event("subscription_refused", topic=topic_filter, reason=str(reason)),
            )  # fmt: skip
        elif reason.value < self._qos_by_filter[topic_filter] and (
            topic_filter not in self._told_qos
        ):
            self._told_qos.add(topic_filter)
            log.warning(
                "the broker grants QoS %d to the subscription %s, not QoS %d: messages that are "
                "sent while edgeai is away are lost",
                reason.value, topic_filter, self._qos_by_filter[topic_filter],
                extra=event(
                    "subscription_qos_lowered", topic=topic_filter, granted=reason.value,
                    asked=self._qos_by_filter[topic_filter],
                ),
            )  # fmt: skip

    def on_unsuback(self, packet_id: int) -> None:
        """Record that the session no longer holds a topic filter."""
        topic_filter = self._unsubscribed.pop(packet_id, None)
        if topic_filter is not None:
            self._kept.keep(self._kept.filters - {topic_filter})
            log.info(
                "%s: unsubscribed from %s", self._client_id, topic_filter,
                extra=event("subscription_removed", client=self._client_id, topic=topic_filter),
            )  # fmt: skip

    def on_disconnected(self) -> None:
        """Note that the session's time of expiry begins now."""
        if self._expects_session:
            self._kept.keep(self._kept.filters)

    def forget_answers(self) -> None:
        """Forget what waits for an answer: the connection has ended."""
        self.unanswered.clear()
        self._unsubscribed.clear()
        self._optional_id = self._optional_answered = None
        self._asked = 0

    def on_lost(self) -> None:
        """Give an optional subscription up if the connection was lost because of it."""
        answered = self._optional_answered
        if self._optional_id is None or (
            answered is not None and time.monotonic() - answered >= PUNISHED_SECONDS
        ):
            return
        left_out = self._optional.pop(self._asked - 1)
        self._asked -= 1
        self._tell_left_out(left_out, "the connection ended after it")

    def _tell_left_out(self, topic_filter: str, why: str) -> None:
        """Tell what the node goes on without; the counter of drops only if it costs connections."""
        if topic_filter in self._told_left_out:
            return
        self._told_left_out.add(topic_filter)
        if topic_filter == DROPS_TOPIC:
            if topic_filter in self._optional:
                return  # many brokers have no such topic
            log.warning(
                "%s: the connection ended after the subscription %s, which is now left out: "
                "edgeai_broker_dropped_messages_total stays 0",
                self._client_id, DROPS_TOPIC,
                extra=event("drops_topic_left_out", client=self._client_id, topic=DROPS_TOPIC),
            )  # fmt: skip
            return
        log.warning(
            "%s: the subscription %s is left out (%s): operators can acknowledge and shelve alarms "
            "on the page only. Print the access rules again (edgeai acl)",
            self._client_id, topic_filter, why,
            extra=event("commands_left_out", client=self._client_id, topic=topic_filter),
        )  # fmt: skip
