"""Tell in the log what is refused: messages that hold no sample, and samples that no window takes.

Every refusal is counted. The first one of each reason is also told at once, with an example; later
ones are told with their number, at most once in `TELL_AGAIN_SECONDS`. So a user finds the cause in
the log, and nothing that is sent can flood it.
"""

import codecs
import logging
import time
from collections.abc import Callable, Mapping

from edgeai.errors import DROP_REASONS, listed
from edgeai.log_events import event
from edgeai.messages import properties_of

log = logging.getLogger("edgeai.refused")

TELL_AGAIN_SECONDS = 600.0
SHOWN_PAYLOAD_BYTES = 80
SHOWN_PROPERTIES = 6
SHOWN_CHARACTERS = 120  # of a topic or a key
HARMLESS = frozenset({"duplicate"})
"""Reasons that lose nothing: the broker sends again what it may have lost."""


Explain = Callable[[str, str, bytes | memoryview, int], str]


class Refusals:
    """What one pipeline, or the node, has refused and told."""

    def __init__(
        self,
        who: str,
        counts: Callable[[], Mapping[str, int]],
        clock: Callable[[], float] = time.monotonic,
        explain: Explain | None = None,
    ) -> None:
        """Prepare.

        Args:
            who: Start of each line: the pipeline's name.
            counts: Returns the number of refusals so far, by reason.
            clock: Returns seconds that never go back.
            explain: Returns what is wrong with a message, by reason, topic, payload and arrival;
                empty: nothing that the reason does not say.
        """
        self.explain = explain
        """As given."""
        self.explained: dict[str, str] = {}
        """What was wrong with the last message that was told, by reason."""
        self._who = who
        self._counts = counts
        self._clock = clock
        self.examples: dict[str, str] = {}
        """What is known of samples that were refused after their message was taken, by reason."""
        self._told: dict[str, tuple[float, int]] = {}
        """When to tell a reason again, and its count when it was told; by reason."""

    def tell(
        self, reason: str, topic: str, payload: bytes | memoryview, received_ns: int = 0
    ) -> None:
        """Tell a refusal that has been counted just now, unless its reason was told recently.

        Args:
            reason: A key of `DROP_REASONS`.
            topic: The message's.
            payload: The message's; its first bytes are shown.
            received_ns: Its arrival, nanoseconds since 1970; 0: not known.
        """
        if self.awaits(reason):
            count = self._counts().get(reason, 0)
            example = example_of(topic, payload)
            why = (
                self.explain(reason, topic, payload, received_ns)
                if self.explain is not None
                else ""
            )
            if why:
                self.explained[reason] = why
                example = f"{why}; {example}"
            self._write(reason, count, example, topic[:SHOWN_CHARACTERS])

    def awaits(self, reason: str) -> bool:
        """Return whether the next refusal of a reason is told with its message."""
        told = self._told.get(reason)
        return told is None or self._clock() >= told[0]

    def told(self, reason: str) -> None:
        """Note that what was counted so far of a reason has been told elsewhere."""
        self._told[reason] = self._clock() + TELL_AGAIN_SECONDS, self._counts().get(reason, 0)

    def poll(self, *, everything: bool = False) -> None:
        """Tell what was counted without a call of `tell`, and what is due to be told again.

        Args:
            everything: Whether to tell also what was told recently: the process stops.
        """
        for reason, count in self._counts().items():
            told = self._told.get(reason)
            if count > (told[1] if told else 0) and (
                told is None or everything or self._clock() >= told[0]
            ):
                self._write(reason, count, self.examples.get(reason, ""))
        self.examples.clear()

    def _write(self, reason: str, count: int, example: str, topic: str | None = None) -> None:
        _, before = self._told.get(reason, (0.0, 0))
        more = " more" if reason in self._told else ""
        self._told[reason] = self._clock() + TELL_AGAIN_SECONDS, count
        log.log(
            logging.INFO if reason in HARMLESS else logging.WARNING,
            "%s: refused %s%s, %s: %s%s",
            self._who,
            f"{max(1, count - before):,}",
            more,
            reason,
            DROP_REASONS.get(reason, reason.replace("_", " ")),
            f"; {example}" if example else "",
            extra=event(
                "message_refused",
                pipeline=self._who,
                reason=reason,
                topic=topic,
                count=max(1, count - before),
            ),
        )


def example_of(topic: str, payload: bytes | memoryview) -> str:
    """Return a message as the log shows it: topic, size, and the start of the payload."""
    properties = properties_of(payload)
    pairs = [printable(f"{name}={value}") for name, value in properties.items()]
    more = f", user properties {listed(pairs, SHOWN_PROPERTIES)}" if pairs else ""
    return f"topic {printable(topic)}{more}, {len(payload)} bytes: {shown_payload(payload)}"


def shown_payload(payload: bytes | memoryview) -> str:
    r"""Return the start of a payload in quotes; what cannot be printed is shown as \xNN."""
    start = bytes(payload[:SHOWN_PAYLOAD_BYTES])
    cut = len(payload) > len(start)
    # A character that the cut divides is left out, not shown as bytes.
    text = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode(start, final=not cut)
    return f"'{_escape(text)}'{'...' if cut else ''}"


def printable(text: str) -> str:
    """Return a topic or a key on one line, cut, with control characters escaped."""
    cut = "..." if len(text) > SHOWN_CHARACTERS else ""
    return _escape(text[:SHOWN_CHARACTERS]) + cut


def _escape(text: str) -> str:
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
