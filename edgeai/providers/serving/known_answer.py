"""The known-answer test: run the golden windows on an accelerator and compare the outputs.

Run before an accelerator serves, and at intervals while it serves.
"""

import numpy as np
import numpy.typing as npt

from edgeai.model.golden import Golden
from edgeai.providers.serving.accelerator import Accelerator

Floats = npt.NDArray[np.float32]

MAX_TEST_WINDOWS = 32  # in one call, so that a turn never waits long for the test


class KnownAnswerTest:
    """The golden windows, run in several calls; the outputs are compared at the end."""

    def __init__(self, golden: Golden, outputs: list[str]) -> None:
        self._golden = golden
        self._outputs = outputs
        self._parts: list[list[Floats]] = []
        self._sent = 0
        self.is_running = False

    @property
    def is_complete(self) -> bool:
        """Whether all windows were sent; with no call in progress all outputs are there."""
        return self._sent == len(self._golden.windows)

    def begin(self, accelerator: Accelerator) -> None:
        """Begin the test with its first call."""
        self.reset()
        self.is_running = True
        self.begin_next_call(accelerator)

    def begin_next_call(self, accelerator: Accelerator) -> None:
        """Send the next windows."""
        windows = self._golden.windows[self._sent :]
        count = min(len(windows), MAX_TEST_WINDOWS, accelerator.largest)
        self._sent += count
        accelerator.begin(windows, count)

    def add_outputs(self, outputs: list[Floats]) -> None:
        """Store the outputs of the last call."""
        self._parts.append(outputs)

    def conclude(self) -> str | None:
        """Compare all outputs with the golden ones; return the fault, or None if they match."""
        whole = [np.concatenate(parts) for parts in zip(*self._parts, strict=True)]
        fault = self._golden.compare(dict(zip(self._outputs, whole, strict=True))).fault
        self.reset()
        return None if fault is None else str(fault)

    def reset(self) -> None:
        """Discard the outputs and end the test."""
        self._parts = []
        self._sent = 0
        self.is_running = False
