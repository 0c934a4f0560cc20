"""Tags: messages that each carry one value of one signal."""

from itertools import repeat

import numpy as np

from edgeai.decoding.sender_clock import SenderClock
from edgeai.decoding.tags import TagDecoder
from edgeai.engine.intake.parts import IntakeParts
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import Message


class TagIntake:
    """Takes the tags of one pipeline."""

    waits = False

    def __init__(self, parts: IntakeParts) -> None:
        """Compile the decoder for a pipeline's source."""
        self.touched: dict[StreamState, None] = {}
        """Streams with values in this turn, in the order of their first value."""
        self._conditioner = parts.conditioner
        self._metrics = parts.metrics
        self._decoder = TagDecoder(parts.source, parts.signals)
        self._clock = SenderClock(parts.source)
        self.invalid = self._decoder.invalid

    def take(self, state: StreamState, tag: str | None, message: Message) -> None:
        """Decode one value and keep it for `window`; count a message that holds none.

        Args:
            state: The stream's.
            tag: The tag's name, if the topic holds it.
            message: As received.
        """
        _, payload, received_ns, redelivered = message
        try:
            payload = payload if isinstance(payload, bytes) else bytes(payload)
            time_ns, channel, value = self._decoder.decode(payload, tag)
            moment = received_ns
            if time_ns is not None:
                newest_ns = state.tags[-1][0] if state.tags else state.stream.newest_ns
                moment = self._clock.check(time_ns, received_ns, newest_ns)
        except DecodeError as error:
            self._metrics.drop(error.code)
            return
        if redelivered and state.stream.has_passed(moment):
            self._metrics.drop("duplicate")
            return
        state.tags.append((moment, channel, value, received_ns))
        self.touched[state] = None

    def window(self) -> None:
        """Condition the values of all touched streams in one block, then push them one by one."""
        touched = list(self.touched)
        self.touched.clear()
        tags = [tag for state in touched for tag in state.tags]
        self._metrics.messages.value += len(tags)
        raw = np.array([value for _, _, value, _ in tags])
        done = self._conditioner.tags(raw, np.array([channel for _, channel, _, _ in tags]))
        if done.dropped is not None:
            done.values[done.dropped] = np.nan
        values = iter(done.values[:, 0].tolist())
        flags = repeat(False) if done.uncertain is None else iter(done.uncertain.tolist())
        for state in touched:
            push_tag = state.stream.push_tag
            for time_ns, channel, _, received_ns in state.tags:
                push_tag(time_ns, channel, next(values), next(flags), received_ns)
            state.tags = []
