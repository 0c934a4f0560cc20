"""When to connect to the broker next, how, and why the last attempt failed."""

import time

from paho.mqtt.enums import MQTTProtocolVersion

from edgeai.backoff import Backoff
from edgeai.config.broker import Broker
from edgeai.mqtt.broker_limits import TERMS_TO_TRY, Terms
from edgeai.mqtt.connection_log import ConnectionLog

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
STEADY_SECONDS = 5.0
"""A connection that lasts so long ends the back-off; after a shorter one the wait goes on doubling.
Otherwise a client that the broker accepts and throws out again would return twice a second."""
BRIEF_CONNECTIONS = 3
"""After so many connections in a row of less than STEADY_SECONDS the broker has a reason."""
RIVAL_WAITS = 2.5
"""Two clients with one client id throw each other out after each wait. They have parted when a
connection has lasted for so many of the longest waits."""


class ReconnectSchedule:
    """Decides when and how one client connects again, until it is connected."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        told: ConnectionLog | None = None,
        *,
        has_will: bool = False,
    ) -> None:
        """Start with the first MQTT version, without a wait.

        Args:
            broker: MQTT versions, and shortest and longest wait between attempts.
            client_id: Written to the log.
            told: Tells each cause once, also if several clients find it.
            has_will: Whether a last will may be the reason why a broker refuses the connection.
        """
        self._versions = VERSIONS[broker.protocol]
        self._max_seconds = broker.reconnect_max_seconds
        self._backoff = Backoff(broker.reconnect_min_seconds, self._max_seconds, JITTER)
        self._client_id = client_id
        self._version_index = 0
        self._failures = 0
        self._brief_connections = 0
        """Connections in a row that were not steady."""
        self._has_rival = False
        """Whether the connections end because another client has the same client id."""
        self._connected_at: float | None = None  # monotonic seconds
        self._told = told or ConnectionLog()
        self._can_try_terms = has_will
        self._untried: list[Terms] = list(TERMS_TO_TRY[1:])
        self.terms = Terms()
        """What the next attempt's last will may use."""
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
        self._connected_at = time.monotonic()
        self._untried = [one for one in TERMS_TO_TRY[1:] if one != self.terms]
        self.last_error = ""

    def on_terms_refused(self, terms: Terms, cause: str) -> None:
        """Schedule an attempt at once, with a last will that the broker accepts.

        Args:
            terms: What the broker has refused is no longer in them.
            cause: Explanation for the user, if these terms were refused too.
        """
        if terms == self.terms:
            self.on_lost(cause)
        else:
            self.terms, self.next_attempt = terms, 0.0

    def on_failed(
        self, cause: str, *, may_be_version: bool, may_be_will: bool = False, detail: str = ""
    ) -> None:
        """Schedule an attempt after a failed one: at once if there is something else to try.

        Args:
            cause: Explanation for the user.
            may_be_version: Whether another MQTT version may help.
            may_be_will: Whether another last will may help.
            detail: Part of the explanation that may differ between attempts.
        """
        if may_be_version and self._has_another_version:
            self._version_index += 1
            self.next_attempt = 0.0
            return
        may_be_will = may_be_will and self._can_try_terms
        if may_be_will and self._untried and self.version == MQTTProtocolVersion.MQTTv311:
            self.terms, self.next_attempt = self._untried.pop(0), 0.0
            return
        if may_be_will:  # it was not the last will
            self.terms, self._untried = Terms(), list(TERMS_TO_TRY[1:])
        self.on_lost(cause, detail)

    def on_lost(self, cause: str, detail: str = "", *, taken_over: bool = False) -> bool:
        """Schedule an attempt after a wait, with the first MQTT version.

        The wait doubles with each failure. Jitter keeps many clients from connecting at once.

        Args:
            cause: Explanation for the user.
            detail: Part of the explanation that may differ between attempts.
            taken_over: Whether the broker says that another client has this client id.

        Returns:
            Whether the log has told this loss, with its detail.
        """
        now = time.monotonic()
        self._version_index = 0
        self._note_duration(now)
        self._failures += 1
        if taken_over:
            self._has_rival = True
            cause = (
                f"another client has connected with the client id {self._client_id}: give each "
                "node its own `node` name, or its own `broker.client_id`"
            )
        elif self._brief_connections >= BRIEF_CONNECTIONS:
            self._has_rival = True
            cause = (
                f"{cause}, again and again soon after connecting (does another client use the "
                f"client id {self._client_id}, or does the broker forbid something?)"
            )
        wait = self._backoff.wait_seconds(self._failures)
        if taken_over:
            wait = self._backoff.longest_seconds()
        self.next_attempt = now + wait
        self.last_error = cause + detail
        return self._told.lost(self._client_id, cause, self.last_error, wait)

    def _note_duration(self, now: float) -> None:
        """End the back-off if the connection that is lost was steady."""
        if self._connected_at is None:
            return
        lasted, self._connected_at = now - self._connected_at, None
        steady = RIVAL_WAITS * self._max_seconds if self._has_rival else STEADY_SECONDS
        self._brief_connections += 1
        if lasted >= steady:
            self._failures = self._brief_connections = 0
            self._has_rival = False
            self._told.forget_cause(self._client_id)
