"""Rows: messages that each carry one sample of all signals.

One library call for many messages costs little more than one call for a few. So the rows of all
streams of a pipeline are decoded and conditioned in one block, unless one of them needs a closer
look. Up to MAX_ROWS_ONE_BY_ONE rows go one by one.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from itertools import chain, compress
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeai.decoding.fields import ABSENT_VALUE
from edgeai.decoding.rows import RowDecoder
from edgeai.engine.intake.arrival import windows_only_if
from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.intake.preview import sample_text
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import REDELIVERED, Message
from edgeai.streams.conditioning import Conditioned, Flags

log = logging.getLogger("edgeai.engine")

MAX_ROWS_ONE_BY_ONE = 4  # decoding a block costs more below this
GROUP_STREAMS = 16  # the search for streams that fail block decoding halves to this size first

StreamTimes = tuple[StreamState, list[int], list[Message]]
"""A stream, the times of some of its samples in nanoseconds, and the message of each."""

_arrived_ns = itemgetter(2)
_flags_of = itemgetter(3)


class RowIntake:
    """Takes the rows of one pipeline."""

    waits = True
    """Messages wait in `StreamState.messages`, to be decoded together by `window`."""
    brings_one = True

    def __init__(self, parts: IntakeParts) -> None:
        """Compile the decoder for a pipeline's source."""
        self.touched: dict[StreamState, None] = {}
        """Streams with messages in this turn, in the order of their first message."""
        self._conditioner = parts.conditioner
        self._metrics = parts.metrics
        self._batch = parts.batch
        self._containment = parts.containment
        self._arrival = parts.arrival
        self._refusals = parts.refusals
        self._unusable = parts.unusable
        self._channels = len(parts.names)
        self._signals = self._channels - parts.extras
        self._names = parts.names
        self._keeps_absent = parts.is_aligned
        """Whether a signal that is not in a row keeps its value; otherwise it is missing."""
        code: Literal["f", "d"] = "f" if parts.conditioner.input_dtype is np.float32 else "d"
        self.decoder = RowDecoder(parts.source, parts.names, code, parts.extras)
        self._clock = self.decoder.sender_clock
        self.invalid = self.decoder.invalid
        self._counted_by_decoder = 0
        """Invalid values in `decoder.invalid` that `_count_missing` has subtracted so far."""

    def take(self, state: StreamState, tag: str | None, message: Message) -> None:
        """Do nothing: rows wait for `window`."""

    def preview(self, tag: str | None, payload: bytes) -> str:  # noqa: ARG002
        """Return what a row holds as text for people."""
        time_ns, raw = self.decoder.decode(payload)
        values = self._conditioner.rows(self._block_of([raw])).values[0]
        return sample_text(time_ns, self._names, values.tolist())

    def window(self) -> None:
        """Decode, condition and push the rows that wait at the touched streams."""
        touched = list(self.touched)
        self.touched.clear()
        total = len(touched[0].messages)
        if len(touched) > 1:
            total = sum([len(state.messages) for state in touched])
        self._metrics.messages.value += total
        try:
            if total > MAX_ROWS_ONE_BY_ONE:
                self._push_many(touched)
                return
        except Exception as error:  # what is left goes one by one, which contains
            log.debug("rows are processed one by one: %r", error, exc_info=error)
        for state in touched:
            self._push_one_by_one(state)

    def _push_many(self, touched: list[StreamState]) -> None:
        """Decode and push the messages of streams together, apart from those that do not allow it.

        A stream's messages are taken from it before its samples are pushed.
        """
        left = self._push_together(touched)
        # A row with a flag must be compared with all rows before it, those of this turn included,
        # and before the other streams: their blocks are pushed with the decoder's counts so far.
        for state in left:
            if any(map(_flags_of, state.messages)):
                self._push_one_by_one(state)
        slow: list[StreamTimes] = []
        rows: list[Sequence[float]] = []
        for state in left:
            times, kept, mine = self._decode_one_by_one(state)
            if times:
                slow.append((state, times, kept))
                rows += mine
        if not rows:
            return
        try:
            block = self._block_of(rows)
        except Exception:  # noqa: BLE001  one by one finds the message
            for part, row in zip(_each(slow), rows, strict=True):
                self._push_row(part, row)
            return
        self._push_block(slow, block, absent=self._absent_in(rows))

    def _push_row(self, part: StreamTimes, row: Sequence[float]) -> None:
        """Push one decoded row, or drop its message."""
        try:
            block = self._block_of([row])
        except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
            self._containment.drop(part[2][0], error)
            return
        self._push_block([part], block, absent=self._absent_in([row]))

    # ---------------------------------------------------------------------------- one row at a time

    def _push_one_by_one(self, state: StreamState) -> None:
        """Decode and push a stream's messages singly.

        The arithmetic is that of a block, without its dozen NumPy calls, which cost as much for one
        row as for a thousand.
        """
        stream = state.stream
        for message in state.messages:
            if message[3]:
                try:
                    self._push_flagged(state, message)
                except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
                    self._containment.drop(message, error)
                    self._batch.recover(state)
                continue
            newest_ns = stream.newest_ns if self._clock.is_local else None
            decoded = self._decode(state, message, newest_ns)
            if decoded is None:
                continue
            time_ns, values = decoded
            try:
                row = self._conditioner.one(values)
            except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
                self._containment.drop(message, error)
                continue
            try:
                if row is not None and stream.push_one(time_ns, row):
                    stream.ring.arrived_ns = message[2]
                    continue
            except Exception as error:  # noqa: BLE001
                self._containment.drop(message, error)
                self._batch.recover(state)
                continue
            self._push_row((state, [time_ns], [message]), values)
        state.messages.clear()

    def _decode_one_by_one(
        self, state: StreamState
    ) -> tuple[list[int], list[Message], list[Sequence[float]]]:
        """Decode a stream's messages singly; count those that hold no sample.

        Returns:
            (n,) times in nanoseconds, n messages, and n rows of (C,) raw values.
        """
        times: list[int] = []
        kept: list[Message] = []
        rows: list[Sequence[float]] = []
        newest_ns = state.stream.newest_ns if self._clock.is_local else None
        for message in state.messages:
            decoded = self._decode(state, message, newest_ns)
            if decoded is None:
                continue
            times.append(decoded[0])
            kept.append(message)
            rows.append(decoded[1])
            if self._clock.is_local:
                newest_ns = max(times[-1], newest_ns or 0)
        state.messages.clear()
        return times, kept, rows

    def _decode(
        self, state: StreamState, message: Message, newest_ns: int | None
    ) -> tuple[int, Sequence[float]] | None:
        """Decode a message without flags to its time and (C,) raw values.

        Returns None, and counts the reason, if it holds no sample.
        """
        payload = message[1]
        try:
            payload = payload if isinstance(payload, bytes) else bytes(payload)
            time_ns, values = self.decoder.decode(payload)
            if time_ns is None:
                return message[2], values
            return self._clock.check(time_ns, message[2], newest_ns), values
        except DecodeError as error:
            self._refuse(state, error.code, message, error.skew_ns)
            return None
        except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
            self._containment.drop(message, error)
            return None

    def _push_flagged(self, state: StreamState, message: Message) -> None:
        """Decode a message with a flag, and push its sample as `Arrival` decides."""
        _, payload, received_ns, flags = message
        counted = self.invalid.total()
        try:
            time_ns, values = self.decoder.decode(bytes(payload))
            if time_ns is not None:
                time_ns = self._clock.check(time_ns, received_ns, state.stream.newest_ns)
        except DecodeError as error:
            self._refuse(state, error.code, message, error.skew_ns)
            return
        taken = self._arrival.judge(state.stream, flags, time_ns, received_ns)
        if time_ns is None and flags == REDELIVERED and self._was_taken(state, values):
            taken = "duplicate"
        if isinstance(taken, str):
            self._refuse(state, taken, message)
            self._counted_by_decoder += self.invalid.total() - counted
            return
        with windows_only_if(taken.completes_windows, state.stream):
            block = self._block_of([values])
            part = (state, [taken.time_ns], [message])
            absent = self._absent_in([values])
            self._push_block([part], block, absent=absent, uncertain=taken.uncertain)
        self._metrics.count_retained(flags)

    def _was_taken(self, state: StreamState, values: Sequence[float]) -> bool:
        """Return whether a recent sample has these values.

        This is all that tells a row without a time that is sent again from a new one, if nobody
        has compared packet ids (`mqtt.redelivery` does, and marks the rest as backlog).
        """
        row = self._conditioner.one(values)
        if row is None:
            return False
        recent = state.stream.ring.recent
        return bool((recent == np.asarray(row, np.float32)).all(axis=1).any())

    def _refuse(
        self, state: StreamState, reason: str, message: Message, skew_ns: int | None = None
    ) -> None:
        self._metrics.drops[reason] += 1
        state.drops.note(reason, message[2], message[3], skew_ns)
        self._metrics.count_retained(message[3], reason)
        self._refusals.tell(reason, message[0], message[1], message[2])

    # --------------------------------------------------------------------------- many rows together

    def _push_together(self, touched: list[StreamState]) -> list[StreamState]:
        """Decode and push the streams whose messages allow it together; return the others."""
        suspects = [state for state in touched if state.needs_single_decoding]
        left = self._push_or_split([state for state in touched if not state.needs_single_decoding])
        left += [state for state in suspects if not self._try_push([state])]
        for state in suspects:
            state.needs_single_decoding = False
        for state in left:
            state.needs_single_decoding = True
        return left

    def _push_or_split(self, states: list[StreamState]) -> list[StreamState]:
        """Push streams together; if that fails, in smaller groups. Return those that failed."""
        if not states or self._try_push(states):
            return []
        if len(states) == 1:
            return states
        size = GROUP_STREAMS if len(states) > GROUP_STREAMS else 1
        groups = [states[begin : begin + size] for begin in range(0, len(states), size)]
        return [state for group in groups for state in self._push_or_split(group)]

    def _try_push(self, states: list[StreamState]) -> bool:
        """Decode the messages of streams in one call and push them; False if any needs more."""
        messages = [message for state in states for message in state.messages]
        if any(map(_flags_of, messages)):
            return False
        try:
            decoded = self.decoder.decode_many(messages)
        except Exception as error:  # decoding one by one finds the message
            log.debug("rows cannot be decoded together: %r", error, exc_info=error)
            return False
        if decoded is None:
            return False
        times, rows = decoded
        raw = np.frombuffer(b"".join(rows), self._conditioner.input_dtype).reshape(len(rows), -1)
        if self._keeps_absent and np.isnan(raw).any():
            return False  # one by one shows which values did not come
        parts = []
        start = 0
        for state in states:
            begin, start = start, start + len(state.messages)
            parts.append((state, times[begin:start], state.messages))
            state.messages = []
        self._push_block(parts, raw)
        return True

    def _block_of(self, rows: list[Sequence[float]]) -> npt.NDArray[Any]:
        """Return raw values (n, C) in the type that the conditioner takes."""
        shape = len(rows), self._channels
        with np.errstate(over="ignore"):  # 1e300 becomes infinite
            raw = np.fromiter(
                chain.from_iterable(rows), self._conditioner.input_dtype, math.prod(shape)
            )
        return raw.reshape(shape)

    def _absent_in(self, rows: list[Sequence[float]]) -> Flags | None:
        """Return (n, C) which values did not come and keep the last one; None: none."""
        if not self._keeps_absent:
            return None
        absent = np.array([[value is ABSENT_VALUE for value in row] for row in rows], np.bool_)
        return absent if absent.any() else None

    def _push_block(
        self,
        parts: list[StreamTimes],
        raw: npt.NDArray[Any],
        *,
        absent: Flags | None = None,
        uncertain: bool = False,
    ) -> None:
        """Condition the samples of several streams in one block, then push each stream's part.

        Args:
            parts: Each stream with the times of its samples and their messages.
            raw: (n, C) raw values, stream after stream.
            absent: (n, C) which of them did not come; None: all did.
            uncertain: Whether to mark all samples as uncertain.
        """
        try:
            done = self._conditioned(raw, absent, uncertain=uncertain)
        except Exception as error:  # noqa: BLE001  conditioning one by one finds the message
            if len(raw) == 1:
                self._containment.drop(parts[0][2][0], error)
                return
            for index, one in enumerate(_each(parts)):
                self._push_block([one], raw[index : index + 1], absent=_row_of(absent, index))
            return
        is_clean = done.invalid is None and done.uncertain is None and done.dropped is None
        flat = done.values.reshape(-1).data
        if done.invalid is not None:
            self._count_missing(np.isnan(raw) if absent is None else np.isnan(raw) & ~absent)
        start = 0
        for state, times, messages in parts:
            begin, start = start, start + len(times)
            stream = state.stream
            try:
                if is_clean and stream.push_few(times, flat, begin, start):
                    stream.ring.arrived_ns = messages[-1][2]
                    continue
                self._push_part((state, times, messages), done, slice(begin, start), absent)
            except Exception as error:  # noqa: BLE001  the other streams go on
                after_ns = self._batch.recover(state)
                if start - begin == 1:
                    self._containment.drop(messages[0], error)
                    continue
                for index, one in enumerate(_each([(state, times, messages)]), begin):
                    if after_ns is None or one[1][0] > after_ns:  # not in a window yet
                        row = raw[index : index + 1]
                        self._push_block([one], row, absent=_row_of(absent, index))

    def _conditioned(
        self, raw: npt.NDArray[Any], absent: Flags | None, *, uncertain: bool
    ) -> Conditioned:
        done = self._conditioner.rows(raw)
        if absent is not None and done.invalid is not None:
            done = done._replace(invalid=done.invalid & ~absent)
        return done._replace(uncertain=np.ones(len(raw), np.bool_)) if uncertain else done

    def _push_part(
        self, part: StreamTimes, done: Conditioned, of_block: slice, absent: Flags | None
    ) -> None:
        """Push the samples of one stream.

        Args:
            part: The stream, times and messages.
            done: The conditioned block.
            of_block: Which of its rows.
            absent: Which values of the block did not come; None: all did.
        """
        state, times, messages = part
        absent = None if absent is None else absent[of_block]
        rows = done.values[of_block]
        invalid = None if done.invalid is None else done.invalid[of_block]
        marks = None if done.uncertain is None else done.uncertain[of_block]
        arrived = list(map(_arrived_ns, messages))
        pushed = messages
        if done.dropped is not None and done.dropped[of_block].any():
            keep = ~done.dropped[of_block]
            state.drops["invalid_value"] += int((~keep).sum())
            for index in np.flatnonzero(~keep).tolist():
                self._refusals.tell("invalid_value", messages[index][0], messages[index][1])
            pushed = list(compress(messages, keep))
            times = list(compress(times, keep))
            arrived = list(compress(arrived, keep))
            rows = rows[keep]
            invalid = None if invalid is None else invalid[keep]
            marks = None if marks is None else marks[keep]
            absent = None if absent is None else absent[keep]
            if not times:
                return
        dropped, refused = self._metrics.drops["invalid_value"], state.drops.count
        newest_ns = state.stream.newest_ns
        state.stream.push_rows(times, rows, invalid, marks, arrived, absent=absent)
        reason = state.drops.reason
        if state.drops.count > refused and reason in {"late", "duplicate"}:
            self._refusals.tell(reason, *_first_behind(times, pushed, newest_ns)[:3])
        if invalid is not None:
            self._tell_unusable(
                messages,
                done,
                of_block,
                is_refused=self._metrics.drops["invalid_value"] > dropped,
            )

    def _tell_unusable(
        self,
        messages: list[Message],
        done: Conditioned,
        of_block: slice,
        *,
        is_refused: bool,
    ) -> None:
        """Tell samples with a value that cannot be used, unless such ones were told before.

        Args:
            messages: Of the samples of one stream.
            done: The conditioned block.
            of_block: Which of its rows are these samples.
            is_refused: Whether one of the samples was refused.
        """
        assert done.invalid is not None
        if not (is_refused or self._unusable.is_open):
            return
        invalid = done.invalid[of_block]
        if is_refused:
            for index in np.flatnonzero(invalid.any(axis=1)).tolist():
                self._refusals.tell("invalid_value", messages[index][0], messages[index][1])
        if self._unusable.is_open:
            self._unusable.look(messages, invalid, is_told=is_refused)

    def _count_missing(self, is_missing: npt.NDArray[np.bool_]) -> None:
        """Count NaN values as missing, less those that the decoder has counted by their reason.

        Args:
            is_missing: (n, C).
        """
        not_numbers = int(is_missing.sum())
        if self._signals < self._channels:
            extras = int(is_missing[:, self._signals :].sum())
            self._metrics.extra_missing.value += extras
            not_numbers -= extras
        counted = self.invalid.total()
        missing = not_numbers - (counted - self._counted_by_decoder)
        self._counted_by_decoder = counted
        self._metrics.invalid["missing"] += max(0, missing)


def _first_behind(times: list[int], messages: list[Message], newest_ns: int | None) -> Message:
    """Return the first message that is not newer than those before it: the stream refused such.

    Args:
        times: (n,) of the samples.
        messages: (n,) which carried them.
        newest_ns: The stream's newest time before them; None: there was none.
    """
    for time_ns, message in zip(times, messages, strict=True):
        if newest_ns is not None and time_ns <= newest_ns:
            return message
        newest_ns = time_ns
    return messages[-1]


def _row_of(absent: Flags | None, index: int) -> Flags | None:
    """Return the flags of one row; None if none of them is set."""
    return None if absent is None or not absent[index].any() else absent[index : index + 1]


def _each(parts: list[StreamTimes]) -> Iterator[StreamTimes]:
    """Yield each sample of several streams as a part of its own."""
    for state, times, messages in parts:
        for time_ns, message in zip(times, messages, strict=True):
            yield state, [time_ns], [message]
