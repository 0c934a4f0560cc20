"""What the streams of a pipeline share about cycles, and what is known of one cycle."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from edgeai.streams.conditioning import Flags
from edgeai.streams.settings import Floats

Outcome = Literal[
    "complete", "broken", "overlong", "too_short", "overlapping", "start_unseen", "unfinished"
]
"""What became of a cycle. `complete`: nothing is amiss. `broken`: a gap is in it, or the clock was
set back in it, or samples of it are missing otherwise. `overlong`: it did not end within
`max_seconds`, or has too many samples. `too_short`: it ended before `min_seconds`. `overlapping`:
the next one started before it ended. `start_unseen`: an end came before any start was seen.
`unfinished`: the input ended in it."""

OUTCOMES: tuple[Outcome, ...] = (
    "complete", "broken", "overlong", "too_short", "overlapping", "start_unseen", "unfinished",
)  # fmt: skip


LARGEST_NUMBER = 2.0**24
"""From here on float32 does not hold every whole number."""


class Edges(Protocol):
    """Finds in the samples of one stream where cycles start and end."""

    def find(self, rows: Floats) -> tuple[Flags, Flags | None]:
        """Return at which samples a cycle starts, (n,), and at which one ends, (n,).

        Args:
            rows: (n, C) the next samples, all channels, in the order of time.

        Returns:
            Starts and ends; ends is None if there is no condition for it.
        """

    def copy(self) -> Self:
        """Return edges that go on from here on their own."""


@dataclass(frozen=True)
class CycleSettings:
    """How the samples of a stream are cut into cycles. Times in nanoseconds."""

    length: int
    """Samples of the model's window, W."""
    channels: int
    """Signals of the model; a sample has these first, and then those that conditions need."""
    new_edges: Callable[[], Edges] | None
    """Makes the edges of a stream; None: each message is a cycle."""
    has_end: bool
    """Whether there is a condition for the end; if not, the next start is the end."""
    min_ns: int
    """A shorter cycle is `too_short`."""
    max_ns: int
    """A longer cycle is `overlong`."""
    max_samples: int
    """So is a cycle of more samples."""
    fit: Literal["resample", "pad"]
    """A key of `fitting.FITS`."""
    keeps_unusual: bool = False
    """Whether a cycle that is not complete is a window too, which is uncertain."""
    bounce_ns: int = 0
    """An end that is followed by a start within this time is none; so is a start that follows one
    within this time."""
    pre_ns: int = 0
    """The window also holds the samples of this time before the start."""
    post_ns: int = 0
    """And of this time after the end."""
    number: int | None = None
    """Channel of the cycle's number; None: cycles are counted."""
    has_length_channel: bool = False
    """Whether the window has one channel more: 1 in the samples of the cycle, 0 in the padding."""

    @property
    def reach(self) -> int:
        """Samples that must be kept to make a window of the longest cycle."""
        around_ns = self.pre_ns + self.post_ns + self.bounce_ns
        return self.max_samples + 2 + -(-self.max_samples * around_ns // max(1, self.max_ns))

    @property
    def window_shape(self) -> tuple[int, int]:
        """Shape of the model's window."""
        return self.length, self.channels + self.has_length_channel


class Cycle(NamedTuple):
    """One cycle."""

    number: int | None
    """As its signal says, or counted; None if the signal had no whole number."""
    start_ns: int
    """Time of its first sample."""
    end_ns: int
    """Time of the first sample after it."""
    outcome: Outcome
    samples: int
    """Of the cycle itself, without those before and after it."""

    @property
    def duration_ns(self) -> int:
        """From its first sample to the first one after it."""
        return self.end_ns - self.start_ns


Times = npt.NDArray[np.int64]
