"""The subscriptions of one connection, and how the broker has answered them."""

import logging

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from edgeai.mqtt.inbox import DROPS_TOPIC

log = logging.getLogger("edgeai.mqtt")


class Subscriptions:
    """QoS by topic filter, and what the broker has refused."""

    def __init__(self, qos_by_filter: dict[str, int]) -> None:
        """Prepare; `send` subscribes.

        Args:
            qos_by_filter: QoS by topic filter. If there are any, the broker's counter of dropped
                messages is subscribed to as well.
        """
        self._qos_by_filter = dict(qos_by_filter)
        if qos_by_filter:
            self._qos_by_filter[DROPS_TOPIC] = 0
        self.keep_session = any(qos > 0 for qos in qos_by_filter.values())
        """Whether the broker must keep messages while the client is disconnected."""
        self.unanswered: dict[int, str] = {}
        """Topic filters that wait for SUBACK, by packet id."""
        self.refused: list[str] = []
        """Topic filters that the broker has refused."""

    def send(self, client: paho.Client) -> None:
        """Send a SUBSCRIBE for each topic filter."""
        self.refused = []
        for topic_filter, qos in self._qos_by_filter.items():
            _, packet_id = client.subscribe(topic_filter, qos)
            if packet_id is not None:
                self.unanswered[packet_id] = topic_filter

    def on_suback(self, packet_id: int, reasons: list[ReasonCode]) -> None:
        """Record the broker's answer to a SUBSCRIBE."""
        topic_filter = self.unanswered.pop(packet_id, None)
        # A broker other than mosquitto may refuse DROPS_TOPIC; then that counter is not available.
        if topic_filter is None or topic_filter == DROPS_TOPIC:
            return
        if reasons and reasons[0].is_failure:
            self.refused.append(topic_filter)
            log.error("the broker refuses the subscription %s: %s", topic_filter, reasons[0])
