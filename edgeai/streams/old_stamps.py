"""The stamps of a coarse clock before the newest one, to place samples that come late."""

MAX_SAMPLES = 128
"""Remember the stamps of this many samples, and at least one stamp."""
NO_PLACE = -1
REPEATED = -2
FULL = -3


class OldStamps:
    """How many samples each of the last stamps has, and their values."""

    __slots__ = ("_stamps",)

    def __init__(self) -> None:
        self._stamps: dict[int, tuple[int, set[bytes]]] = {}

    def remember(self, stamp_ns: int, count: int, values: set[bytes]) -> None:
        """Remember a stamp that is no longer the newest.

        Args:
            stamp_ns: The stamp.
            count: Its samples.
            values: The values of each of them.
        """
        stamps = self._stamps
        stamps[stamp_ns] = count, values
        while len(stamps) > 1 and sum(count for count, _ in stamps.values()) > MAX_SAMPLES:
            del stamps[min(stamps)]

    def count(self, stamp_ns: int) -> int:
        """Return how many samples a stamp has; 0 if it is not known."""
        return self._stamps.get(stamp_ns, (0, set()))[0]

    def values_of(self, stamp_ns: int) -> set[bytes]:
        """Return the values of the samples of a stamp; empty if it is not known."""
        return self._stamps.get(stamp_ns, (0, set()))[1]

    def has(self, values: bytes) -> bool:
        """Return whether a sample of one of the stamps has these values."""
        return any(values in seen for _, seen in self._stamps.values())

    def add(self, stamp_ns: int, values: bytes, room: int) -> int:
        """Add a late sample to a stamp.

        Args:
            stamp_ns: The stamp.
            values: The sample's values.
            room: How many samples a stamp has by the rate.

        Returns:
            How many samples of its stamp came before it; REPEATED if one of them has its values;
            FULL if the stamp has no room; NO_PLACE if it is older than those that are known.
        """
        stamps = self._stamps
        if not stamps or stamp_ns < min(stamps):
            return NO_PLACE
        count, seen = stamps.get(stamp_ns, (0, set()))
        if values in seen:
            return REPEATED
        if count >= room:
            return FULL
        stamps[stamp_ns] = count + 1, seen | {values}
        return count

    def clear(self) -> None:
        """Forget all stamps."""
        self._stamps.clear()
