"""Signals of one stream without a good value: since which sample each of them is held.

Samples are named by their number in the ring. A filled sample has no good value of any signal. So
it continues what was held before it, and nothing else does.
"""

import numpy as np
import numpy.typing as npt

from edgeai.streams.conditioning import Flags
from edgeai.streams.settings import Floats

NOT_HELD = 1 << 62


class HeldSignals:
    """Since when each of the model's channels is held, up to the last sample with such a one."""

    __slots__ = ("_since", "noted")

    def __init__(self, signals: int) -> None:
        """Start with no channel held.

        Args:
            signals: Channels of the model.
        """
        self._since: npt.NDArray[np.int64] = np.full(signals, NOT_HELD, np.int64)
        """(C,) number of the first sample without a good value up to now; NOT_HELD: it has one."""
        self.noted = 0
        """Number of the sample after the last one that was looked at. Samples after it have good
        values only, unless they were filled."""

    @property
    def first(self) -> int:
        """The number since which any channel is held; NOT_HELD: none is."""
        return int(self._since.min())

    def since(self, number: int) -> list[int]:
        """Return the channels that are held since this number or before."""
        return [int(index) for index in np.flatnonzero(self._since <= number)]

    def note(self, number: int, invalid: Flags, *, is_continued: bool) -> None:
        """Note a sample.

        Args:
            number: Its number.
            invalid: (C,) which of its values cannot be used.
            is_continued: Whether all samples since the last noted one were filled.
        """
        if not is_continued:
            self._since[:] = NOT_HELD
        self._since[~invalid] = NOT_HELD
        np.minimum(self._since, number, out=self._since, where=invalid)
        self.noted = number + 1

    def take_back(self, first: int, count: int) -> None:
        """Move the samples from a number on, as `count` filled ones before them are taken back."""
        self._since[(self._since >= first) & (self._since != NOT_HELD)] -= count
        if self.noted > first:
            self.noted -= count

    def replace(self, number: int, row: Floats) -> None:
        """Note the values (C,) of a late sample that takes the place of a filled one."""
        ends: Flags = (self._since <= number) & ~np.isnan(row)
        self._since[ends] = number + 1

    def copy(self) -> "HeldSignals":
        """Return a copy."""
        copied = HeldSignals(len(self._since))
        copied._since[:] = self._since
        copied.noted = self.noted
        return copied
