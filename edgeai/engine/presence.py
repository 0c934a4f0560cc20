"""Whose retained messages are to say that a machine has stopped, or is back.

A lost broker is one cause: machines that fall silent without it are its followers, and are not told
one by one. Those that send nothing for their declared time after the connection is back are told.
"""

from collections.abc import Sequence

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState


class PresenceWatch:
    """The machines of one pipeline, scan by scan."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._connected_since = 0.0
        """Since when the broker is connected; 0: it was not at the last scan."""
        self._followers: dict[StreamState, None] = {}
        """Stale machines whose cause is the lost broker."""
        self._from_before: list[StreamState] | None = None
        """Machines that were stale before the restart, or of which a message says so; None before
        the first scan."""

    def look(
        self,
        now: float,
        stale: Sequence[StreamState],
        back: Sequence[StreamState],
        *,
        is_connected: bool,
    ) -> tuple[list[StreamState], list[StreamState]]:
        """Compare with the last scan.

        Args:
            now: Seconds on a clock that never goes back; above 0.
            stale: Machines that have become stale since the last scan.
            back: Machines that are stale no longer.
            is_connected: Whether the node is connected to its broker.

        Returns:
            The machines whose messages are to be published, and those of them that were followers
            and are still silent now that the broker is back: nobody was told of them.
        """
        if self._from_before is None:
            known = self._pipeline.streams.values()
            self._from_before = [
                one for one in known if (one.is_stale or one.is_told_stale) and one not in stale
            ]
        followers = self._followers
        for state in back:
            followers.pop(state, None)
        if not is_connected:
            self._connected_since = 0.0
            followers.update(dict.fromkeys(stale))
            return [state for state in back if state.is_told_stale], []
        self._connected_since = self._connected_since or now
        left: list[StreamState] = []
        if followers and now - self._connected_since > self._pipeline.stale_after_seconds:
            left = [one for one in followers if one.is_stale and not one.is_told_stale]
            self._followers = {}
        changed = [*stale, *[one for one in back if one.is_told_stale], *left]
        changed += self._correct()
        return list(dict.fromkeys(changed)), left

    def _correct(self) -> list[StreamState]:
        """Return the machines whose messages of before the restart are not true any more."""
        before = self._from_before or []
        self._from_before = [
            one
            for one in before
            if one.is_told_stale and not one.is_stale and one.stream.used_ns is None
        ]
        wrong = [one for one in before if one.is_stale != one.is_told_stale]
        return [one for one in wrong if one.is_stale or one.stream.used_ns is not None]
