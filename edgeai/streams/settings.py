"""What the streams of a pipeline share: settings, types of samples, and how sources join."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from edgeai.streams.grid_values import AlignSettings

if TYPE_CHECKING:
    from edgeai.streams.cycles.settings import CycleSettings

Floats = npt.NDArray[np.float32]

Emit = Callable[[npt.NDArray[Any], int, int, bool], None]
"""Takes a window, the time of its last sample in nanoseconds, how many of its values were
substituted, and whether it is uncertain: a value is outside its valid range, or the sample rate is
not the model's. The window is one input of the model without the batch axis, and is valid during
the call only. `Ring` emits (W, C) float32; other sources of windows may emit another shape."""

Times = Sequence[int] | npt.NDArray[np.int64]
"""(n,) nanoseconds since 1970, UTC."""

MAX_WAITING_WINDOWS = 256
"""Windows of a stream that wait for a source at most; the oldest then goes without it."""

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
    is_undated: bool = False
    """Whether samples come from a table, so that nobody knows when they arrived."""
    seen_frames: int = 0
    """Frames of a stream that are remembered, where samples come in frames."""
    extras: int = 0
    """How many of the channels, the last ones, are extra signals: only conditions look at them, the
    model does not have them. Their missing values stay NaN: they are not replaced, drop no sample,
    and mark no window."""
    keeps_samples: bool = False
    """Whether each sample must be in the ring when its window is emitted, because somebody looks at
    the samples themselves. It is so with extra channels."""
    joined: "JoinPlan | None" = None
    """The sources of which a window is made; None: there is one, with the model's samples."""

    cycle: "CycleSettings | None" = None
    """How samples are cut into cycles; None: windows slide. `length` is then the most samples that
    a window is made of, and `hop` is 1."""

    @property
    def window_channels(self) -> int:
        """Values in a sample of the model's window: one more if edgeai computes one."""
        return self.signals + (self.cycle is not None and self.cycle.has_length_channel)

    @property
    def signals(self) -> int:
        """Values in a sample that the model takes: the first ones."""
        return self.channels - self.extras


@dataclass(frozen=True)
class TrackRule:
    """How the values of a source come to the times of a window. Times in nanoseconds."""

    method: Literal["hold", "linear"]
    max_age_ns: int
    """An older value is substituted, and marked `old`."""
    lateness_ns: int
    """How long a window waits for the source."""


@dataclass(frozen=True)
class SourceSpec:
    """One source of a pipeline, as its streams need it."""

    settings: StreamSettings
    """Of the source: its channels and rate."""
    places: tuple[int, ...]
    """(k,) for each channel its place, rising: a channel of the model, or C + n for a signal that
    only conditions or the context use."""
    rule: TrackRule | None
    """How its values come to the times of the window; None: its samples are the model's."""
    is_tags: bool = False
    intervals_ns: tuple[int | None, ...] | None = None
    """(k,) or, for samples of all channels, (1,): time from one value to the next, as declared."""


@dataclass(frozen=True)
class ContextRule:
    """How one value of the context is held."""

    place: int
    """Where the value is among all that are joined: a channel of the model, or C + n, as in
    `SourceSpec.places`."""
    max_age_ns: int | None
    """An older value makes the window uncertain; None: a value holds until the next one."""
    low: float
    high: float
    """A value outside this range makes the window uncertain."""
    default: float | None
    """Stands for a value that never came, and makes the window uncertain; None: windows wait."""


@dataclass(frozen=True)
class JoinPlan:
    """How the sources of a pipeline are joined."""

    signals: int
    """Channels of the model, C."""
    sources: tuple[SourceSpec, ...]
    context: tuple[ContextRule, ...] = ()
    """(K,) how the values of the model's second input are held."""

    @property
    def leader(self) -> int | None:
        """Which source has the model's samples; None: none has."""
        return next((i for i, one in enumerate(self.sources) if one.rule is None), None)
