"""The interface of an accelerator, in a child process or in this one, and its error."""

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edgeai.providers.child.spec import Facts

Floats = npt.NDArray[np.float32]
Cause = Literal[
    "crashed", "deadline", "exception", "wrong_shape", "start_failed", "start_timeout",
    "out_of_memory", "protocol",
]  # fmt: skip


class AcceleratorError(Exception):
    """An accelerator failed; `cause` is one of a closed set, the label of a metric."""

    def __init__(self, cause: Cause, text: str) -> None:
        self.cause: Cause = cause
        self.text = text
        super().__init__(f"{cause}: {text}" if text else cause)


class Accelerator(Protocol):
    """One model on one accelerator. After an AcceleratorError only `kill` and `close` may follow.

    Implemented by `ChildAccelerator` and `InProcessAccelerator`.
    """

    @property
    def largest(self) -> int:
        """Largest number of windows in one call."""

    @property
    def is_busy(self) -> bool:
        """Whether a call has begun and its outputs have not been read."""

    def start_nonblocking(self) -> None:
        """Begin to load the model."""

    def poll_ready(self) -> Facts | None:
        """Return what was loaded, or None while it still loads."""

    def run(self, windows: Floats, count: int, deadline_seconds: float) -> list[Floats]:
        """Return the outputs of the first `count` windows (B, W, C)."""

    def begin(self, windows: Floats, count: int) -> None:
        """Begin a call with at most `largest` windows."""

    def poll(self) -> list[Floats] | None:
        """Return the outputs of the call in progress, or None while it runs."""

    def finish(self, deadline_seconds: float) -> list[Floats]:
        """Wait for the outputs of the call in progress."""

    def check(self) -> None:
        """Raise AcceleratorError if it no longer runs or uses too much memory."""

    def kill(self) -> None:
        """End it without waiting."""

    def is_gone(self) -> bool:
        """Whether it has ended completely."""

    def close(self) -> bool:
        """End it and wait; return False if it still exists afterwards."""
