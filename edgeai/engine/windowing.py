"""The messages of a turn to windows, by layout: decode, condition, and give each stream its own.

Many messages cost little more than a few when they are taken together: one call of a library for
all, not one for each. So the rows of all streams of a pipeline are decoded and conditioned in one
block, as long as nothing is the matter with them. A frame is a block by itself.
"""

import math
from collections.abc import Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.decoding.frames import Frame
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS, Message

FEW_ROWS = 4
"""So few are taken one by one: a block costs more."""
GROUP_STREAMS = 16
"""What is the matter with a turn is looked for among so many streams, then in each of these."""
SEQUENCE_WRAP = 2**32

Times = tuple[StreamState, list[int]]
"""A stream and the times of some samples of it, nanoseconds."""

_redelivered = itemgetter(3)


def window(pipeline: Pipeline, touched: list[StreamState]) -> None:
    """Take the rows or tags that wait at these streams of a pipeline to its windows."""
    if pipeline.row_decoder is not None:
        _window_rows(pipeline, touched)
    else:
        _window_tags(pipeline, touched)


def _window_rows(pipeline: Pipeline, touched: list[StreamState]) -> None:
    """Decode and window: many messages at once where nothing is special, else one by one."""
    total = len(touched[0].messages)
    if len(touched) > 1:
        total = sum([len(state.messages) for state in touched])
    pipeline.metrics.messages.value += total
    if total <= FEW_ROWS:
        for state in touched:
            _push_singly(pipeline, state)
        return
    left = _push_together(pipeline, touched)
    # What was sent again is compared with all that came before it, in this turn too. Before the
    # others: what the decoder counts of a stream is taken note of when its block is pushed.
    for state in left:
        if any(map(_redelivered, state.messages)):
            _push_singly(pipeline, state)
    slow: list[Times] = []
    rows: list[Sequence[float]] = []
    for state in left:
        times, mine = _decode_singly(pipeline, state)
        if times:
            slow.append((state, times))
            rows += mine
    if rows:
        _push_block(pipeline, slow, _block_of(pipeline, rows))


def _push_singly(pipeline: Pipeline, state: StreamState) -> None:
    """Take the messages of a stream one by one: an idle line sends one a turn.

    The same arithmetic as for a block, without the dozen array operations that a block of one
    row costs as much as a block of a thousand.
    """
    stream = state.stream
    for message in state.messages:
        decoded = _decode(pipeline, state, message)
        if decoded is None:
            continue
        time_ns, values = decoded
        row = pipeline.conditioner.one(values)
        if row is None or not stream.push_one(time_ns, row, state.emit):
            _push_block(pipeline, [(state, [time_ns])], _block_of(pipeline, [values]))
    state.messages.clear()


def _push_together(pipeline: Pipeline, touched: list[StreamState]) -> list[StreamState]:
    """Take the streams whose messages are all as usual; return the others."""
    known = [state for state in touched if state.unusual]
    left = _push_or_find(pipeline, [state for state in touched if not state.unusual])
    left += [state for state in known if not _push_usual(pipeline, [state])]
    for state in known:
        state.unusual = False
    for state in left:
        state.unusual = True
    return left


def _push_or_find(pipeline: Pipeline, states: list[StreamState]) -> list[StreamState]:
    """Take streams together; where that fails, in smaller groups. Return those left over."""
    if not states or _push_usual(pipeline, states):
        return []
    if len(states) == 1:
        return states
    size = GROUP_STREAMS if len(states) > GROUP_STREAMS else 1
    groups = [states[begin : begin + size] for begin in range(0, len(states), size)]
    return [state for group in groups for state in _push_or_find(pipeline, group)]


