"""When to try the broker next, with which MQTT version, and what a person is told meanwhile."""

import logging
import random
import time

from paho.mqtt.enums import MQTTProtocolVersion

from edgeai.config.node import Broker

log = logging.getLogger("edgeai.mqtt")

VERSIONS = {
    "auto": (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311),
    "5": (MQTTProtocolVersion.MQTTv5,),
    "3.1.1": (MQTTProtocolVersion.MQTTv311,),
}
VERSION_NAMES = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}
ANSWER_SECONDS = 5.0
PROBE_SECONDS = 2.0
"""For the answer to a version after which there is another to try. A broker that knows only 3.1.1
may wait for ever for what it thinks is missing of a version 5 CONNECT (amqtt 0.12 does)."""


class Attempts:
    """The attempts of one client to reach its broker, until one stands."""

    def __init__(self, broker: Broker, client_id: str) -> None:
        """Begin with the first version, at once.

        Args:
            broker: Which versions, and how long to wait between attempts.
            client_id: For the log.
        """
        self._versions = VERSIONS[broker.protocol]
        self._min_seconds = broker.reconnect_min_seconds
        self._max_seconds = broker.reconnect_max_seconds
        self._client_id = client_id
        self._index = 0
        self._failures = 0
        self._cause = ""
        """What was told of the last failure, without its detail."""
        self.told = ""
        """What was told of the last failure; empty while a connection stands."""
        self.due = 0.0
        """When to try next, on the monotonic clock."""

    @property
    def version(self) -> MQTTProtocolVersion:
        """With which to try, or with which the connection stands."""
        return self._versions[self._index]

    @property
    def answer_seconds(self) -> float:
        """How long to wait for the answer to a CONNECT."""
        return PROBE_SECONDS if self._has_another_version else ANSWER_SECONDS

    @property
    def _has_another_version(self) -> bool:
        return self._index + 1 < len(self._versions)

    def stands(self) -> None:
        """Note that the broker has accepted us."""
        self._failures = 0
        self.told = ""

    def failed(self, why: str, *, may_be_version: bool, detail: str = "") -> None:
        """Try the next MQTT version at once, or all again after a wait.

        Args:
            why: In words for a person.
            may_be_version: Whether another version may help.
            detail: What may differ from one attempt to the next.
        """
        if may_be_version and self._has_another_version:
            self._index += 1
            self.due = 0.0
            return
        self.lost(why, detail)

    def lost(self, why: str, detail: str = "") -> None:
        """Begin again after a wait, which doubles; jitter keeps a plant from returning at once."""
        self._index = 0
        wait = min(
            self._max_seconds, self._min_seconds * 2 ** min(self._failures, 30)
        ) * random.uniform(0.8, 1.2)  # noqa: S311  not a secret
        self._failures += 1
        self.due = time.monotonic() + wait
        # Once for each cause, not for each attempt.
        if not self.told or why != self._cause:
            self._cause, self.told = why, why + detail
            log.warning(
                "%s: %s; trying again, at first in %.1f s", self._client_id, self.told, wait
            )
