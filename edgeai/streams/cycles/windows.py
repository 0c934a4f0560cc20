"""The windows of one stream's cycles: each cycle is told once, and is a window at most once."""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from edgeai.streams.cycles.fitting import FITS, Samples
from edgeai.streams.cycles.settings import Cycle, CycleSettings
from edgeai.streams.settings import Floats

KNOWN_CYCLES = 64
"""Cycles that are remembered, so that none is a window twice."""
MAX_FACTS = 8192
"""Windows of a stream that may wait to be judged."""


class CycleWindow(NamedTuple):
    """What `Emit` takes."""

    window: Floats
    last_ns: int
    substituted: int
    uncertain: bool


class CycleWindows:
    """Makes the windows of one stream's cycles."""

    __slots__ = (
        "_fit", "_known", "_settings", "facts", "first_ns", "last", "on_cycle", "on_samples",
        "open_since_ns",
    )  # fmt: skip

    def __init__(self, settings: CycleSettings) -> None:
        self._settings = settings
        self._fit = FITS[settings.fit]
        self._known: OrderedDict[int, bool] = OrderedDict()
        """By the start of the last cycles, whether they were windows."""
        self.facts: dict[int, Cycle] = {}
        """The cycle of each window that is not judged yet, by the time of its last sample."""
        self.last: Cycle | None = None
        """The newest cycle that has ended, whatever became of it."""
        self.open_since_ns: int | None = None
        """When the open cycle started; None between cycles."""
        self.on_cycle: Callable[[Cycle], None] = _ignore
        """Called with each cycle that has ended, before its window is judged."""
        self.first_ns = 0
        """Time of the first sample of the last window."""
        self.on_samples: Callable[[int], object] = _ignore
        """Called with the time up to which samples are in no window to come, or at its begin."""

    @property
    def has_emitted(self) -> bool:
        """Whether a window was made."""
        return any(self._known.values())

    def forget(self) -> None:
        """Forget the cycles before: their times are others now."""
        self._known.clear()

    def make(self, cycle: Cycle, samples: Samples) -> CycleWindow | None:
        """Tell a cycle that has ended, and return its window.

        Args:
            cycle: The cycle.
            samples: Its samples, with those before and after it; n may be 0.

        Returns:
            None if it is no window: it is not complete, or it was one before.
        """
        if self._known.get(cycle.start_ns, False):
            return None
        is_complete = cycle.outcome == "complete"
        is_wanted = is_complete or (self._settings.keeps_unusual and cycle.samples > 0)
        is_window = is_wanted and len(samples.times) > 0
        self._known[cycle.start_ns] = is_window
        if len(self._known) > KNOWN_CYCLES:
            self._known.popitem(last=False)
        self.last = cycle
        self.on_cycle(cycle)
        if not is_window:
            return None
        window, substituted, filled = self._fit(samples, self._settings.length)
        if self._settings.has_length_channel:
            inside = np.arange(self._settings.length) < filled
            window = np.column_stack((window, inside.astype(np.float32)))
        self.first_ns, last_ns = int(samples.times[0]), int(samples.times[-1])
        if len(self.facts) >= MAX_FACTS:
            del self.facts[next(iter(self.facts))]  # its window was dropped before it was judged
        self.facts[last_ns] = cycle
        is_marked = samples.uncertain is not None and bool(samples.uncertain.any())
        return CycleWindow(window, last_ns, substituted, is_marked or not is_complete)


def joined(parts: list[Samples]) -> Samples:
    """Return the samples of several parts of a cycle as one.

    Those beside a gap count as substituted, so that what lies in the gap does.
    """
    rows = np.concatenate([part.rows for part in parts])
    counts = []
    for index, part in enumerate(parts):
        count = np.zeros(len(part.times), np.int32)
        if part.substituted is not None:
            count[:] = part.substituted
        if index:
            count[0] = rows.shape[1]
        if index < len(parts) - 1:
            count[-1] = rows.shape[1]
        counts.append(count)
    return Samples(
        np.concatenate([part.times for part in parts]), rows, np.concatenate(counts), None
    )


def _ignore(_one: object) -> None:
    """Do nothing: nobody counts cycles, or looks at samples."""
