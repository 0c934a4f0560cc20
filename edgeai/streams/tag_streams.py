"""The stream of a source whose messages carry single values: each tag has times of its own."""

from collections.abc import Sequence

import numpy as np

from edgeai.streams.settings import NEVER_NS, SourceSpec, StreamSettings
from edgeai.streams.side import SideStream, emit_nothing
from edgeai.streams.stream import Stream


class TagStreams(Stream):
    """The values of all tags of one source, each with times of its own."""

    __slots__ = ("held", "of_channel")

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        *,
        channels: int,
        max_age_ns: int,
        intervals_ns: Sequence[int | None] | None = None,
    ) -> None:
        """Start empty.

        Args:
            settings: Of one tag, with one channel.
            drops: Counts dropped values by reason.
            resets: Counts emptied windows by reason.
            counts: Counts values that are missing by the rate, and others.
            channels: Number of tags.
            max_age_ns: As of `SideStream`.
            intervals_ns: (channels,) as of `SideStream`; None: all are learnt.
        """
        super().__init__(settings, drops, resets, counts, emit_nothing)
        intervals = intervals_ns or [None] * channels
        self.of_channel = [
            SideStream(
                settings, drops, resets, counts, max_age_ns=max_age_ns, interval_ns=interval_ns
            )
            for interval_ns in intervals
        ]
        """The stream of each tag."""
        self.held: dict[int, float] = {}
        """Values without a time by channel, which stand until the channel has another one."""

    @property
    def newest_ns(self) -> int | None:
        """The time of the newest value; None before the first."""
        newest = max([one.ring.last_ns for one in self.of_channel])
        return None if newest == NEVER_NS else newest

    @property
    def used_ns(self) -> int | None:
        """The time of the newest value that can be used; None before the first."""
        used = [ns for one in self.of_channel if (ns := one.used_ns) is not None]
        return max(used, default=None)

    @property
    def newest_arrived_ns(self) -> int:
        """When the newest value arrived."""
        return max([one.ring.arrived_ns for one in self.of_channel])

    def recover(self, after_ns: int | None, *, everything: bool) -> None:
        """Empty the stream as `Stream.recover` says; each tag keeps its last value at first."""
        if everything:
            self.held.clear()
            for one in self.of_channel:
                one.recover(after_ns, everything=True)

    def has_passed(self, _time_ns: int) -> bool:
        """Return False: each tag has times of its own, and drops what it knows itself."""
        return False

    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet."""
        return [
            channel
            for channel, one in enumerate(self.of_channel)
            if not one.ring.size and channel not in self.held
        ]

    def push_tag(
        self,
        time_ns: int,
        channel: int,
        value: float,
        uncertain: bool,
        arrived_ns: int | None = None,
    ) -> None:
        """Take one value as `Stream.push_tag` says."""
        flags = np.ones(1, np.bool_) if uncertain else None
        invalid = np.ones((1, 1), np.bool_) if value != value else None  # noqa: PLR0124  NaN
        arrived = None if arrived_ns is None else [arrived_ns]
        row = np.array([[value]], np.float32)
        self.of_channel[channel].push_rows([time_ns], row, invalid, flags, arrived)

    def hold(self, channel: int, value: float, time_ns: int | None) -> bool:
        """Use a value of unknown age as `Stream.hold` says."""
        one = self.of_channel[channel]
        if time_ns is None:
            if one.ring.size:
                return False
            is_new = self.held.get(channel) != value
            self.held[channel] = value
            return is_new
        if one.ring.size and time_ns <= one.ring.last_ns:
            return False
        self.push_tag(time_ns, channel, value, True)
        return True

    def flush(self) -> None:
        """Release the values that wait: the stream ends here."""
        for one in self.of_channel:
            one.flush()


Side = SideStream | TagStreams
"""The stream of a source whose values are held or interpolated."""


def open_side(
    spec: SourceSpec, drops: dict[str, int], resets: dict[str, int], counts: dict[str, int]
) -> Side:
    """Return the stream of a source whose values are held or interpolated."""
    assert spec.rule is not None
    if spec.is_tags:
        return TagStreams(
            spec.settings, drops, resets, counts,
            channels=len(spec.places), max_age_ns=spec.rule.max_age_ns,
            intervals_ns=spec.intervals_ns,
        )  # fmt: skip
    interval_ns = None if spec.intervals_ns is None else spec.intervals_ns[0]
    return SideStream(
        spec.settings, drops, resets, counts,
        max_age_ns=spec.rule.max_age_ns, interval_ns=interval_ns,
    )  # fmt: skip
