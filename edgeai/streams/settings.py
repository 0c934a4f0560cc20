"""What the streams of a pipeline share: their settings, and the types of samples and windows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeai.streams.grid_values import AlignSettings

Floats = npt.NDArray[np.float32]

Emit = Callable[[npt.NDArray[Any], int, int, bool], None]
"""Takes a window, the time of its last sample in nanoseconds, how many of its values were
substituted, and whether it is uncertain: a value is outside its valid range, or the sample rate is
not the model's. The window is one input of the model without the batch axis, and is valid during
the call only. `Ring` emits (W, C) float32; other sources of windows may emit another shape."""

Times = Sequence[int] | npt.NDArray[np.int64]
"""(n,) nanoseconds since 1970, UTC."""

NEVER_NS = -(1 << 62)
"""Stands for the time of a sample where there is none: every time is much later."""


@dataclass(frozen=True)
class StreamSettings:
    """Settings that all streams of a pipeline share. Times in nanoseconds."""

    length: int
    """Samples in a window, W."""
    hop: int
    """Samples from the start of a window to the start of the next."""
    channels: int
    """Values in a sample, C; the model's and the extra ones."""
    period_ns: int | None
    """The model's sample period; None if samples are events without a rate."""
    max_gap_ns: int | None
    """A longer step between two samples empties the window; None: no step does."""
    lateness_ns: int
    """How long to wait for samples that arrive out of order."""
    invalid: Literal["hold", "drop"]
    """Replace an unusable value by the last good value, or drop the sample."""
    align: AlignSettings | None = None
    """How to align samples to the model's grid; None: windows are made of the samples as sent."""
    missing: Literal["hold", "linear", "mark"] = "mark"
    """What stands for samples that are missing by the rate: the last values, values on the line to
    the next sample, or nothing, and the window is uncertain."""
    clock_back_ns: int = 10_000_000_000
    """How long late samples must keep pace with their arrival until the sender's clock counts as
    set back."""
    intervals_ns: tuple[int | None, ...] | None = None
    """(C,) time from one value of a channel to the next, as declared; 0: values come when they
    change; None: it is learnt. For an alignment only."""
    resolution_ns: int | None = None
    """Step of a clock of rows that is coarser than the sample period, as declared; None: it is
    recognized."""
    frame_resolution_ns: int | None = None
    """The same for blocks."""
    frame_jitter_ns: int | None = None
    """How far the start of a block may be from where the block before ended, and still continue it;
    None: one sample period of the block."""
    seen_frames: int = 0
    """Frames of a stream that are remembered, where samples come in frames."""
    extras: int = 0
    """How many of the channels, the last ones, are extra signals: only conditions look at them, the
    model does not have them. Their missing values stay NaN: they are not replaced, drop no sample,
    and mark no window."""
    keeps_samples: bool = False
    """Whether each sample must be in the ring when its window is emitted, because somebody looks at
    the samples themselves. It is so with extra channels."""

    @property
    def signals(self) -> int:
        """Values in a sample that the model takes: the first ones."""
        return self.channels - self.extras
