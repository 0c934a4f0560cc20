"""The wait before the next attempt, which doubles with each failure."""

import random
from dataclasses import dataclass

MAX_DOUBLINGS = 1000  # keeps the power finite


@dataclass(frozen=True)
class Backoff:
    """Exponential back-off with an upper limit and optional jitter."""

    first_seconds: float
    max_seconds: float
    jitter: float = 0.0
    """Largest relative change of a wait: 0.2 gives 80 to 120 % of it."""

    def wait_seconds(self, failures: int) -> float:
        """Return the wait after this number of consecutive failures, at least 1."""
        doublings = min(failures - 1, MAX_DOUBLINGS)
        return self._varied(min(self.first_seconds * 2.0**doublings, self.max_seconds))

    def longest_seconds(self) -> float:
        """Return the wait after many failures."""
        return self._varied(self.max_seconds)

    def _varied(self, seconds: float) -> float:
        if self.jitter:
            seconds *= random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311  not a secret
        return seconds
