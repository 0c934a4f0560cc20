"""What waits for one session call: windows of any streams of a pipeline, side by side."""

import math
import mmap
from collections.abc import Callable

import numpy as np

from edgeai.engine.stream_state import StreamState
from edgeai.providers.session import padded_capacity
from edgeai.streams.ring import Floats

Window = tuple[StreamState, int, int, bool, bool]
"""A window in a batch: its stream, the time of its last sample (nanoseconds since 1970, UTC), how
many of its values were not measured, whether it is doubtful, and whether its stream was interrupted
before it."""


class Batch:
    """Windows waiting for one session call. (B, W, C) float32, allocated once.

    A mapping of its own: its pages become memory when windows first reach so far, which on a quiet
    line is never. Memory from the heap is zeroed, and so taken, at once where it was used before.
    """

    def __init__(self, capacity: int, length: int, channels: int) -> None:
        self.capacity = capacity
        shape = (padded_capacity(capacity), length, channels)
        memory = mmap.mmap(-1, math.prod(shape) * np.dtype(np.float32).itemsize)
        self.values = np.frombuffer(memory, np.float32).reshape(shape)
        self._memory = memoryview(memory)
        self._slots: list[tuple[Floats, memoryview]] = []
        """Places for windows that are copied in as bytes, made as they are needed: (W, C) each, and
        its bytes."""
        self.windows: list[Window] = []
        """In the order of `values`."""
        self.when_full: Callable[[], None] = _nobody
        """The engine's; it takes all windows out."""

    def place(self, block: memoryview) -> Floats:
        """Copy the bytes of a window to where the next one goes; return it there, (W, C).

        To be given to `add`, or to nobody: then the next window takes its place, and it is to be
        zeroed before. The bytes are copied without an array of them, which costs a third with cold
        caches.
        """
        index = len(self.windows)
        while len(self._slots) <= index:
            window = self.values[len(self._slots)]
            begin = len(self._slots) * window.nbytes
            self._slots.append((window, self._memory[begin : begin + window.nbytes]))
        window, place = self._slots[index]
        place[:] = block
        return window

    def add(
        self, state: StreamState, window: Floats, time_ns: int, substituted: int, doubtful: bool
    ) -> None:
        """Copy a window in, unless `place` did. A full batch is served at once."""
        windows = self.windows
        index = len(windows)
        if index >= len(self._slots) or window is not self._slots[index][0]:
            self.values[index] = window
        stream = state.stream
        windows.append((state, time_ns, substituted, doubtful, stream.broken))
        stream.broken = False
        if index + 1 == self.capacity:
            self.when_full()

    def take(self) -> list[Window]:
        """Empty the batch, but for the values; return what was in it."""
        windows, self.windows = self.windows, []
        return windows


def _nobody() -> None:
    """Take the windows of a pipeline without an engine."""
    msg = "the pipeline has no engine"
    raise RuntimeError(msg)
