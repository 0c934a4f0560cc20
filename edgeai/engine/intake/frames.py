"""Frames: messages that each carry a block of samples of a waveform."""

import numpy as np

from edgeai.decoding.frames import Frame, compile_frame
from edgeai.engine.intake.arrival import windows_only_if
from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import RETAINED, SECOND_NS, Message

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
        self._arrival = parts.arrival
        self._refusals = parts.refusals
        self._batch = parts.batch
        names = [parts.source.tag_of(signal) for signal in parts.signals]
        self._decode = compile_frame(parts.source.frame, names)

    def take(self, state: StreamState, tag: str | None, message: Message) -> None:  # noqa: ARG002
        """Decode a frame and push its samples; count a message that is no frame."""
        _, payload, received_ns, flags = message
        metrics = self._metrics
        try:
            frame = self._decode(payload)
        except DecodeError as error:
            self._refuse(error.code, message)
            return
        if flags:
            self._take_flagged(state, frame, message)
            return
        metrics.messages.value += 1
        self._count_missed(state, frame.sequence)
        period_ns = SECOND_NS / frame.rate_hz
        t0_ns = frame.t0_ns
        if t0_ns is None:  # without a time, the last sample was taken when the frame arrived
            t0_ns = received_ns - round((frame.samples - 1) * period_ns)
        if not self.push_whole_window(state, frame, t0_ns, period_ns):
            self._push(state, frame, t0_ns, period_ns)

    def _take_flagged(self, state: StreamState, frame: Frame, message: Message) -> None:
        """Push the samples of a frame with a flag as `Arrival` decides."""
        if message[3] & RETAINED:
            self._metrics.retained += 1
        period_ns = SECOND_NS / frame.rate_hz
        span_ns = round((frame.samples - 1) * period_ns)
        taken = self._arrival.judge(
            state.stream,
            message[3],
            None if frame.t0_ns is None else frame.t0_ns + span_ns,
            message[2],
            step_ns=round(frame.samples * period_ns),
        )
        if isinstance(taken, str):
            self._refuse(taken, message)
            return
        self._metrics.messages.value += 1
        self._count_missed(state, frame.sequence)
        with windows_only_if(taken.completes_windows, state.stream):
            t0_ns = taken.time_ns - span_ns
            self._push(state, frame, t0_ns, period_ns, uncertain=taken.uncertain)

    def _push(
        self,
        state: StreamState,
        frame: Frame,
        t0_ns: int,
        period_ns: float,
        *,
        uncertain: bool = False,
    ) -> None:
        """Condition the samples of a frame and push them.

        Args:
            state: The stream's.
            frame: As decoded.
            t0_ns: Time of its first sample.
            period_ns: From one sample to the next.
            uncertain: Whether to mark all samples as uncertain.
        """
        values = frame.values
        done = self._conditioner.rows(values)
        if done.invalid is not None:
            self._metrics.invalid["missing"] += int(np.isnan(values).sum())
        if done.dropped is not None:  # single samples cannot be left out of a block
            self._metrics.drops["invalid_value"] += frame.samples
            return
        marks = np.ones(frame.samples, np.bool_) if uncertain else done.uncertain
        state.stream.push_block(t0_ns, period_ns, done.values, done.invalid, marks)

    def _count_missed(self, state: StreamState, sequence: int | None) -> None:
        previous, state.sequence = state.sequence, sequence
        if previous is not None and sequence is not None and sequence != previous + 1:
            self._metrics.missed.inc(_missed_between(previous, sequence))

    def _refuse(self, reason: str, message: Message) -> None:
        self._metrics.drop(reason)
        self._refusals.tell(reason, message[0], message[1])

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


def _missed_between(previous: int, sequence: int) -> int:
    """Return how many frames are missing between two sequence numbers."""
    step = (sequence - previous) % SEQUENCE_WRAP
    # A large step is one back: a sender that restarted, or a frame sent twice.
    return step - 1 if 1 <= step < SEQUENCE_WRAP // 2 else 0
