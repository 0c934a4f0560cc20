"""Log lines of one subject, at most so many in a time: the rest is told by number.

A process event, such as an alarm or a new asset, is one line of the log. A thousand of them in a
second must not fill a disk.
"""

import logging
import time
from collections.abc import Callable, Mapping

from edgeai.log_events import event

log = logging.getLogger("edgeai.pipeline")


class LimitedLog:
    """Writes at most `lines` lines in `seconds`; `poll` tells how many were left out."""

    def __init__(
        self,
        who: str,
        subject: str,
        *,
        lines: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            who: Start of each line: the pipeline's name.
            subject: What the lines are about, in the plural, such as `alarm changes`.
            lines: Lines written in one period.
            seconds: Length of a period, which starts with its first line.
            clock: Returns seconds that never go back.
        """
        self._who, self._subject = who, subject
        self._max_lines, self._seconds = lines, seconds
        self._clock = clock
        self._period_end = 0.0
        self._written = self._left_out = 0

    def write(
        self,
        text: str,
        *values: object,
        extra: Mapping[str, object],
        level: int = logging.INFO,
        count: int = 1,
    ) -> None:
        """Write a line, unless the period has had its lines.

        Args:
            text: Format of the line, behind the pipeline's name.
            values: Values for the format.
            extra: The event, from `log_events.event`.
            level: Level of the line.
            count: Number of events that the line tells.
        """
        if self._clock() >= self._period_end:
            self.poll()
            self._period_end = self._clock() + self._seconds
            self._written = 0
        if self._written >= self._max_lines:
            self._left_out += count
            return
        self._written += 1
        log.log(level, "%s: " + text, self._who, *values, extra=extra)

    def poll(self, *, everything: bool = False) -> None:
        """Tell how many events were left out, at the end of a period.

        Args:
            everything: Whether to tell it before the period ends: the process stops.
        """
        if self._left_out and (everything or self._clock() >= self._period_end):
            left_out, self._left_out = self._left_out, 0
            log.info(
                "%s: %s more %s", self._who, f"{left_out:,}", self._subject,
                extra=event(
                    "lines_left_out",
                    pipeline=self._who, subject=self._subject, count=left_out,
                ),
            )  # fmt: skip
