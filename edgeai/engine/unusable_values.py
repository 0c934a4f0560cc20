"""Tell the first value of each signal that cannot be used: machine, message, and what is wrong.

Such values are counted, and mark windows. The count does not say which signal of which machine it
is; the commonest causes (null, a text, a decimal comma, another name) show in one message.
"""

import logging
from collections.abc import Sequence

from edgeai.engine.explanations import Explanations
from edgeai.engine.refusals import SHOWN_CHARACTERS, example_of
from edgeai.log_events import event
from edgeai.messages import Message
from edgeai.streams.conditioning import Flags

log = logging.getLogger("edgeai.refused")

MAX_LINES = 10  # of a pipeline: a sender may lose hundreds of signals one after the other


class UnusableValues:
    """The signals of one pipeline that have had a value that cannot be used."""

    def __init__(self, name: str, signals: Sequence[str], explanations: Explanations) -> None:
        """Start without any.

        Args:
            name: The pipeline's.
            signals: The model's.
            explanations: The pipeline's.
        """
        self._name, self._explanations = name, explanations
        self._left = set(range(len(signals)))
        """Channels that have had none."""
        self._lines = MAX_LINES
        """How many lines may still be written."""

    @property
    def is_open(self) -> bool:
        """Whether `look` can find anything new."""
        return bool(self._left and self._lines)

    def look(self, messages: Sequence[Message], invalid: Flags, *, is_told: bool) -> None:
        """Tell the first message with an unusable value of a signal that had none before.

        Args:
            messages: n messages.
            invalid: (n, C) which of their values cannot be used.
            is_told: Whether a line about one of these messages was written already.
        """
        for message, channels in zip(messages, invalid, strict=True):
            found = channels.nonzero()[0].tolist()
            self.add(message, [one for one in found if one in self._left], is_told=is_told)

    def add(self, message: Message, channels: Sequence[int], *, is_told: bool = False) -> None:
        """Note channels with an unusable value, and tell the message if one is new."""
        new = self._left.intersection(channels)
        if not new:
            return
        self._left -= new
        if is_told or not self._lines:
            return
        self._lines -= 1
        topic, payload = message[0], message[1]
        log.info(
            "%s: first value that cannot be used: %s; %s",
            self._name, self._explanations.of("held_value", topic, payload),
            example_of(topic, payload),
            extra=event("value_unusable", pipeline=self._name, topic=topic[:SHOWN_CHARACTERS]),
        )  # fmt: skip
