"""Single values of one message: condition them together, and push them to an aligned stream."""

import math
from typing import NamedTuple

import numpy as np

from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.stream_state import StreamState
from edgeai.messages import RETAINED, Message


class Values(NamedTuple):
    """Single values of one stream in one message."""

    times: list[int]
    """(n,) nanoseconds, rising."""
    channels: list[int]
    """(n,) of each value."""
    values: list[float]
    """(n,) raw; NaN if a value cannot be used."""
    marks: list[bool] | None
    """(n,) whether a quality flag says uncertain; None: none does."""


class TagValues:
    """Pushes values of single signals; each has its time."""

    def __init__(self, parts: IntakeParts) -> None:
        """Prepare for a pipeline."""
        self._conditioner = parts.conditioner
        self._arrival = parts.arrival
        self._unusable = parts.unusable
        self._metrics = parts.metrics
        self._signals = len(parts.names) - parts.extras
        self._last_channels: list[int] = []
        self._as_array = np.array([], np.intp)
        """`_last_channels`; a gateway sends the same signals again and again."""

    def in_units(self, channel: int, raw: float) -> list[float]:
        """Return a value in engineering units, NaN if it cannot be used."""
        done = self._conditioner.tags(np.array([raw], np.float64), np.array([channel]))
        return [float(done.values[0, 0])]

    def push(self, state: StreamState, found: Values, message: Message) -> None:
        """Push values of a message without a flag of the broker."""
        times, channels, values, marks = found
        if not values:
            return
        if channels != self._last_channels:
            self._last_channels = list(channels)
            self._as_array = np.array(channels, np.intp)
        done = self._conditioner.tags(np.array(values, np.float64), self._as_array)
        flags = done.uncertain
        if marks is not None:
            flagged = np.array(marks, np.bool_)
            flags = flagged if flags is None else flags | flagged
        if done.dropped is not None:
            done.values[done.dropped] = np.nan
        usable = done.values[:, 0]
        if done.invalid is not None:
            is_extra = self._as_array >= self._signals
            self._metrics.extra_missing.value += int((done.invalid[:, 0] & is_extra).sum())
        if (done.invalid is not None or done.dropped is not None) and self._unusable.is_open:
            for channel in self._as_array[np.isnan(usable)].tolist():
                self._unusable.add(message, [channel])
        uncertain = [False] * len(values) if flags is None else flags.tolist()
        state.stream.push_tags(times, channels, usable.tolist(), uncertain, message[2])

    def push_flagged(
        self,
        state: StreamState,
        time_ns: int | None,
        channel: int,
        raw: float,
        message: Message,
        *,
        uncertain: bool,
    ) -> str | None:
        """Push a value of a message with a flag as the rules of `Arrival` say.

        Returns:
            The reason why it was refused, a key of `DROP_REASONS`; None: it was taken.
        """
        flags, stream = message[3], state.stream
        done = self._conditioner.tags(np.array([raw], np.float64), np.array([channel]))
        value = float(done.values[0, 0]) if done.dropped is None else math.nan
        if flags & RETAINED:
            takes = self._arrival.takes_retained and not math.isnan(value)
            return None if takes and stream.hold(channel, value, time_ns) else "retained"
        taken = self._arrival.judge(stream, flags, time_ns, message[2])
        if isinstance(taken, str):
            return taken
        is_uncertain = taken.uncertain or uncertain or done.uncertain is not None
        stream.push_tag(taken.time_ns, channel, value, is_uncertain, message[2])
        return None