def _push_usual(pipeline: Pipeline, states: list[StreamState]) -> bool:
    """Decode the messages of streams at once and push them, if all are as usual."""
    assert pipeline.row_decoder is not None
    messages = [message for state in states for message in state.messages]
    if any(map(_redelivered, messages)):
        return False
    found = pipeline.row_decoder.decode_many(messages)
    if found is None:
        return False
    times, rows = found
    parts = []
    start = 0
    for state in states:
        begin, start = start, start + len(state.messages)
        parts.append((state, times[begin:start]))
        state.messages.clear()
    raw = np.frombuffer(b"".join(rows), pipeline.conditioner.input_dtype)
    _push_block(pipeline, parts, raw.reshape(len(rows), -1))
    return True


def _decode_singly(
    pipeline: Pipeline, state: StreamState
) -> tuple[list[int], list[Sequence[float]]]:
    """Decode the messages of a stream; count and leave out what is none.

    Returns:
        (n,) times in nanoseconds and n times (C,) raw values.
    """
    times: list[int] = []
    rows: list[Sequence[float]] = []
    for message in state.messages:
        decoded = _decode(pipeline, state, message)
        if decoded is not None:
            times.append(decoded[0])
            rows.append(decoded[1])
    state.messages.clear()
    return times, rows


def _decode(
    pipeline: Pipeline, state: StreamState, message: Message
) -> tuple[int, Sequence[float]] | None:
    """Decode a message to its time and raw values (C,).

    None for what is no sample, or one that the broker sent again and that the stream has passed;
    it is counted.
    """
    assert pipeline.row_decoder is not None
    _, payload, received_ns, redelivered = message
    invalid = pipeline.row_decoder.invalid
    counted = invalid.total() if redelivered else 0
    try:
        payload = payload if isinstance(payload, bytes) else bytes(payload)
        time_ns, values = pipeline.row_decoder.decode(payload)
    except DecodeError as error:
        pipeline.metrics.drops[error.code] += 1
        return None
    if time_ns is None:
        time_ns = received_ns
    if redelivered and state.stream.has_passed(time_ns):
        pipeline.metrics.drops["duplicate"] += 1
        pipeline.leave_out(invalid.total() - counted)
        return None
    return time_ns, values


def _block_of(pipeline: Pipeline, rows: list[Sequence[float]]) -> npt.NDArray[Any]:
    """Return raw values (n, C) as the conditioner takes them."""
    shape = len(rows), pipeline.settings.channels
    with np.errstate(over="ignore"):  # 1e300 becomes infinite
        raw = np.fromiter(
            chain.from_iterable(rows), pipeline.conditioner.input_dtype, math.prod(shape)
        )
    return raw.reshape(shape)


def _push_block(pipeline: Pipeline, parts: list[Times], raw: npt.NDArray[Any]) -> None:
    """Condition the samples of several streams, then give each its own.

    Args:
        pipeline: Theirs.
        parts: Each stream with the times of its samples.
        raw: (n, C) raw values, one stream's after the other's.
    """
    done = pipeline.conditioner.rows(raw)
    plain = done.invalid is None and done.uncertain is None and done.dropped is None
    flat = done.values.reshape(-1).data
    if done.invalid is not None:
        pipeline.count_missing(int(np.isnan(raw).sum()))
    start = 0
    for state, times in parts:
        begin, start = start, start + len(times)
        if plain and state.stream.push_few(times, flat, begin, start, state.emit):
            continue
        part = slice(begin, start)
        rows = done.values[part]
        invalid = None if done.invalid is None else done.invalid[part]
        doubtful = None if done.uncertain is None else done.uncertain[part]
        kept = times
        if done.dropped is not None and done.dropped[part].any():
            keep = ~done.dropped[part]
            pipeline.metrics.drops["invalid_value"] += int((~keep).sum())
            kept = [time_ns for time_ns, good in zip(times, keep, strict=True) if good]
            rows = rows[keep]
            invalid = None if invalid is None else invalid[keep]
            if not kept:
                continue
        state.stream.push_rows(kept, rows, invalid, doubtful, state.emit)


