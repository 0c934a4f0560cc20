"""What operators and causes have made of one alarm, beside its state (ISA-18.2, IEC 62682).

    acknowledged  an operator has seen the active alarm; it stays active
    shelved       an operator has put the alarm aside for a time; its state goes on being computed
    suppressed    it became active while its cause was there: the cause is told in its place

Shelving ends by itself. Its end is a time of the clock, so that it passes while edgeai is off too,
and one of the monotonic clock: a wrong clock cannot make it last longer than was asked.
"""

import msgspec

from edgeai.alarms.chattering import Chattering
from edgeai.messages import SECOND_NS, AlarmState, AlarmStatus


class Acknowledged(msgspec.Struct, frozen=True):
    """That an operator has acknowledged an alarm."""

    timestamp: int
    """When, nanoseconds since 1970, UTC."""
    by: str = ""
    """The operator's name; empty: not given."""


class Shelved(msgspec.Struct, frozen=True):
    """That an operator has shelved an alarm."""

    until: int
    """When it ends by itself, nanoseconds since 1970, UTC."""
    seconds: float
    """For how long it was asked."""
    by: str = ""
    """The operator's name; empty: not given."""
    reason: str = ""


class Handling:
    """What operators and causes have made of one alarm."""

    __slots__ = (
        "acknowledged", "cause", "chattering", "is_quiet", "is_withheld", "shelved",
        "shelved_ends",
    )  # fmt: skip

    def __init__(self) -> None:
        self.acknowledged: Acknowledged | None = None
        """Who has acknowledged the alarm since it became active last; None: nobody."""
        self.shelved: Shelved | None = None
        self.shelved_ends = 0.0
        """When shelving ends at the latest, in seconds of the monotonic clock."""
        self.cause = ""
        """The cause whose follower the alarm is, so that it is suppressed; empty: it is none."""
        self.chattering: Chattering | None = None
        """Finds out whether it goes on and off too often; None before it was active."""
        self.is_withheld = False
        """Whether the alarm is there, and nobody was told, because it is shelved or suppressed."""
        self.is_quiet = False
        """Whether the last message is not announced."""

    def shelve(self, shelved: Shelved, now: float, now_ns: int) -> None:
        """Shelve the alarm, or go on shelving it after a restart.

        Args:
            shelved: For how long, by whom and why.
            now: Seconds on a clock that never goes back.
            now_ns: Nanoseconds since 1970.
        """
        self.shelved = shelved
        left_seconds = (shelved.until - now_ns) / SECOND_NS
        self.shelved_ends = now + min(left_seconds, shelved.seconds)

    def is_over(self, now: float, now_ns: int) -> bool:
        """Return whether shelving has ended by itself; arguments as of `shelve`."""
        shelved = self.shelved
        return shelved is not None and (now >= self.shelved_ends or now_ns >= shelved.until)

    def status_of(self, state: AlarmState, *, is_acknowledged: bool) -> AlarmStatus:
        """Return what the alarm means for its operator.

        Args:
            state: Of the alarm.
            is_acknowledged: Whether the active alarm is acknowledged.
        """
        if self.shelved is not None:
            return "shelved"
        if state == "normal":
            return "normal"
        if self.cause:
            return "suppressed"
        if state == "latched":
            return "returned"
        return "acknowledged" if is_acknowledged else "unacknowledged"
