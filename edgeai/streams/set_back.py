"""Clocks that were set back: which times of a stream were used already, and how often that was."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgeai.streams.settings import NEVER_NS

Sign = Literal["pace", "sequence"]
"""How a clock set back was known: late samples kept pace with their arrival, or the sequence number
of a frame says that it follows the one before it."""


@dataclass(frozen=True, slots=True)
class SetBack:
    """A sender's clock that was set back."""

    number: int
    """Of the stream, 1 for the first; windows of used times have it in their id."""
    from_ns: int
    """Time of the newest sample before it."""
    to_ns: int
    """Time of the first sample after it."""
    sign: Sign


class SetBacks:
    """How often the clock of one stream was set back, and the times used before each."""

    __slots__ = ("_unentered", "count", "on_set_back", "used_until_ns")

    def __init__(self) -> None:
        self.count = 0
        self.used_until_ns = NEVER_NS
        """The newest time that was used before the last one; NEVER_NS: there was none."""
        self._unentered: dict[int, int] = {}
        """`used_until_ns` by number, until a window after it is judged."""
        self.on_set_back: Callable[[SetBack], None] | None = None
        """Called with each; wired by the pipeline."""

    def note(self, from_ns: int, to_ns: int, sign: Sign) -> None:
        """Note that the clock was set back between two samples of these times."""
        self.count += 1
        self.used_until_ns = max(self.used_until_ns, from_ns)
        self._unentered[self.count] = self.used_until_ns
        if self.on_set_back is not None:
            self.on_set_back(SetBack(self.count, from_ns, to_ns, sign))

    def enter(self, count: int) -> int | None:
        """Return the times used before a set-back; None if its windows were entered already.

        Args:
            count: Set-backs before a window.
        """
        used_ns = self._unentered.pop(count, None)
        for older in [number for number in self._unentered if number < count]:
            del self._unentered[older]
        return used_ns

    def restore(self, count: int, used_until_ns: int) -> None:
        """Continue after a restart."""
        self.count, self.used_until_ns = count, used_until_ns
