"""Samples that were decoded from one message: condition them, and push them to their stream."""

from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.decoding.fields import ABSENT_VALUE
from edgeai.engine.intake.arrival import windows_only_if
from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.stream_state import StreamState
from edgeai.messages import REDELIVERED, Message
from edgeai.streams.conditioning import Conditioned, Flags


class Samples(NamedTuple):
    """Samples of one stream in one message."""

    times: list[int]
    """(n,) nanoseconds, rising."""
    rows: list[Sequence[float]]
    """(n, C) raw values; `ABSENT_VALUE` if a value is not there."""
    marks: list[bool] | None
    """(n,) whether a quality flag says uncertain; None: none does."""


class SampleBlocks:
    """Pushes rows of one message; each has its time."""

    def __init__(self, parts: IntakeParts, *, keeps_absent: bool) -> None:
        """Prepare.

        Args:
            parts: Of the pipeline.
            keeps_absent: Whether a signal that is not in a row keeps its value: the stream is
                aligned. Otherwise it is missing.
        """
        self._conditioner = parts.conditioner
        self._metrics = parts.metrics
        self._arrival = parts.arrival
        self._refusals = parts.refusals
        self._unusable = parts.unusable
        self._keeps_absent = keeps_absent
        self._signals = len(parts.names) - parts.extras

    def in_units(self, row: Sequence[float]) -> list[float]:
        """Return a sample in engineering units, NaN for each value that cannot be used."""
        values: list[float] = self._conditioner.rows(self._array([row])).values[0].tolist()
        return values

    def push(self, state: StreamState, samples: Samples, message: Message) -> None:
        """Push samples of a message without a flag of the broker."""
        stream, (times, rows, marks) = state.stream, samples
        if len(rows) == 1 and marks is None:
            row = self._conditioner.one(rows[0])
            if row is not None and stream.push_one(times[0], row):
                stream.ring.arrived_ns = message[2]
                return
        done = self._conditioner.rows(self._array(rows))
        uncertain = done.uncertain
        if marks is not None:
            flagged = np.array(marks, np.bool_)
            uncertain = flagged if uncertain is None else uncertain | flagged
        if done.invalid is None and uncertain is None and done.dropped is None:
            flat = done.values.reshape(-1).data
            if stream.push_few(times, flat, 0, len(times)):
                stream.ring.arrived_ns = message[2]
                return
        done = done._replace(uncertain=uncertain)
        absent = None
        if done.invalid is not None:
            absent = _absent_in(rows)
            if absent is not None and not self._keeps_absent:
                self._metrics.invalid["missing"] += int(absent[:, : self._signals].sum())
                absent = None
            elif absent is not None:
                done = done._replace(invalid=done.invalid & ~absent)
            extras = done.invalid[:, self._signals :] if done.invalid is not None else None
            self._metrics.extra_missing.value += 0 if extras is None else int(extras.sum())
        self._push_marked(state, times, done, absent, message)

    def _push_marked(
        self,
        state: StreamState,
        times: list[int],
        done: Conditioned,
        absent: Flags | None,
        message: Message,
    ) -> None:
        """Push samples with values that cannot be used, or that mark their windows."""
        values, invalid, uncertain, is_dropped = done
        if is_dropped is not None and is_dropped.any():
            keep = ~is_dropped
            state.drops["invalid_value"] += int(is_dropped.sum())
            self._refusals.tell("invalid_value", message[0], message[1])
            times = list(compress(times, keep))
            values = values[keep]
            invalid = None if invalid is None else invalid[keep]
            absent = None if absent is None else absent[keep]
            uncertain = None if uncertain is None else uncertain[keep]
            if not times:
                return
        dropped = self._metrics.drops["invalid_value"]
        arrived = [message[2]] * len(times)
        state.stream.push_rows(times, values, invalid, uncertain, arrived, absent=absent)
        if invalid is None or not invalid.any():
            return
        is_refused = self._metrics.drops["invalid_value"] > dropped
        if is_refused:
            self._refusals.tell("invalid_value", message[0], message[1])
        if self._unusable.is_open:
            self._unusable.look([message] * len(times), invalid, is_told=is_refused)

    def push_flagged(
        self,
        state: StreamState,
        time_ns: int | None,
        row: Sequence[float],
        message: Message,
        *,
        uncertain: bool,
    ) -> str | None:
        """Push a row of a message with a flag as `Arrival` decides.

        Returns:
            The reason why it was refused, a key of `DROP_REASONS`; None: it was taken.
        """
        flags = message[3]
        if time_ns is None and flags == REDELIVERED and self._was_taken(state, row):
            return "duplicate"
        taken = self._arrival.judge(state.stream, flags, time_ns, message[2])
        if isinstance(taken, str):
            return taken
        is_uncertain = taken.uncertain or uncertain
        with windows_only_if(taken.completes_windows, state.stream):
            marks = [True] if is_uncertain else None
            self.push(state, Samples([taken.time_ns], [row], marks), message)
        return None

    def _array(self, rows: list[Sequence[float]]) -> npt.NDArray[Any]:
        with np.errstate(over="ignore"):  # 1e300 becomes infinite
            return np.array(rows, self._conditioner.input_dtype)

    def _was_taken(self, state: StreamState, row: Sequence[float]) -> bool:
        """Return whether a recent sample has these values, as `RowIntake` does."""
        found = self._conditioner.one(row)
        if found is None:
            return False
        recent = state.stream.ring.recent
        return bool((recent == np.asarray(found, np.float32)).all(axis=1).any())


def _absent_in(rows: list[Sequence[float]]) -> Flags | None:
    """Return (n, C) which values are not there; None: none."""
    absent = np.array([[value is ABSENT_VALUE for value in row] for row in rows], np.bool_)
    return absent if absent.any() else None
