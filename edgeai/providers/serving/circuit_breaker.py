"""When an accelerator that has failed is tried again: a wait that doubles, and a breaker."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class GuardSettings:
    """When an accelerator has failed, and when it may try again."""

    deadline_seconds: float = 0.25
    """A call of at most the largest batch size that takes longer is a failure."""
    known_answer_seconds: float = 60.0
    """The golden windows are computed again after so long; 0: never."""
    first_seconds: float = 1.0
    """Until the first restart; doubles with each failure within the breaker's period."""
    max_seconds: float = 60.0
    failures: int = 5
    """So many within `within_seconds` open the breaker."""
    within_seconds: float = 300.0
    open_seconds: float = 600.0
    """How long the breaker stays open: the CPU serves, nothing is tried."""


class Restarts:
    """The failures of one accelerator, and what follows from them."""

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._failures: deque[float] = deque(maxlen=settings.failures)
        self._on_probation = False
        """Whether the breaker was open: then one more failure opens it again."""

    def wait_after(self, now: float, served_since: float | None) -> float | None:
        """Note a failure; return the seconds until the next attempt.

        None: too often. The breaker is open, and what is tried after it is on probation.

        Args:
            now: Seconds, monotonic.
            served_since: When it was admitted; None: it was not in service.
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
        return min(settings.first_seconds * 2.0 ** (recent - 1), settings.max_seconds)
