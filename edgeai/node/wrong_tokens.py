"""A bound on how often one address may send a wrong token."""

import threading
import time
from collections.abc import Callable

WRONG_AT_ONCE = 20  # wrong tokens that an address may send without waiting, for typing errors
SECONDS_A_TOKEN = 5.0  # then one more in this time; a token of 16 characters has 10**28 forms
MAX_ADDRESSES = 256  # remembered; the one that was wrong least recently is forgotten first


class WrongTokens:
    """The wrong tokens of each address. Any thread may use it; none ever waits in it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without any.

        Args:
            clock: Returns seconds that never go back.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at: dict[str, float] = {}
        """When all wrong tokens of an address are forgotten; in the order of the last ones."""

    def wait_seconds(self, address: str) -> float:
        """Return how long an address must wait before a token of it is looked at; 0: not at all."""
        with self._lock:
            free_at = self._free_at.get(address, 0.0)
        used_seconds = free_at - self._clock()
        return max(0.0, used_seconds - (WRONG_AT_ONCE - 1) * SECONDS_A_TOKEN)

    def add(self, address: str) -> None:
        """Note a wrong token."""
        with self._lock:
            free_at = max(self._clock(), self._free_at.pop(address, 0.0))
            self._free_at[address] = free_at + SECONDS_A_TOKEN
            while len(self._free_at) > MAX_ADDRESSES:
                del self._free_at[next(iter(self._free_at))]
