"""Frames: messages that each carry a block of samples of a waveform."""

from typing import NamedTuple

import numpy as np

from edgeai.decoding.frames import Frame, frame_decoder
from edgeai.decoding.sender_clock import SenderClock
from edgeai.engine.intake.arrival import windows_only_if
from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.intake.preview import frame_text
from edgeai.engine.missing_frames import MissingFrames
from edgeai.engine.seen_frames import NUMBERED, UNNUMBERED, Mark, content_of, mark_of_time
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import RETAINED, SECOND_NS, Message
from edgeai.streams.run import Run, block_times

SEQUENCE_WRAP = 2**32


class _Arrived(NamedTuple):
    """How a frame arrived."""

    received_ns: int
    is_timed: bool
    """Whether it carries a time."""
    follows: bool
    """Whether its sequence number is the next one."""
    is_placed: bool = False
    """Whether its sequence number gave its time."""
    steps: int | None = None
    """How many frames it is after the newest one, if another number than 1, and known."""
    is_torn: bool = False
    """Whether it is not known how many samples are missing before it."""


class FrameIntake:
    """Takes the frames of one pipeline."""

    waits = False
    brings_one = False

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
        self._containment = parts.containment
        self._signals = len(parts.names) - parts.extras
        self._decode = frame_decoder(parts.source, parts.names, parts.limits)
        self._whole_cycles = parts.whole_cycles
        """Whether each frame is a cycle: then none continues the one before it."""
        self._clock = SenderClock(parts.source)
        self._lateness_ns = parts.lateness_ns
        clock = parts.source.frame.clock
        self._has_fine_clock = clock is None or clock.resolution_seconds is None
        """Whether frames with the same time and number are the same frame."""

    def take(self, state: StreamState, tag: str | None, message: Message) -> None:  # noqa: ARG002
        """Decode a frame and push its samples; count a message that is no frame."""
        _, payload, received_ns, _ = message
        stream = state.stream
        try:
            frame = self._decode(payload)
            t0_ns = frame.t0_ns
            if t0_ns is not None:
                newest_ns = stream.newest_ns if self._clock.is_local else None
                t0_ns = self._clock.check(t0_ns, received_ns, newest_ns)
        except DecodeError as error:
            self._refuse(state, error.code, message, error.skew_ns)
            return
        except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
            self._metrics.messages.value += 1
            self._containment.drop(message, error)
            return
        try:
            self._take_frame(state, frame, t0_ns, message)
        except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
            self._containment.drop(message, error)
            self._batch.recover(state)

    def preview(self, tag: str | None, payload: bytes) -> str:  # noqa: ARG002
        """Return what a frame holds as text for people."""
        frame = self._decode(payload)
        samples, channels = frame.values.shape
        return frame_text(frame.t0_ns, samples, channels, frame.rate_hz)

    def _take_frame(
        self, state: StreamState, frame: Frame, t0_ns: int | None, message: Message
    ) -> None:
        """Push the samples of a frame, unless it was seen.

        Args:
            state: The stream's.
            frame: As decoded.
            t0_ns: Time of its first sample, by the sender's clock as it is judged; None: it has
                none.
            message: As received.
        """
        _, payload, received_ns, flags = message
        metrics, stream = self._metrics, state.stream
        sequence = frame.sequence
        steps = _steps(state.pushed, sequence)
        follows = steps == 1
        if t0_ns is None or not self._has_fine_clock:
            mark: Mark = sequence, content_of(payload)
        else:
            mark = mark_of_time(t0_ns, payload) if sequence is None else (sequence, t0_ns)
        is_new = follows if t0_ns is None else t0_ns > stream.ring.last_ns
        if not is_new and self._was_seen(state, frame, mark, t0_ns, message):
            self._refuse(state, "duplicate", message)
            if self._is_other(state, frame, t0_ns):
                stream.ring.conflicts += frame.samples
            return
        period_ns = SECOND_NS / frame.rate_hz
        arrived = _Arrived(received_ns, t0_ns is not None, follows)
        if flags:
            self._take_flagged(state, frame, message, t0_ns, arrived)
            self._remember(state, mark, t0_ns)
            return
        self._remember(state, mark, t0_ns)
        metrics.messages.value += 1
        if t0_ns is None:  # without a time, the last sample was taken when the frame arrived
            t0_ns = received_ns - round((frame.samples - 1) * period_ns)
            if steps is not None and not follows and not self._whole_cycles:
                t0_ns, arrived = self._place(state, frame, steps, t0_ns, arrived)
        steps = self._count_missed(state, frame, t0_ns, steps)
        is_next = steps is None or steps == 1  # else its number may say more than its time
        if is_next and arrived.is_timed and self.push_whole_window(state, frame, t0_ns, period_ns):
            stream.ring.arrived_ns = received_ns
            state.pushed = sequence
            return
        if steps != 1 and not self._whole_cycles:
            arrived = arrived._replace(steps=steps)
        self._push(state, frame, t0_ns, arrived)

    def _place(
        self, state: StreamState, frame: Frame, steps: int, t0_ns: int, arrived: _Arrived
    ) -> tuple[int, _Arrived]:
        """Give a frame without a time the place that its sequence number says.

        Where the arrivals contradict, or the place is taken, its arrival is its time, and it is not
        known what is missing before it.
        """
        period_ns, stream = SECOND_NS / frame.rate_hz, state.stream
        span_ns = frame.samples * period_ns
        placed_ns = round(stream.end_ns + period_ns + (steps - 1) * span_ns)
        if steps > 0:
            fits = abs(placed_ns - t0_ns) <= max(2 * span_ns, SECOND_NS / 10)
        else:
            fits = not stream.has_passed(placed_ns + round(span_ns - period_ns))
        if fits:
            return placed_ns, arrived._replace(is_placed=True)
        return t0_ns, arrived._replace(is_torn=True)

    def _was_seen(
        self,
        state: StreamState,
        frame: Frame,
        mark: Mark,
        t0_ns: int | None,
        message: Message,
    ) -> bool:
        """Return whether a frame was taken before that is not new by its time or its number."""
        _, _, received_ns, flags = message
        seen = state.seen_frames
        if flags & RETAINED:
            return False  # `Arrival` decides
        if t0_ns is not None or flags:
            return seen.has(mark)
        return seen.is_repeat(mark, frame.values, received_ns, frame.rate_hz)

    def _remember(self, state: StreamState, mark: Mark, t0_ns: int | None) -> None:
        is_compared = mark[0] is None and t0_ns is None
        state.seen_frames.add(mark, UNNUMBERED if is_compared else NUMBERED)

    def _is_other(self, state: StreamState, frame: Frame, t0_ns: int | None) -> bool:
        """Return whether a frame of a time that was seen surely has values that were not."""
        ring = state.stream.ring
        if t0_ns is None or not ring.reaches(t0_ns, None):
            return False
        first = self._conditioner.rows(frame.values[:1]).values
        return not bool(((ring.recent == first) | np.isnan(first)).all(axis=1).any())

    def _take_flagged(
        self,
        state: StreamState,
        frame: Frame,
        message: Message,
        t0_ns: int | None,
        arrived: "_Arrived",
    ) -> None:
        """Push the samples of a frame with a flag as `Arrival` decides."""
        period_ns = SECOND_NS / frame.rate_hz
        span_ns = round((frame.samples - 1) * period_ns)
        taken = self._arrival.judge(
            state.stream,
            message[3],
            None if t0_ns is None else t0_ns + span_ns,
            message[2],
            step_ns=round(frame.samples * period_ns),
        )
        if not isinstance(taken, str) and self._whole_cycles and not taken.completes_windows:
            taken = "retained"
        if isinstance(taken, str):
            self._refuse(state, taken, message)
            return
        self._metrics.messages.value += 1
        t0_ns = taken.time_ns - span_ns
        steps = self._count_missed(state, frame, t0_ns, _steps(state.pushed, frame.sequence))
        if steps != 1:
            arrived = arrived._replace(steps=steps)
        with windows_only_if(taken.completes_windows, state.stream):
            self._push(state, frame, t0_ns, arrived, uncertain=taken.uncertain)
        self._metrics.count_retained(message[3])

    def _push(
        self,
        state: StreamState,
        frame: Frame,
        t0_ns: int,
        arrived: "_Arrived",
        *,
        uncertain: bool = False,
    ) -> None:
        """Condition the samples of a frame and push them.

        Args:
            state: The stream's.
            frame: As decoded.
            t0_ns: Time of its first sample.
            arrived: How it arrived.
            uncertain: Whether to mark all samples as uncertain.
        """
        values = frame.values
        done = self._conditioner.rows(values)
        if done.invalid is not None:
            is_missing = np.isnan(values)
            self._metrics.invalid["missing"] += int(is_missing[:, : self._signals].sum())
            self._metrics.extra_missing.value += int(is_missing[:, self._signals :].sum())
        if done.dropped is not None:  # single samples cannot be left out of a block
            state.drops["invalid_value"] += frame.samples
            return
        period_ns = SECOND_NS / frame.rate_hz
        run = Run(
            block_times(t0_ns, period_ns, frame.samples),
            done.values,
            np.ones(frame.samples, np.bool_) if uncertain else done.uncertain,
            arrived.received_ns,
            period_ns,
            is_block=True,
            is_clean=done.invalid is None,
            is_timed=arrived.is_timed,
            sequence=frame.sequence,
            follows=arrived.follows,
            steps=arrived.steps,
            is_placed=arrived.is_placed,
            is_torn=arrived.is_torn,
        )
        state.stream.push_block(run)
        state.pushed = state.sequence

    def _count_missed(
        self, state: StreamState, frame: Frame, t0_ns: int, steps: int | None
    ) -> int | None:
        """Count the frames that are missing before this one, by its sequence number.

        Args:
            state: The stream's.
            frame: As decoded.
            t0_ns: Time of its first sample.
            steps: How many frames it is after the newest one.

        Returns:
            `steps`; None if the number does not say it: the sender has restarted, or not all frames
            have a number.
        """
        sequence, missing = frame.sequence, state.missing_frames
        if sequence is None:
            return None
        previous, state.sequence = state.sequence, sequence
        if previous is None or sequence == previous + 1:
            if missing is not None:
                self._metrics.missed.inc(missing.pass_by())
            return steps
        step = _steps(previous, sequence) or 0
        if step < 0:
            is_late = missing is not None and missing.come(sequence)
            if is_late or t0_ns <= state.stream.ring.last_ns:
                state.sequence = previous
                return steps if is_late else None
            if missing is not None:
                self._metrics.missed.inc(missing.end())
            return None
        span_ns = frame.samples * SECOND_NS / frame.rate_hz
        newer = 1 + int(self._lateness_ns / span_ns)
        missing = state.missing_frames = missing or MissingFrames()
        lost = missing.pass_by() + missing.skip(range(previous + 1, previous + step), newer)
        self._metrics.missed.inc(lost)
        return steps or None

    def _refuse(
        self, state: StreamState, reason: str, message: Message, skew_ns: int | None = None
    ) -> None:
        self._metrics.drop(reason)
        state.drops.note(reason, message[2], message[3], skew_ns)
        self._metrics.count_retained(message[3], reason)
        self._refusals.tell(reason, message[0], message[1], message[2])

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


def _steps(previous: int | None, sequence: int | None) -> int | None:
    """Return how many frames a sequence number is after another; None: one of them is not known."""
    if previous is None or sequence is None:
        return None
    # A large step is one back: a sender that restarted, or a frame that comes late.
    step = (sequence - previous) % SEQUENCE_WRAP
    return step if step < SEQUENCE_WRAP // 2 else step - SEQUENCE_WRAP
