"""Which times of a stream were used already: its clock was set back, or had been ahead for a while.

A window whose time was used already has a number in its id: so an id never names two windows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgeai.streams.settings import NEVER_NS

Sign = Literal["pace", "sequence", "return"]
"""How a clock set back was known: late samples kept pace with their arrival; or the sequence number
of a frame says that it follows the one before it; or `return`: a few samples were ahead, and the
time has gone on where it was before them. Their windows had left, but the clock is as it was."""

Ranges = tuple[tuple[int, int], ...]
"""First and last time of some windows, oldest first."""

MAX_RANGES = 16


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

    __slots__ = ("_unentered", "count", "on_set_back", "used")

    def __init__(self) -> None:
        self.count = 0
        self.used: Ranges = ()
        """The times that were used before the last one."""
        self._unentered: dict[int, Ranges] = {}
        """`used` by number, until a window after it is judged."""
        self.on_set_back: Callable[[SetBack], None] | None = None
        """Called with each; wired by the pipeline."""

    @property
    def used_until_ns(self) -> int:
        """The newest time that was used before the last one; NEVER_NS: there was none."""
        return self.used[-1][1] if self.used else NEVER_NS

    def note(self, from_ns: int, to_ns: int, sign: Sign) -> None:
        """Note that the clock was set back between two samples of these times."""
        self._add(NEVER_NS, from_ns)
        self._tell(SetBack(self.count, from_ns, to_ns, sign))

    def note_used(self, first_ns: int, last_ns: int) -> None:
        """Note that windows of these times have left, and the time goes on before them."""
        self._add(first_ns, last_ns)
        self._tell(SetBack(self.count, last_ns, first_ns, "return"))

    def _add(self, first_ns: int, last_ns: int) -> None:
        self.count += 1
        found: list[tuple[int, int]] = []
        for first, last in sorted([*self.used, (first_ns, last_ns)]):
            if found and first <= found[-1][1]:
                found[-1] = found[-1][0], max(last, found[-1][1])
            else:
                found.append((first, last))
        if len(found) > MAX_RANGES:
            found[:2] = [(found[0][0], found[1][1])]
        self._unentered[self.count] = self.used = tuple(found)

    def _tell(self, set_back: SetBack) -> None:
        if self.on_set_back is not None:
            self.on_set_back(set_back)

    def enter(self, count: int) -> Ranges | None:
        """Return the times used before a set-back; None if its windows were entered already.

        Args:
            count: Set-backs before a window.
        """
        used = self._unentered.pop(count, None)
        for older in [number for number in self._unentered if number < count]:
            del self._unentered[older]
        return used

    def restore(self, count: int, used_until_ns: int) -> None:
        """Continue after a restart."""
        self.count, self.used = count, ((NEVER_NS, used_until_ns),)
