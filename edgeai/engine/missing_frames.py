"""Frames that are missing by their sequence numbers: they may still come, out of order."""

MAX_EXPECTED = 64
"""Frames that are expected at most: older ones are lost."""


class MissingFrames:
    """The numbers of one stream that were skipped, and may still come."""

    __slots__ = ("_expected",)

    def __init__(self) -> None:
        """Expect no frame."""
        self._expected: dict[int, int] = {}
        """By number: how many newer frames may still come before it is lost."""

    def skip(self, numbers: range, newer: int) -> int:
        """Note skipped numbers; return how many frames are lost for certain.

        Args:
            numbers: Oldest first.
            newer: How many newer frames a frame may come after.
        """
        kept = numbers[-MAX_EXPECTED:]
        self._expected.update(dict.fromkeys(kept, newer))
        oldest = list(self._expected)[: max(0, len(self._expected) - MAX_EXPECTED)]
        for number in oldest:
            del self._expected[number]
        return len(numbers) - len(kept) + len(oldest)

    def come(self, sequence: int) -> bool:
        """Note a frame; return whether it was expected."""
        return self._expected.pop(sequence, None) is not None

    def pass_by(self) -> int:
        """Note a newer frame; return how many frames are lost with it."""
        if not self._expected:
            return 0
        lost = [number for number, newer in self._expected.items() if newer <= 1]
        for number in lost:
            del self._expected[number]
        for number in self._expected:
            self._expected[number] -= 1
        return len(lost)

    def end(self) -> int:
        """Expect no frame any more; return how many are lost with that."""
        count = len(self._expected)
        self._expected.clear()
        return count
