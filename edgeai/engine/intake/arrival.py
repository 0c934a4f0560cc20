"""Whether a message with a flag holds a new sample, and of what time.

Only messages with a flag come here (`edgeai.messages`): the broker kept them (retained), sent them
again (redelivered), or held them while edgeai was away (backlog). Such a message is not new because
it has just arrived. The rules:

- A retained row or frame is a sample if it has a time of its own, is fresh and was not seen;
  otherwise it is refused. It completes no window.
- A retained tag is the held value, uncertain. It completes no window.
- A redelivered message with a time is a sample, unless the stream has passed this time.
- A message of the backlog with a time is a sample. Without a time, and also where a message is
  redelivered without a time, it is uncertain, at its arrival, or it is spaced by the sample rate
  (`source.backlog`).

With `source.retained: skip` every retained message is refused. A redelivered message that this
process has already taken does not come here: `mqtt.redelivery` drops it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from edgeai.config.source import SourceConfig
from edgeai.messages import REDELIVERED, RETAINED, SECOND_NS
from edgeai.streams.stream import Stream


class Taken(NamedTuple):
    """How to take the sample of a message with a flag."""

    time_ns: int
    uncertain: bool
    """Whether the sample marks the windows that hold it."""
    completes_windows: bool
    """False for a retained message: it never triggers a prediction."""


class Arrival:
    """The rules of one pipeline for messages with a flag."""

    def __init__(self, source: SourceConfig, period_ns: int | None) -> None:
        """Look up what the configuration declares.

        Args:
            source: The pipeline's.
            period_ns: Time from one sample to the next; None if samples have no rate.
        """
        self.takes_retained = source.retained == "state"
        self._max_age_ns = round(source.retained_max_age_seconds * SECOND_NS)
        self._spaces = source.backlog == "space"
        self._period_ns = period_ns

    def judge(
        self,
        stream: Stream,
        flags: int,
        time_ns: int | None,
        received_ns: int,
        *,
        step_ns: int | None = None,
    ) -> Taken | str:
        """Decide about a row or a frame.

        Args:
            stream: The stream that it belongs to.
            flags: Of the message, not 0.
            time_ns: Time of its last sample; None if the payload has no time.
            received_ns: When it arrived.
            step_ns: From the sample before it to its last sample, by the sample rate; None for the
                model's sample period.

        Returns:
            How to take it, or the reason why it is refused, a key of `DROP_REASONS`.
        """
        if flags & RETAINED:
            if not self.takes_retained or time_ns is None or stream.has_passed(time_ns):
                return "retained"
            if abs(received_ns - time_ns) > self._max_age_ns:
                return "retained"
            return Taken(time_ns, False, False)
        if time_ns is not None:
            if flags & REDELIVERED and stream.has_passed(time_ns):
                return "duplicate"
            return Taken(time_ns, False, True)
        # Spaced, it is one step after the stream's newest sample, as long as that is not in the
        # future. Without a sample before it, or a rate, nothing is known but its arrival.
        newest_ns, step_ns = stream.newest_ns, step_ns or self._period_ns
        if self._spaces and step_ns is not None and newest_ns is not None:
            spaced_ns = newest_ns + step_ns
            if spaced_ns <= received_ns:
                return Taken(spaced_ns, False, True)
        return Taken(received_ns, True, True)


class SideArrival(Arrival):
    """The rules of a source whose values are held: what the broker kept is the value since then.

    How old it may be is judged when it is joined (`max_age_seconds`). Without a time, its age is
    not known: it holds from its arrival on, and marks the windows.
    """

    def judge(
        self,
        stream: Stream,
        flags: int,
        time_ns: int | None,
        received_ns: int,
        *,
        step_ns: int | None = None,
    ) -> Taken | str:
        """Decide about a row or a frame as `Arrival.judge` does."""
        if not flags & RETAINED:
            return super().judge(stream, flags, time_ns, received_ns, step_ns=step_ns)
        if not self.takes_retained:
            return "retained"
        if time_ns is None:
            return "retained" if stream.newest_ns is not None else Taken(received_ns, True, False)
        return "retained" if stream.has_passed(time_ns) else Taken(time_ns, False, False)


@contextmanager
def windows_only_if(wanted: bool, stream: Stream) -> Iterator[None]:
    """Take samples into a stream; emit the windows that they complete only if these are wanted.

    A cycle that has ended with one is emitted in any case: it would come never again.
    """
    ring = stream.ring
    emit = ring.emit
    if not wanted and stream.cycles is None:
        ring.emit = _discard
    try:
        yield
    finally:
        ring.emit = emit


def _discard(*_window: Any) -> None:
    """Take a window's arguments and do nothing."""
