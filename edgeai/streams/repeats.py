"""Samples that share a time stamp and have equal values: sent again, or measured again.

By the stamp alone a copy looks like the next sample of a machine that stands still. The values of
the other samples tell, as far as anything can:

    stamp      5 5 5 5 5 5      6 6
    moving     1 2 3 2 4 5      6 7     the second 2 is a copy: no other stamp has such a value
    at rest    7 7 7 7 7 7      7 7     equal values say nothing: samples, up to the rate
    stepwise   1 1 1 2 2 2      2 3     likewise, while a value stays from one stamp to the next
    returning  1 2 1 2 1 2      1 2     likewise: other stamps have these values too

Where equal values say nothing, and copies are known to come, a sample that may be one is in doubt.
"""

from collections.abc import Iterable, Sequence
from enum import Enum

from edgeai.streams.clock_steps import FASTEST_SHARE
from edgeai.streams.old_stamps import OldStamps

MIN_DISTINCT = 3
"""If the last samples, as many as this, all differ, the signal moves."""
MOST_COPIES = 4
"""So many times as many samples of a stamp as the rate allows wait at most: some are copies."""
MIN_COUNT = 4
"""So many equal samples of a stamp, as many as the rate says, are samples: copies are fewer."""
KNOWN_STAMPS = 2
"""What the values did counts for so many stamps."""
DOUBTED_STAMPS = 8
"""After a copy, samples that may be copies are in doubt for so many stamps."""
LONG_AGO = 1 << 30


def most_waiting(step_ns: int, period_ns: int) -> float:
    """Return how many samples of one stamp may wait."""
    return MOST_COPIES * (1 + FASTEST_SHARE) * step_ns / period_ns + 1


class Kind(Enum):
    """What a sample is, by the values of the samples before it."""

    NEW = "new"
    COPY = "copy"
    EQUAL = "equal"
    """A sample that may be a copy: the signal has such values again by itself."""
    UNCLEAR = "unclear"
    """The same, where too little is known of the signal."""


class StampValues:
    """The values of the samples of one stream, stamp by stamp."""

    __slots__ = (
        "_copied", "_has_next", "_last", "_newest", "_returned", "_stayed", "equal", "past", "seen",
    )  # fmt: skip

    def __init__(self) -> None:
        """Wait for the first sample."""
        self.seen: set[bytes] = set()
        """Values of the samples of the newest stamp."""
        self.past = OldStamps()
        self.equal = 0
        """Samples of the newest stamp that may be copies, and were taken."""
        self._last: tuple[bytes, ...] = ()
        """Values of the last samples, copies too."""
        self._newest = b""
        """Values of the last sample that was taken."""
        self._has_next = False
        """Whether a stamp followed another one."""
        self._stayed = self._returned = self._copied = LONG_AGO
        """Stamps since the values stayed from one to the next, since they returned to those of
        another one, and since a copy came."""

    @property
    def has_copies(self) -> bool:
        """Whether copies came lately, so that a sample that may be one is in doubt."""
        return self._copied < DOUBTED_STAMPS

    def kind_of(self, values: bytes) -> Kind:
        """Return what the next sample of the newest stamp is."""
        if values not in self.seen:
            return Kind.NEW
        if self._returned < KNOWN_STAMPS or self.past.has(values):
            return Kind.EQUAL
        moves = len(set(self._last)) == len(self._last) > 1
        if moves or values != self._newest:
            return Kind.COPY
        if self._stayed < KNOWN_STAMPS:
            return Kind.EQUAL
        return Kind.COPY if self._has_next or self.has_copies else Kind.UNCLEAR

    def take(self, values: bytes, kind: Kind) -> None:
        """Note a sample of the newest stamp that is taken."""
        if values != self._newest and self.past.has(values):
            self._returned = 0
        self.seen.add(values)
        self.equal += kind is not Kind.NEW
        self._newest = values
        self._note(values)

    def note_copy(self, values: bytes | None = None) -> None:
        """Note that a copy came.

        Args:
            values: Its values; None: which sample is the copy is not known.
        """
        self._copied = 0
        if values is not None:
            self._note(values)

    def _note(self, values: bytes) -> None:
        self._last = *self._last[1 - MIN_DISTINCT :], values

    def next_stamp(self, old_ns: int, number: int, values: bytes) -> None:
        """Begin a new stamp.

        Args:
            old_ns: The stamp before it.
            number: How many samples that has.
            values: Of the first sample of the new one.
        """
        self.past.remember(old_ns, number, self.seen)
        self._returned += 1
        self._stayed = 0 if values == self._newest else self._stayed + 1
        self._copied += 1
        self._has_next = True
        self.seen, self.equal = set(), 0

    def start(
        self,
        rows: Sequence[bytes],
        *,
        earlier: Iterable[tuple[int, bytes]] = (),
        is_at_rest: bool = False,
    ) -> None:
        """Begin with the samples of a stamp that were taken.

        Args:
            rows: Their values, oldest first.
            earlier: Stamps and values of the samples before them, one of each stamp.
            is_at_rest: Whether the samples of other stamps have the same values.
        """
        for stamp_ns, values in earlier:
            self.past.remember(stamp_ns, 1, {values})
            self._note(values)
            self._newest, self._has_next = values, True
        if self._has_next and rows and rows[0] == self._newest:
            self._stayed = 0
        self.seen, self.equal = set(rows), len(rows) - len(set(rows))
        self._last = (*self._last, *rows)[-MIN_DISTINCT:]
        self._newest = rows[-1] if rows else self._newest
        if is_at_rest:
            self._stayed = 0

    def go_back(self, newest_ns: int, number: int, stamp_ns: int) -> None:
        """Go on with an older stamp than the newest, which has some samples."""
        self.past.remember(newest_ns, number, self.seen)
        self.seen, self.equal = set(self.past.values_of(stamp_ns)), 0

    def clear(self) -> None:
        """Forget the older stamps."""
        self.past.clear()
        self._has_next = False


def copies_in(rows: Sequence[bytes], next_values: bytes | None) -> list[int] | None:
    """Return which samples of a first stamp were sent again, by their indices, rising.

    Args:
        rows: Values of all its samples, oldest first.
        next_values: Of the first sample of the next stamp; None: there is none.

    Returns:
        None if the values cannot tell: they stay, or return. Where a few equal ones may be copies,
        they are: the samples of a first stamp are counted back from its end, so none is missed.
    """
    distinct = set(rows)
    if len(distinct) == len(rows):
        return []
    is_few = len(distinct) == 1 and len(rows) < MIN_COUNT and next_values is not None
    if next_values in distinct or (len(distinct) == 1 and not is_few):
        return None
    seen: set[bytes] = set()
    copies: list[int] = []
    for index, values in enumerate(rows):
        if values in seen:
            copies.append(index)
        seen.add(values)
    return copies
