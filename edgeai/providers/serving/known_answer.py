"""The known-answer test: the golden windows through an accelerator, while it serves or before."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgeai.model.golden import Golden
from edgeai.providers.child.spec import Facts

Floats = npt.NDArray[np.float32]

MAX_TEST_WINDOWS = 32
"""Of one call, so that a turn never waits long for one."""


class Served(Protocol):
    """An accelerator, as `channel.Accelerator` is one."""

    @property
    def largest(self) -> int:
        """The most windows of one call."""

    @property
    def is_busy(self) -> bool:
        """Whether a call was begun and its outputs were not taken yet."""

    def start_nonblocking(self) -> None:
        """Begin to load."""

    def poll_ready(self) -> Facts | None:
        """Return what was loaded, once it is."""

    def run(self, windows: Floats, count: int, deadline_seconds: float) -> list[Floats]:
        """Return the outputs of the first windows."""

    def begin(self, windows: Floats, count: int) -> None:
        """Begin a call of at most `largest` windows."""

    def poll(self) -> list[Floats] | None:
        """Return the outputs of the call that was begun, once they are there."""

    def finish(self, deadline_seconds: float) -> list[Floats]:
        """Wait for the outputs of the call that was begun."""

    def check(self) -> None:
        """Raise when it is no more."""

    def kill(self) -> None:
        """End it, without waiting."""

    def is_gone(self) -> bool:
        """Whether nothing is left of it."""

    def close(self) -> bool:
        """End it and wait; False: something is left."""


class KnownAnswer:
    """The golden windows on their way through an accelerator, a call at a time."""

    def __init__(self, golden: Golden, outputs: list[str]) -> None:
        self._golden = golden
        self._outputs = outputs
        self._parts: list[list[Floats]] = []
        self._sent = 0
        self.is_running = False

    @property
    def is_complete(self) -> bool:
        """Whether the outputs of all windows have come, when no call is under way."""
        return self._sent == len(self._golden.windows)

    def begin(self, accelerator: Served) -> None:
        """Send the first windows."""
        self.drop()
        self.is_running = True
        self.go_on(accelerator)

    def go_on(self, accelerator: Served) -> None:
        """Send the next windows."""
        windows = self._golden.windows[self._sent :]
        count = min(len(windows), MAX_TEST_WINDOWS, accelerator.largest)
        self._sent += count
        accelerator.begin(windows, count)

    def take(self, outputs: list[Floats]) -> None:
        """Keep the outputs of the windows that were sent."""
        self._parts.append(outputs)

    def judge(self) -> str | None:
        """Compare what has come with what should have; None when it is right."""
        whole = [np.concatenate(parts) for parts in zip(*self._parts, strict=True)]
        fault = self._golden.compare(dict(zip(self._outputs, whole, strict=True))).fault
        self.drop()
        return None if fault is None else str(fault)

    def drop(self) -> None:
        """Forget what has come."""
        self._parts = []
        self._sent = 0
        self.is_running = False
