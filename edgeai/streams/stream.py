"""One stream: what all kinds of streams share.

A stream is the signals of one asset in one pipeline. It puts samples in order, detects gaps,
replaces or drops unusable values, and passes the samples to its ring, which emits the windows.
There are two kinds: `OrderedStream` makes windows of the samples as they were sent, `AlignedStream`
of samples on the model's grid. `open_stream` in `factory` chooses the kind.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgeai.streams.conditioning import Flags
from edgeai.streams.ring import Emit, Floats, Ring, StreamSettings, Times

RESYNC_SAMPLES = 16
"""Late samples in a row after which the sender's clock is considered set back."""


@lru_cache(maxsize=64)
def _block_offsets(count: int, period_ns: float) -> npt.NDArray[np.int64]:
    """Return the times of a block's samples after its first, (n,) nanoseconds; read-only."""
    offsets: npt.NDArray[np.int64] = np.rint(np.arange(count) * period_ns).astype(np.int64)
    offsets.flags.writeable = False
    return offsets


def block_times(t0_ns: int, period_ns: float, count: int) -> Times:
    """Return the times of a block's samples, (n,) nanoseconds."""
    whole = int(period_ns)
    if whole == period_ns:  # the most frequent case: a range computes only the times that are read
        return range(t0_ns, t0_ns + count * whole, whole)
    return t0_ns + _block_offsets(count, period_ns)


class Stream(ABC):
    """The state of one stream.

    `push_rows` takes any samples. `push_one`, `push_few` and `push_window` are faster, but take
    only samples that need no further work; they return False for all others, and the caller then
    uses `push_rows` or `push_block`.

    Each sample that does not reach the ring is counted in `drops`, and each emptied window in
    `resets`. All streams of a pipeline share these counters.
    """

    __slots__ = ("_late_in_a_row", "_settings", "broken", "drops", "resets", "ring")

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        emit: Emit,
    ) -> None:
        self.drops = drops
        self.resets = resets
        self.ring = Ring(settings, emit)
        self.broken = False
        """Set when the window is emptied; cleared by the engine with the next window."""
        self._settings = settings
        self._late_in_a_row = 0

    @property
    @abstractmethod
    def newest_ns(self) -> int | None:
        """The newest time of a sample that was taken; None before the first."""

    @abstractmethod
    def has_passed(self, time_ns: int) -> bool:
        """Return whether a sample of this time would be late or a duplicate."""

    @abstractmethod
    def waiting_for(self) -> list[int]:
        """Return the channels that have not had a value yet; without them there is no window."""

    @abstractmethod
    def push_rows(
        self,
        times: list[int],
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
    ) -> None:
        """Take samples of all channels in the order of their arrival.

        Args:
            times: (n,) nanoseconds, in any order.
            rows: (n, C) float32, NaN for each value that cannot be used.
            invalid: (n, C), True for each value that cannot be used; None: all can be used.
            uncertain: (n,) whether a value is outside its valid range; None: all False.
        """

    @abstractmethod
    def push_one(self, time_ns: int, row: Sequence[float]) -> bool:
        """Take one sample of usable values inside their ranges; return whether it was taken.

        Args:
            time_ns: Its time.
            row: (C,) values in engineering units.
        """

    @abstractmethod
    def push_few(self, times: list[int], values: memoryview, begin: int, stop: int) -> bool:
        """Take samples of usable values inside their ranges; return whether they were taken.

        All of them are taken, or none.

        Args:
            times: (n,) nanoseconds, n = stop - begin.
            values: float32, rows of C values one after the other.
            begin: Index of the first row to take.
            stop: Index after the last row to take.
        """

    @abstractmethod
    def push_block(
        self,
        t0_ns: int,
        period_ns: float,
        rows: Floats,
        invalid: Flags | None,
        uncertain: Flags | None,
    ) -> None:
        """Take a block of samples at one rate.

        Args:
            t0_ns: Time of the first sample.
            period_ns: Time from one sample to the next; need not be whole.
            rows: (n, C) float32, NaN for each value that cannot be used.
            invalid: (n, C), True for each value that cannot be used; None: all can be used.
            uncertain: (n,) whether a value is outside its valid range; None: all False.
        """

    @abstractmethod
    def awaits_window_of(self, samples: int) -> bool:
        """Return whether `push_window` may take a block of this many samples."""

    @abstractmethod
    def push_window(self, t0_ns: int, period_ns: float, window: Floats, block: memoryview) -> bool:
        """Take a block that is one whole window, without a copy; return whether it was taken.

        To be called only if `awaits_window_of` its samples is True.

        Args:
            t0_ns: Time of the first sample.
            period_ns: Time from one sample to the next; need not be whole.
            window: (W, C) float32, usable values inside their ranges.
            block: The bytes of `window`.
        """

    @abstractmethod
    def push_tag(self, time_ns: int, channel: int, value: float, uncertain: bool) -> None:
        """Take one value of one channel.

        Args:
            time_ns: Its time.
            channel: Index of the channel.
            value: In engineering units; NaN if it cannot be used.
            uncertain: Whether it is outside its valid range.

        Raises:
            ValueError: If the stream is not aligned.
        """

    @abstractmethod
    def hold(self, channel: int, value: float, time_ns: int | None) -> bool:
        """Use a value of unknown age until the channel has a newer one. No window is due by it.

        Args:
            channel: Index of the channel.
            value: In engineering units, finite. It counts as uncertain.
            time_ns: Its time; None if it is not known.

        Returns:
            Whether it is used; False if the channel has this value, or a newer one.

        Raises:
            ValueError: If the stream is not aligned.
        """

    @abstractmethod
    def flush(self) -> None:
        """Release the samples that wait for late ones: the stream ends here."""

    def _is_gap(self, step_ns: int) -> bool:
        return self._settings.max_gap_ns is not None and step_ns > self._settings.max_gap_ns

    def _refuse(self, reason: str, resync_after: int) -> bool:
        """Count a late or duplicate sample as dropped.

        Return False, without counting, if the sender's clock was set back: the sample is valid.
        """
        self._late_in_a_row = self._late_in_a_row + 1 if reason == "late" else 0
        if self._late_in_a_row >= resync_after:
            return False
        self.drops[reason] += 1
        return True

    def _empty_window(self, reason: str) -> None:
        self.resets[reason] += 1
        self.ring.clear()
        self.broken = True
