"""Tags: messages that each carry one value of one signal."""

import math
from collections.abc import Iterable, Iterator
from itertools import repeat

import numpy as np

from edgeai.decoding.sender_clock import SenderClock
from edgeai.decoding.tags import Tag, TagDecoder
from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.intake.preview import sample_text
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import RETAINED, Message

Waiting = tuple[int, int, float, Message]
"""Time, channel, value and message of a tag."""


class TagIntake:
    """Takes the tags of one pipeline."""

    waits = False

    def __init__(self, parts: IntakeParts) -> None:
        """Compile the decoder for a pipeline's source."""
        self.touched: dict[StreamState, None] = {}
        """Streams with values in this turn, in the order of their first value."""
        self._conditioner = parts.conditioner
        self._metrics = parts.metrics
        self._batch = parts.batch
        self._containment = parts.containment
        self._arrival = parts.arrival
        self._refusals = parts.refusals
        self._unusable = parts.unusable
        self._names = parts.names
        self._signals = len(parts.names) - parts.extras
        self._decoder = TagDecoder(parts.source, parts.names, parts.extras)
        self._clock = SenderClock(parts.source)
        self.invalid = self._decoder.invalid
        self.skews: dict[str, dict[int, int]] | None = None
        """How far each channel's newest time stamp was ahead of its arrival, nanoseconds, by asset;
        None: it is not kept. Set by the monitor while no window comes."""

    def take(self, state: StreamState, tag: str | None, message: Message) -> None:
        """Decode one value and keep it for `window`; count a message that holds none.

        Args:
            state: The stream's.
            tag: The tag's name, if the topic holds it.
            message: As received.
        """
        _, payload, received_ns, flags = message
        try:
            payload = payload if isinstance(payload, bytes) else bytes(payload)
            time_ns, channel, value = self._decoder.decode(payload, tag)
            if time_ns is not None:
                newest_ns = state.tags[-1][0] if state.tags else state.stream.newest_ns
                time_ns = self._clock.check(time_ns, received_ns, newest_ns)
        except DecodeError as error:
            self._refuse(state, error.code, message, error.skew_ns)
            return
        except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
            self._metrics.messages.value += 1
            self._containment.drop(message, error)
            return
        if flags:
            try:
                self._take_flagged(state, message, Tag(time_ns, channel, value))
            except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
                self._metrics.messages.value += 1
                self._containment.drop(message, error)
                self._batch.recover(state)
            return
        moment_ns = received_ns if time_ns is None else time_ns
        state.tags.append((moment_ns, channel, value, message))
        self.touched[state] = None

    def _take_flagged(self, state: StreamState, message: Message, tag: Tag) -> None:
        """Use the value of a message with a flag as the rules of `Arrival` say."""
        flags, stream = message[3], state.stream
        if self.touched:
            self.window()  # the values that came before, in the same turn
        done = self._conditioner.tags(np.array([tag.value]), np.array([tag.channel]))
        value = float(done.values[0, 0]) if done.dropped is None else math.nan
        if flags & RETAINED:
            takes = self._arrival.takes_retained and not math.isnan(value)
            if not takes or not stream.hold(tag.channel, value, tag.time_ns):
                self._refuse(state, "retained", message)
                return
        else:
            taken = self._arrival.judge(stream, flags, tag.time_ns, message[2])
            if isinstance(taken, str):
                self._refuse(state, taken, message)
                return
            uncertain = taken.uncertain or done.uncertain is not None
            stream.push_tag(taken.time_ns, tag.channel, value, uncertain, message[2])
        self._metrics.messages.value += 1
        self._metrics.count_retained(flags)

    def _refuse(
        self, state: StreamState, reason: str, message: Message, skew_ns: int | None = None
    ) -> None:
        self._metrics.drop(reason)
        state.drops.note(reason, message[2], message[3], skew_ns)
        self._metrics.count_retained(message[3], reason)
        self._refusals.tell(reason, message[0], message[1], message[2])

    def preview(self, tag: str | None, payload: bytes) -> str:
        """Return what a tag's message holds as text for people."""
        time_ns, channel, raw = self._decoder.decode(payload, tag)
        done = self._conditioner.tags(np.array([raw]), np.array([channel]))
        return sample_text(time_ns, [self._names[channel]], [float(done.values[0, 0])])

    def window(self) -> None:
        """Condition the values of all touched streams in one block, then push them one by one."""
        touched = list(self.touched)
        self.touched.clear()
        tags = [tag for state in touched for tag in state.tags]
        self._metrics.messages.value += len(tags)
        try:
            done = self._condition(tags)
        except Exception:  # noqa: BLE001  conditioning one by one finds the message
            done = [one for state in touched for one in self._condition_each(state)]
        conditioned = iter(done)
        for state in touched:
            push_tag = state.stream.push_tag
            waiting, state.tags = state.tags, []
            if self.skews is not None:
                of_channel = self.skews.setdefault(state.key, {})
                for time_ns, channel, _, message in waiting:
                    of_channel[channel] = time_ns - message[2]
            for time_ns, channel, _, message in waiting:
                value, uncertain = next(conditioned)
                try:
                    push_tag(time_ns, channel, value, uncertain, message[2])
                except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
                    self._containment.drop(message, error)
                    self._batch.recover(state)

    def _condition(self, tags: list[Waiting]) -> Iterable[tuple[float, bool]]:
        """Return each value in engineering units, NaN if unusable, and whether it is uncertain."""
        raw = np.array([value for _, _, value, _ in tags])
        done = self._conditioner.tags(raw, np.array([channel for _, channel, _, _ in tags]))
        if done.dropped is not None:
            done.values[done.dropped] = np.nan
        if done.invalid is not None:
            channels = (channel for _, channel, _, _ in tags)
            for channel, is_bad in zip(channels, done.invalid[:, 0].tolist(), strict=True):
                self._metrics.extra_missing.value += is_bad and channel >= self._signals
        if (done.invalid is not None or done.dropped is not None) and self._unusable.is_open:
            for (_, channel, _, message), is_bad in zip(
                tags, np.isnan(done.values[:, 0]).tolist(), strict=True
            ):
                if is_bad:
                    self._unusable.add(message, [channel])
        flags = repeat(False) if done.uncertain is None else done.uncertain.tolist()
        return zip(done.values[:, 0].tolist(), flags, strict=False)  # `repeat` has no end

    def _condition_each(self, state: StreamState) -> Iterator[tuple[float, bool]]:
        """Condition a stream's values one by one; drop those that cannot be."""
        kept = []
        for tag in state.tags:
            try:
                (one,) = self._condition([tag])
            except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
                self._containment.drop(tag[3], error)
                continue
            kept.append(tag)
            yield one
        state.tags = kept
