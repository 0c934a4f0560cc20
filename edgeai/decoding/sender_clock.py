"""The clocks of senders, judged against the arrival of their messages."""

from operator import itemgetter, sub

from edgeai.config.source import SourceConfig
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS, Message

UNLIMITED_NS = 1 << 62


class SenderClock:
    """Checks the times of one source's messages."""

    __slots__ = ("_ahead_ns", "_behind_ns", "_local", "is_local")

    def __init__(self, source: SourceConfig) -> None:
        """Read the bounds; without a time in the messages there are none."""
        clock, zone = source.clock, source.local_zone
        self._ahead_ns = self._behind_ns = UNLIMITED_NS
        if clock is not None:
            self._ahead_ns = round(clock.max_ahead_seconds * SECOND_NS)
            self._behind_ns = round(clock.max_behind_seconds * SECOND_NS)
        self.is_local = False
        """Whether a time may name two moments; only then `check` needs the newest sample."""
        self._local = None
        if zone is not None and zone.upper() != "UTC":
            from edgeai.decoding.local_times import LocalTimes  # needs a time zone database

            self._local = LocalTimes(zone)
            self.is_local = True

    def check(self, time_ns: int, received_ns: int, newest_ns: int | None = None) -> int:
        """Return the moment that the time of a message means.

        Args:
            time_ns: As read from the message.
            received_ns: When the message arrived.
            newest_ns: Time of the newest sample of its stream; None: there is none.

        Raises:
            DecodeError: "implausible_time".
        """
        if self._local is not None:
            time_ns = self._local.decide(time_ns, received_ns, newest_ns)
        if not -self._behind_ns <= time_ns - received_ns <= self._ahead_ns:
            raise DecodeError("implausible_time", time_ns - received_ns)
        return time_ns

    def bounds(self, first_received_ns: int, last_received_ns: int) -> tuple[int, int]:
        """Return the times between which `check` need not look, apart from ambiguous local times.

        Args:
            first_received_ns: When the first of some messages arrived.
            last_received_ns: When the last of them arrived.
        """
        return last_received_ns - self._behind_ns, first_received_ns + self._ahead_ns

    def accepts(self, times: list[int], messages: list[Message]) -> bool:
        """Return whether `check` would return the times of all messages as they are."""
        ahead_ns, behind_ns = self._ahead_ns, -self._behind_ns
        if self._local is not None and self._local.is_ambiguous(times):
            return False
        skews: list[int] = list(map(sub, times, map(itemgetter(2), messages)))
        return behind_ns <= min(skews) and max(skews) <= ahead_ns
