"""The windows that wait for one session call, of any streams of a pipeline, side by side."""

import math
import mmap
from collections.abc import Callable

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from edgeai.alarms.alarm import AlarmRule
from edgeai.config.limits import Limits
from edgeai.engine.stream_state import StreamState
from edgeai.messages import NotJudged
from edgeai.model.manifest import Manifest
from edgeai.providers.session import Session, batch_capacity, padded_capacity
from edgeai.streams.joined import JoinedStream
from edgeai.streams.settings import Floats
from edgeai.streams.side import Mark


class WindowNote(msgspec.Struct, gc=False):
    """What is known of a window beside its samples, where a pipeline declares such things."""

    state: str | UnsetType = UNSET
    """The operating state, as in the prediction."""
    not_judged: NotJudged | UnsetType = UNSET
    """Why its score changes no alarm; UNSET: it does."""
    rule: AlarmRule | None = None
    """By which it is judged; None: the pipeline's."""
    is_declared: bool = False
    """Whether the machine was in a declared state at its end."""
    missing_ns: int | None = None
    """Since when the machine was in none; None: it was in one, or none are declared."""


DueWindow = tuple[StreamState, int, int, bool, int, WindowNote | None]
"""A window in a batch: its stream, the time of its last sample (nanoseconds since 1970, UTC), how
many of its values were substituted, whether it is uncertain, 0, or, if its stream was interrupted
before it, 1 more than the clock of its sender was set back so far, and its note, if it has one."""


class Batch:
    """The windows that wait for one session call: (B, *window), allocated once.

    The buffer is a memory mapping of its own, so a page takes memory only once a window reaches it;
    on a quiet line most never do.
    """

    def __init__(self, capacity: int, window: tuple[int, ...], dtype: str = "float32") -> None:
        """Allocate the buffer.

        Args:
            capacity: Windows in one session call, at most.
            window: Shape of one window, (W, C) for a series of samples; with its context, that
                of a row (`edgeai.model.rows`).
            dtype: Type of its values, by its name in numpy.
        """
        self.capacity = capacity
        shape = (padded_capacity(capacity), *window)
        memory = mmap.mmap(-1, math.prod(shape) * np.dtype(dtype).itemsize)
        self.values = np.frombuffer(memory, dtype).reshape(shape)
        self._memory = memoryview(memory)
        self._slots: list[tuple[Floats, memoryview]] = []
        """The first rows of `values` with their bytes, for `place`; made when first needed."""
        self.marks: dict[tuple[StreamState, int], dict[int, Mark]] = {}
        """What is wrong with signals of windows of several sources, by stream and time: place in a
        sample, and the mark."""
        self.windows: list[DueWindow] = []
        """In the order of `values`."""
        self.when_full: Callable[[], None] = _no_engine
        """Computes what the batch holds and empties it: `Engine._infer_and_judge`, wired by the
        engine."""

    def place(self, block: memoryview) -> Floats:
        """Copy the bytes of a window to where the next one goes, and return it there as an array.

        Give the result to `add`. If it is not added, fill it with zeros: the next window takes the
        same place. Copying bytes avoids making an array of them, which costs more than the copy
        itself with cold caches.
        """
        index = len(self.windows)
        while len(self._slots) <= index:
            window = self.values[len(self._slots)]
            begin = len(self._slots) * window.nbytes
            self._slots.append((window, self._memory[begin : begin + window.nbytes]))
        window, target = self._slots[index]
        target[:] = block
        return window

    def add(  # noqa: PLR0917  called for each window
        self,
        state: StreamState,
        window: Floats,
        time_ns: int,
        substituted: int,
        uncertain: bool,
        note: WindowNote | None = None,
    ) -> None:
        """Copy a window in, unless `place` has done so. A full batch is emptied at once."""
        windows = self.windows
        index = len(windows)
        if index >= len(self._slots) or window is not self._slots[index][0]:
            self.values[index] = window
        ring = state.stream.ring
        interrupted = 0
        if ring.broken:
            interrupted = 1 + state.stream.set_backs.count
            ring.broken = False
        windows.append((state, time_ns, substituted, uncertain, interrupted, note))
        if index + 1 == self.capacity:
            self.when_full()

    def add_signals(
        self, state: StreamState, window: Floats, time_ns: int, substituted: int, uncertain: bool
    ) -> None:
        """Copy a window in without its extra channels, which the model does not have."""
        self.add(state, window[:, : self.values.shape[2]], time_ns, substituted, uncertain)

    def add_joined(  # noqa: PLR0917  called for each window
        self,
        state: StreamState,
        window: Floats,
        time_ns: int,
        substituted: int,
        uncertain: bool,
        note: WindowNote | None = None,
    ) -> None:
        """Copy a window of several sources in, with its context and its marks."""
        stream = state.stream
        assert isinstance(stream, JoinedStream)
        if not self.windows:
            self.marks = {}
        if stream.marks:
            self.marks[state, time_ns] = stream.marks
        window = window[:, : stream.signals]
        if len(stream.context):
            window = np.concatenate([window.reshape(-1), stream.context])
        self.add(state, window, time_ns, substituted, uncertain, note)

    def recover(self, state: StreamState) -> int | None:
        """Empty a stream after an exception in its middle; the windows in the batch stay.

        Returns:
            Time of the last sample of the stream's last window; None if it never had one.
        """
        self.values[len(self.windows)] = 0  # `place` may have copied half a window there
        after_ns = state.time_ns
        for window in reversed((state.lane or self).windows):
            if window[0] is state:
                after_ns = window[1]
                break
        again = state.failed_at_ns == after_ns
        state.failed_at_ns = after_ns
        state.stream.ring.emit = state.add_window  # it may have been set for a while
        state.stream.recover(after_ns, everything=again)
        return after_ns

    def take(self) -> list[DueWindow]:
        """Return the windows and empty the batch; `values` stays as it is."""
        windows, self.windows = self.windows, []
        return windows


def bind_batch(limits: Limits, manifest: Manifest, session: Session) -> Batch:
    """Return a batch whose windows a session computes where they lie.

    Args:
        limits: The node's.
        manifest: The model's.
        session: The model's.
    """
    capacity = batch_capacity(limits.batch_windows, manifest.input_bytes, session.batch_bytes)
    batch = Batch(capacity, manifest.row_shape, manifest.input_dtype)
    session.bind(batch.values)
    return batch


def _no_engine() -> None:
    msg = "the pipeline has no engine"
    raise RuntimeError(msg)
