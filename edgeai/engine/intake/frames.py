"""Frames: messages that each carry a block of samples of a waveform."""

from zlib import crc32

import numpy as np

from edgeai.decoding.frames import Frame, compile_frame
from edgeai.decoding.sender_clock import SenderClock
from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS, Message
from edgeai.streams.run import Run, block_times

SEQUENCE_WRAP = 2**32


class FrameIntake:
    """Takes the frames of one pipeline."""

    waits = False

    def __init__(self, parts: IntakeParts) -> None:
        """Compile the decoder for a pipeline's source."""
        assert parts.source.frame is not None
        self.touched: dict[StreamState, None] = {}
        """Always empty: a frame is pushed by `take`."""
        self.invalid = None
        self._conditioner = parts.conditioner
        self._metrics = parts.metrics
        self._batch = parts.batch
        names = [parts.source.tag_of(signal) for signal in parts.signals]
        self._decode = compile_frame(parts.source.frame, names)
        self._clock = SenderClock(parts.source)

    def take(self, state: StreamState, tag: str | None, message: Message) -> None:  # noqa: ARG002
        """Decode a frame and push its samples; count a message that is no frame."""
        _, payload, received_ns, redelivered = message
        metrics = self._metrics
        stream = state.stream
        try:
            frame = self._decode(payload)
            t0_ns = frame.t0_ns
            if t0_ns is not None:
                newest_ns = stream.newest_ns if self._clock.is_local else None
                t0_ns = self._clock.check(t0_ns, received_ns, newest_ns)
        except DecodeError as error:
            metrics.drop(error.code)
            return
        metrics.messages.value += 1
        sequence = frame.sequence
        mark = (sequence, t0_ns if t0_ns is not None else crc32(payload))
        follows = sequence is not None and _follows(state.sequence, sequence)
        if t0_ns is not None:
            may_be_seen = t0_ns <= stream.ring.last_ns
        else:
            may_be_seen = not follows and (sequence is not None or bool(redelivered))
        if may_be_seen and mark in state.seen_frames:
            metrics.drops["duplicate"] += 1
            return
        state.seen_frames.append(mark)
        period_ns = SECOND_NS / frame.rate_hz
        is_timed = t0_ns is not None
        if t0_ns is None:  # without a time, the last sample was taken when the frame arrived
            t0_ns = received_ns - round((frame.samples - 1) * period_ns)
        self._count_missed(state, frame, t0_ns)
        if is_timed and self.push_whole_window(state, frame, t0_ns, period_ns):
            stream.ring.arrived_ns = received_ns
            return
        values = frame.values
        done = self._conditioner.rows(values)
        if done.invalid is not None:
            metrics.invalid["missing"] += int(np.isnan(values).sum())
        if done.dropped is not None:  # single samples cannot be left out of a block
            metrics.drops["invalid_value"] += frame.samples
            return
        run = Run(
            block_times(t0_ns, period_ns, frame.samples), done.values, done.uncertain, received_ns,
            period_ns, is_block=True, is_clean=done.invalid is None, is_timed=is_timed,
            sequence=sequence, follows=follows,
        )  # fmt: skip
        stream.push_block(run)

    def _count_missed(self, state: StreamState, frame: Frame, t0_ns: int) -> None:
        """Count the frames that are missing before this one, by its sequence number."""
        previous, sequence = state.sequence, frame.sequence
        if sequence is None:
            return
        newest_ns = state.stream.newest_ns
        if previous is not None and sequence != previous + 1:
            self._metrics.missed.inc(_missed_between(previous, sequence))
            if newest_ns is not None and t0_ns <= newest_ns and _is_before(previous, sequence):
                return  # an older frame that comes late
        state.sequence = sequence

    def window(self) -> None:
        """Do nothing: `take` has pushed every frame."""

    def push_whole_window(
        self, state: StreamState, frame: Frame, t0_ns: int, period_ns: float
    ) -> bool:
        """Copy a frame that is exactly the next window from the payload into the batch.

        The result is that of `push_block`, with one copy of bytes instead of several NumPy calls,
        each of which costs 10 to 40 us with cold caches, whatever the array's size.

        Returns:
            Whether the frame was taken; False if any of its values or its time needs a closer look.
        """
        stream, block = state.stream, frame.block
        if not (stream.awaits_window_of(frame.samples) and isinstance(block, memoryview)):
            return False
        window = self._batch.place(block)
        if self._conditioner.is_usable_as_is(window) and stream.push_window(
            t0_ns, period_ns, window, block
        ):
            return True
        window.fill(0.0)  # the rows of a batch beyond its windows are computed too: no stale values
        return False


def _follows(previous: int | None, sequence: int) -> bool:
    """Return whether a sequence number is the next one."""
    return previous is not None and (sequence - previous) % SEQUENCE_WRAP == 1


def _is_before(previous: int, sequence: int) -> bool:
    """Return whether a sequence number is one before `previous`."""
    return (sequence - previous) % SEQUENCE_WRAP >= SEQUENCE_WRAP // 2


def _missed_between(previous: int, sequence: int) -> int:
    """Return how many frames are missing between two sequence numbers."""
    # A large step is one back: a sender that restarted, or a frame that comes late.
    step = (sequence - previous) % SEQUENCE_WRAP
    return 0 if step == 0 or _is_before(previous, sequence) else step - 1
