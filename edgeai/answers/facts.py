"""What is known when an answer is written: the last prediction of an asset, and how it is now."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edgeai.messages import AlarmState, Priority, Quality


class Facts(msgspec.Struct):
    """All that an answer can say of an asset. What is not known is None, or empty."""

    asset: str
    alarm: AlarmState = "normal"
    status: str = "normal"
    """What the alarm means for its operator."""
    priority: Priority = "high"
    is_live: bool = False
    """Whether this is the answer to a window."""
    reason: str = ""
    """Why it is not."""
    quality: Quality = "bad"
    time_ns: int | None = None
    """Time of the window's last sample, nanoseconds since 1970; None before the first window."""
    score: float | None = None
    threshold: float | None = None
    outputs: Mapping[str, Mapping[str, Any]] = {}
    top: Sequence[tuple[str, float]] = ()
    state: str | None = None
    not_judged: str = ""
    diagnosis: str = ""
    cause: str = ""
    is_outside: bool = False
    """Whether the window lies outside the model's domain."""
    cycle_number: int | None = None
    cycle_seconds: float | None = None
    cycle_complete: bool | None = None
    model: str | None = None
    version: str | None = None
    provider: str | None = None
    id: str | None = None
    now_ns: int | None = None
    """Now, nanoseconds since 1970; None in a replay."""
    sequence: int = 0
    """Number of answers to windows so far."""


class Beat(msgspec.Struct):
    """All that a heartbeat can say."""

    is_live: bool
    """False in the message that says that there are no more beats."""
    count: int = 0
    """Number of beats so far."""
    is_ready: bool = False
    now_ns: int | None = None
    uptime_seconds: float | None = None
