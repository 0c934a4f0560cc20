"""When to connect to the broker next, with which MQTT version, and why the last attempt failed."""

import logging
import time

from paho.mqtt.enums import MQTTProtocolVersion

from edgeai.backoff import Backoff
from edgeai.config.broker import Broker

log = logging.getLogger("edgeai.mqtt")

VERSIONS = {
    "auto": (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311),
    "5": (MQTTProtocolVersion.MQTTv5,),
    "3.1.1": (MQTTProtocolVersion.MQTTv311,),
}
VERSION_NAMES = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}
CONNACK_SECONDS = 5.0
PROBE_SECONDS = 2.0
"""How long to wait for CONNACK when another MQTT version can be tried. A broker that supports only
3.1.1 may wait forever for the rest of an MQTT 5 CONNECT (amqtt 0.12 does)."""
JITTER = 0.2  # a wait is 80 to 120 % of its nominal length


class ReconnectSchedule:
    """Decides when and how one client connects again, until it is connected."""

    def __init__(self, broker: Broker, client_id: str) -> None:
        """Start with the first MQTT version, without a wait.

        Args:
            broker: MQTT versions, and shortest and longest wait between attempts.
            client_id: Written to the log.
        """
        self._versions = VERSIONS[broker.protocol]
        self._backoff = Backoff(broker.reconnect_min_seconds, broker.reconnect_max_seconds, JITTER)
        self._client_id = client_id
        self._version_index = 0
        self._failures = 0
        self._logged_cause = ""
        """Cause of the last failure, without its detail."""
        self.last_error = ""
        """Cause and detail of the last failure; empty while connected."""
        self.next_attempt = 0.0
        """Time of the next attempt, in seconds of the monotonic clock."""

    @property
    def version(self) -> MQTTProtocolVersion:
        """The MQTT version of the current connection or of the next attempt."""
        return self._versions[self._version_index]

    @property
    def connack_seconds(self) -> float:
        """How long to wait for CONNACK."""
        return PROBE_SECONDS if self._has_another_version else CONNACK_SECONDS

    @property
    def _has_another_version(self) -> bool:
        return self._version_index + 1 < len(self._versions)

    def on_connected(self) -> None:
        """Record that the broker has accepted the connection."""
        self._failures = 0
        self.last_error = ""

    def on_failed(self, cause: str, *, may_be_version: bool, detail: str = "") -> None:
        """Schedule an attempt after a failed one: at once if another MQTT version is left.

        Args:
            cause: Explanation for the user.
            may_be_version: Whether another MQTT version may help.
            detail: Part of the explanation that may differ between attempts.
        """
        if may_be_version and self._has_another_version:
            self._version_index += 1
            self.next_attempt = 0.0
            return
        self.on_lost(cause, detail)

    def on_lost(self, cause: str, detail: str = "") -> None:
        """Schedule an attempt after a wait, with the first MQTT version.

        The wait doubles with each failure. Jitter keeps many clients from connecting at once.
        """
        self._version_index = 0
        self._failures += 1
        wait = self._backoff.wait_seconds(self._failures)
        self.next_attempt = time.monotonic() + wait
        # Log each cause once, not each attempt.
        if not self.last_error or cause != self._logged_cause:
            self._logged_cause, self.last_error = cause, cause + detail
            log.warning(
                "%s: %s; trying again, first in %.1f s", self._client_id, self.last_error, wait
            )
