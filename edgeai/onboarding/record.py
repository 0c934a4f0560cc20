"""Store what arrives at the broker as a recording: `edgeai record`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from edgeai.onboarding.subscriber import Subscriber
from edgeai.recordings.writer import RecordingWriter

REPORT_SECONDS = 10.0


@dataclass(frozen=True)
class RecordSummary:
    """What was recorded."""

    messages: int
    total_bytes: int
    left_segments: int


def record(
    subscriber: Subscriber,
    writer: RecordingWriter,
    *,
    seconds: float | None,
    is_stopped: Callable[[], bool],
    tell: Callable[[str], None],
) -> RecordSummary:
    """Write the messages of a subscriber until it is stopped or the time is over.

    A message is acknowledged after it is written, so at QoS 1 none is lost by the end of edgeai.

    Args:
        subscriber: Receives messages.
        writer: Writes them.
        seconds: How long to record; None: until it is stopped.
        is_stopped: Returns whether to stop.
        tell: Called now and then with what was recorded so far.

    Raises:
        ConfigError: The recording cannot be written.
    """
    started = time.monotonic()
    next_report = started + REPORT_SECONDS
    told = 0
    try:
        while not is_stopped() and (seconds is None or time.monotonic() - started < seconds):
            messages = subscriber.receive()
            writer.write(messages)
            subscriber.commit()
            if time.monotonic() >= next_report:
                next_report += REPORT_SECONDS
                if writer.messages != told:
                    tell(described(summary_of(writer)))
                told = writer.messages
    finally:
        writer.close()
        subscriber.close()
    return summary_of(writer)


def summary_of(writer: RecordingWriter) -> RecordSummary:
    """Return what a writer has written so far."""
    return RecordSummary(writer.messages, writer.total_bytes, writer.left_segments)


def described(summary: RecordSummary) -> str:
    """Return a summary as text."""
    left = (
        f"; {summary.left_segments} oldest file(s) removed by the bounds"
        if summary.left_segments
        else ""
    )
    return f"{summary.messages:,} messages, {summary.total_bytes / 1e6:,.2f} MB kept{left}"
