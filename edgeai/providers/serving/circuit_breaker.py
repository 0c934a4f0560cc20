"""Decide when an accelerator that failed may start again: a back-off and a circuit breaker."""

from collections import deque
from dataclasses import dataclass

from edgeai.backoff import Backoff


@dataclass(frozen=True)
class FailoverSettings:
    """What counts as a failure of an accelerator, and when it may start again."""

    deadline_seconds: float = 0.25
    """A call of at most the largest batch size that takes longer has failed."""
    known_answer_seconds: float = 60.0
    """Interval of the known-answer test; 0: no test while serving."""
    first_seconds: float = 1.0
    """Wait before the first restart; doubles with each failure within `within_seconds`."""
    max_seconds: float = 60.0
    """Longest wait before a restart."""
    failures: int = 5
    """This number of failures within `within_seconds` opens the breaker."""
    within_seconds: float = 300.0
    """Period in which failures are counted."""
    open_seconds: float = 600.0
    """Time the breaker stays open: the CPU serves and no restart is tried."""


class CircuitBreaker:
    """Count the failures of one accelerator and decide about the next restart."""

    def __init__(self, settings: FailoverSettings) -> None:
        self._settings = settings
        self._backoff = Backoff(settings.first_seconds, settings.max_seconds)
        self._failures: deque[float] = deque(maxlen=settings.failures)
        self._on_probation = False
        """True after the breaker was open: then the next failure opens it again."""

    def record_failure(self, now: float, served_since: float | None) -> float | None:
        """Record a failure and return the seconds until the next restart.

        Return None if the breaker opens. The restart after that is on probation, which ends once
        the accelerator has served for longer than `within_seconds`.

        Args:
            now: Seconds, monotonic.
            served_since: When the accelerator began to serve; None: it was not serving.
        """
        settings = self._settings
        if served_since is not None and now - served_since > settings.within_seconds:
            self._on_probation = False
        self._failures.append(now)
        recent = sum(now - one <= settings.within_seconds for one in self._failures)
        if self._on_probation or recent >= settings.failures:
            self._failures.clear()
            self._on_probation = True
            return None
        return self._backoff.wait_seconds(recent)
