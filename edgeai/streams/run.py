"""Samples on their way to the ring: one, or a block at one rate."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgeai.streams.conditioning import Flags
from edgeai.streams.settings import Floats, Times


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


@dataclass(slots=True)
class Run:
    """Samples that arrived together and whose times rise: one sample, or a block."""

    times: Times
    """(n,) nanoseconds."""
    rows: Floats
    """(n, C), NaN for each value that cannot be used."""
    uncertain: Flags | None
    """(n,) whether a value is outside its valid range; None: all False."""
    arrived_ns: int
    period_ns: float
    """From one sample to the next: the block's, or the model's; 0: unknown."""
    is_block: bool = False
    is_clean: bool = False
    """Whether no value is NaN, so that nobody has to look."""
    is_timed: bool = True
    """Whether its times come from the message, and not from its arrival."""
    sequence: int | None = None
    """The sender's number of a block."""
    follows: bool = False
    """Whether the sequence number says that it follows the block before it."""
    steps: int | None = None
    """How many blocks it is after the newest one by its sequence number, below 0: before it; None:
    the number does not say it."""
    is_placed: bool = False
    """Whether the sequence number gave its time: then it is not moved."""
    skipped: int = 0
    """Samples that the block had before these."""
    is_torn: bool = False
    """Whether samples before it may be missing, which nothing stands for."""
    place_ns: int | None = None
    """About where it was, if it was taken before and its time is the stamp of a coarse clock."""
    is_used: bool = False
    """Whether the windows that end in it were emitted already."""
    is_doubtful: bool = False
    """Whether its clock seems to have been set ahead, or its time is wrong as that of others."""

    @property
    def first_ns(self) -> int:
        """Time of the first sample."""
        return int(self.times[0])

    @property
    def last_ns(self) -> int:
        """Time of the last sample."""
        return int(self.times[-1])

    def mark(self) -> None:
        """Mark the first sample as uncertain."""
        flags = np.zeros(len(self.times), np.bool_)
        if self.uncertain is not None:
            flags |= self.uncertain
        flags[0] = True
        self.uncertain = flags

    def mark_all(self) -> None:
        """Mark all samples as uncertain."""
        self.uncertain = np.ones(len(self.times), np.bool_)

    def skip(self, count: int) -> None:
        """Leave out the first samples."""
        self.times = self.times[count:]
        self.rows = self.rows[count:]
        self.uncertain = None if self.uncertain is None else self.uncertain[count:]
        self.skipped += count

    def spread(self, last_ns: int, moved_ns: float) -> None:
        """Set the times from one period after `last_ns` on, by the period.

        Args:
            last_ns: Time of the sample before.
            moved_ns: How much later than by the period the last sample is; the samples share it.
        """
        count = len(self.times)
        first_ns = max(last_ns + 1, round(last_ns + self.period_ns + moved_ns / count))
        self.times = block_times(first_ns, self.period_ns + moved_ns / count, count)

    def copy(self) -> "Run":
        """Return a run whose rows are its own memory."""
        return replace(self, rows=self.rows.copy())

    def is_same(self, other: "Run") -> bool:
        """Return whether these are the samples of another run, sent again."""
        is_same_time = self.first_ns == other.first_ns and len(self.times) == len(other.times)
        return is_same_time and self.rows.tobytes() == other.rows.tobytes()


class Newest(Protocol):
    """The newest sample that was taken."""

    last_ns: int
    """Its time; NEVER_NS: there is none."""
    arrived_ns: int
    """When it arrived."""


def equals(row: Floats, seen: Floats) -> bool:
    """Return whether the usable values (C,) of a sample are those of a sample that was taken."""
    return bool((np.isnan(row) | (row == seen)).all())
