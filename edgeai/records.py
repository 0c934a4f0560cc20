"""The records that travel between the rooms."""

from typing import Literal, NamedTuple

AlarmState = Literal["normal", "active", "latched"]
Quality = Literal["good", "uncertain", "bad"]


class Message(NamedTuple):
    """One MQTT message, or one line of a recording."""

    topic: str
    payload: bytes
    received_ns: int
    """Arrival, UTC, nanoseconds since 1970. For a recording, the time in the file."""
    redelivered: bool = False
    """Sent again by the broker after a lost connection (DUP): it may have been taken before."""


class Publication(NamedTuple):
    """One message to be published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
