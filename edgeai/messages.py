"""The records that travel between the rooms, and the two ends of the engine."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, TypedDict

import msgspec

SECOND_NS = 1_000_000_000
"""Nanoseconds in a second."""

AlarmState = Literal["normal", "active", "latched"]
Quality = Literal["good", "uncertain", "bad"]
AlarmStatus = Literal[
    "normal", "unacknowledged", "acknowledged", "returned", "shelved", "suppressed"
]
"""What an alarm means for its operator, in the states of ISA-18.2 and IEC 62682. `unacknowledged`
and `acknowledged`: it is active. `returned`: it is latched, its cause has gone and nobody has
acknowledged it. `shelved`: an operator has put it aside for a time. `suppressed`: it follows from a
cause that is told itself."""
AlarmReason = Literal["score", "outside_domain", "undeclared_state"]
"""Why an alarm is active. `outside_domain`: the machine is outside the model's domain.
`undeclared_state`: it is in no declared operating state. In both the score says nothing."""
Priority = Literal["critical", "high", "medium", "low"]
"""Of an alarm, declared by its pipeline; `low` if its reason is another one than the score."""
PRIORITIES: tuple[Priority, ...] = ("critical", "high", "medium", "low")
"""The most urgent first."""
Presence = Literal["unknown", "current", "stale"]
"""State of an asset: nothing was judged yet, its last result is current, or it stopped sending."""

NotJudged = Literal["state", "transition", "settling", "undeclared", "unknown"]
"""Why a window was not judged: `state`: by declaration of its state; `transition`: its samples are
of several states, or of one that has not lasted long enough; `settling`: its state was entered just
before; `undeclared`: no state is declared for it; `unknown`: a signal that decides has no value."""


REDELIVERED = 1
"""Flag of a message that the broker sent again after a lost connection (DUP)."""
RETAINED = 2
"""Flag of a message that the broker kept and sent because of a subscription (RETAIN): it may be of
any age."""
BACKLOG = 4
"""Flag of a message that the broker held while edgeai was away: it is not of the time at which it
arrives."""

MAX_BACKLOG_SECONDS = 60.0
"""No message has the flag BACKLOG longer after the connection was made."""

Message = tuple[str, bytes | memoryview, int, int]
"""One MQTT message, or one line of a recording: topic, payload, arrival time (nanoseconds since
1970, UTC; in a replay the time in the file), and flags: the sum of REDELIVERED, RETAINED and
BACKLOG, 0 for an ordinary message. A message with a flag needs a closer look
(`engine.intake.arrival`). A long payload may be a view of the receive buffer, which saves a copy. A
plain tuple, because making a named tuple takes longer than all other work of receiving a message.
"""


class PayloadWithProperties(bytes):
    """A payload with the user properties of its message (MQTT 5).

    Only connections that keep them make such payloads. Of properties of one name the last counts.
    """

    properties: Mapping[str, str]


def with_properties(payload: bytes, properties: Mapping[str, str]) -> bytes:
    """Return a payload that carries user properties; the payload itself if there are none."""
    if not properties:
        return payload
    found = PayloadWithProperties(payload)
    found.properties = properties
    return found


def properties_of(payload: bytes | memoryview) -> Mapping[str, str]:
    """Return the user properties that a payload carries."""
    return payload.properties if isinstance(payload, PayloadWithProperties) else {}


def as_bytes(payload: bytes | memoryview) -> bytes:
    """Return a payload as bytes, with its user properties."""
    return payload if isinstance(payload, bytes) else bytes(payload)


def content_of(payload: bytes | memoryview) -> bytes:
    """Return what tells a message from others of its topic: its payload and its properties."""
    more = properties_of(payload)
    return bytes(payload) + (msgspec.json.encode(sorted(more.items())) if more else b"")


class Publication(msgspec.Struct, frozen=True, gc=False):
    """One message to be published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class AnswerPublication(Publication, frozen=True, gc=False):
    """An answer to controllers: no prediction, and no change of an alarm."""


def is_prediction(publication: Publication) -> bool:
    """Return whether what an engine without a broker publishes is a prediction.

    Changes of alarms and operating states are retained; events are of live nodes only.
    """
    return not publication.retain and not isinstance(publication, AnswerPublication)


class Diagnosis(TypedDict):
    """The most likely cause of an abnormal window, as it is published."""

    kind: str
    cause: Literal["sensor", "physics", "domain"]
    evidence: float


class Due(NamedTuple):
    """When the next window can be due. Until then, reading later loses nothing."""

    messages: int
    """Number of messages before that, certain whoever sends them."""
    usual_messages: int
    """Number of messages before that if every sender keeps to its sample rate."""
    seconds: float
    """Time until then if every sender keeps to its sample rate."""


AT_ONCE = Due(1, 1, 0.0)
"""The next message may complete a window."""


class MessageSource(Protocol):
    """Where the engine's messages come from: a broker, a file, a test."""

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        """Return the messages that have arrived; wait at most `timeout_seconds` for the first.

        Args:
            timeout_seconds: Return an empty list after this time, or when the process stops.
            due: Messages that cannot complete a window may be left for a later call.
        """

    def commit(self) -> None:
        """Acknowledge every message that `receive` has returned."""


class PublicationSink(Protocol):
    """Where the engine's publications go: a broker, a file, a test."""

    def publish(self, publications: list[Publication]) -> None:
        """Take publications, in this order."""
