"""What one stream has refused: counted with all others of its pipeline, and known of this one."""

from edgeai.messages import RETAINED


class StreamDrops(dict[str, int]):
    """Counts refusals in the pipeline's counters, and keeps the last reason of one stream.

    It costs nothing until something is refused.
    """

    __slots__ = ("_of_pipeline", "count", "reason", "skew")

    def __init__(self, of_pipeline: dict[str, int]) -> None:
        """Start without a refusal.

        Args:
            of_pipeline: The pipeline's counters by reason.
        """
        self._of_pipeline = of_pipeline
        self.count = 0
        """Refusals of this stream since the start."""
        self.reason = ""
        """Reason of the last one: a key of `DROP_REASONS`; empty: there was none."""
        self.skew: tuple[int, int] | None = None
        """How far the time of the last message with an implausible time was ahead of its arrival,
        and its arrival, nanoseconds."""

    def __getitem__(self, reason: str) -> int:
        return self._of_pipeline[reason]

    def __setitem__(self, reason: str, count: int) -> None:
        if count > self._of_pipeline[reason]:
            self.count += 1
            self.reason = reason
        self._of_pipeline[reason] = count

    def note(self, reason: str, received_ns: int, flags: int, skew_ns: int | None = None) -> None:
        """Note a refused message that the pipeline has counted already.

        What the broker had kept shows nothing about the sender now.

        Args:
            reason: Why.
            received_ns: Its arrival.
            flags: Of the message.
            skew_ns: How far its time was ahead of its arrival, if that is the reason.
        """
        if flags & RETAINED:
            return
        self.count += 1
        self.reason = reason
        if skew_ns is not None:
            self.skew = skew_ns, received_ns