def take_tag(pipeline: Pipeline, state: StreamState, name: str | None, message: Message) -> None:
    """Decode one value of one channel, to be conditioned with others; what is none is counted.

    Args:
        pipeline: Whose it is.
        state: The stream's.
        name: The tag's, if the topic holds it.
        message: As it came.
    """
    assert pipeline.tag_decoder is not None
    _, payload, received_ns, redelivered = message
    try:
        payload = payload if isinstance(payload, bytes) else bytes(payload)
        time_ns, channel, value = pipeline.tag_decoder.decode(payload, name)
    except DecodeError as error:
        pipeline.drop(error.code)
        return
    moment = received_ns if time_ns is None else time_ns
    if redelivered and state.stream.has_passed(moment):
        pipeline.drop("duplicate")
        return
    state.tags.append((moment, channel, value))
    pipeline.touched[state] = None


def _window_tags(pipeline: Pipeline, touched: list[StreamState]) -> None:
    """Condition the values of all streams at once; they were decoded as they came."""
    tags = [tag for state in touched for tag in state.tags]
    pipeline.metrics.messages.value += len(tags)
    raw = np.array([value for _, _, value in tags])
    done = pipeline.conditioner.tags(raw, np.array([channel for _, channel, _ in tags]))
    if done.dropped is not None:
        done.values[done.dropped] = np.nan
    values = iter(done.values[:, 0].tolist())
    flags = repeat(False) if done.uncertain is None else iter(done.uncertain.tolist())
    for state in touched:
        for time_ns, channel, _ in state.tags:
            state.stream.push_tag(time_ns, channel, next(values), next(flags), state.emit)
        state.tags = []


def take_frame(pipeline: Pipeline, state: StreamState, message: Message) -> None:
    """Decode a frame and take it as a block; what is none is counted."""
    assert pipeline.frame_decoder is not None
    _, payload, received_ns, _ = message
    try:
        frame = pipeline.frame_decoder(payload)
    except DecodeError as error:
        pipeline.drop(error.code)
        return
    pipeline.metrics.messages.value += 1
    previous, state.sequence = state.sequence, frame.sequence
    if previous is not None and frame.sequence is not None and frame.sequence != previous + 1:
        pipeline.metrics.missed.inc(_missed_between(previous, frame.sequence))
    period_ns = SECOND_NS / frame.rate_hz
    t0_ns = frame.t0_ns
    if t0_ns is None:  # its last sample was taken when it was sent
        t0_ns = received_ns - round((frame.samples - 1) * period_ns)
    if push_window(pipeline, state, frame, t0_ns, period_ns):
        return
    values = frame.values
    done = pipeline.conditioner.rows(values)
    if done.invalid is not None:
        pipeline.metrics.invalid["missing"] += int(np.isnan(values).sum())
    if done.dropped is not None:  # samples of a block cannot be left out one by one
        pipeline.metrics.drops["invalid_value"] += frame.samples
        return
    state.stream.push_block(t0_ns, period_ns, done.values, done.invalid, done.uncertain, state.emit)


def push_window(
    pipeline: Pipeline, state: StreamState, frame: Frame, t0_ns: int, period_ns: float
) -> bool:
    """Take a frame that is the next window from the payload straight into the batch.

    The same as the general way, in one copy of bytes: with cold caches each operation on an array
    costs 10 to 40 us, however small.

    Returns:
        Whether it was taken: only where nothing is the matter with it.
    """
    stream, block = state.stream, frame.block
    if not (stream.awaits_window_of(frame.samples) and isinstance(block, memoryview)):
        return False
    window = pipeline.batch.place(block)
    if pipeline.conditioner.is_usable_as_is(window) and stream.push_window(
        t0_ns, period_ns, window, block, state.emit
    ):
        return True
    window.fill(0.0)  # batches are padded with what lies there, and this the model must not see
    return False


def _missed_between(previous: int, sequence: int) -> int:
    """Return how many frames the sender's count says were lost between two."""
    step = (sequence - previous) % SEQUENCE_WRAP
    # A step back is a sender that started anew, or a frame sent twice.
    return step - 1 if 1 <= step < SEQUENCE_WRAP // 2 else 0
