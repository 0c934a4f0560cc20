"""The records that travel between the rooms."""

from typing import Literal, NamedTuple, TypedDict

import msgspec

SECOND_NS = 1_000_000_000
"""Nanoseconds in a second."""

AlarmState = Literal["normal", "active", "latched"]
Quality = Literal["good", "uncertain", "bad"]


Message = tuple[str, bytes | memoryview, int, bool]
"""One MQTT message, or one line of a recording: topic, payload, arrival in nanoseconds since 1970,
UTC (of a recording, the time in the file), and whether the broker sent it again after a lost
connection (DUP), so that it may have been taken before. A long payload may be a view of what was
read: 80 kB are not copied only to be cut out. A plain tuple: a named one takes 0.08 us more, of the
1.8 that all there is to do for a message takes with warm caches."""


class Publication(msgspec.Struct, frozen=True, gc=False):
    """One message to be published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Diagnosis(TypedDict):
    """What an abnormal window is due to: the kind with the largest evidence, as it is published."""

    kind: str
    cause: Literal["sensor", "physics", "domain"]
    evidence: float


class Due(NamedTuple):
    """When the next window can be due: until then nothing is lost by reading later."""

    messages: int
    """Not before so many messages, whoever sends them."""
    usual_messages: int
    """Not before so many, when every sender keeps to its sample rate."""
    seconds: float
    """Nor before so much time, when every sender keeps to its sample rate."""


AT_ONCE = Due(1, 1, 0.0)
"""The next message may complete a window."""
