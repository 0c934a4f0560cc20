"""Samples that wait for late ones, and leave in the order of their times."""

import heapq

from edgeai.streams.run import Run
from edgeai.streams.settings import NEVER_NS


class Reorder:
    """The waiting samples of one stream: single ones, or blocks, which are not cut."""

    __slots__ = ("_count", "_heap", "_lateness_ns", "_starts", "arrived_ns", "last_ns")

    def __init__(self, lateness_ns: int) -> None:
        """Wait for the first sample.

        Args:
            lateness_ns: How long samples wait, by the times of those that come after them.
        """
        self._lateness_ns = lateness_ns
        self._heap: list[tuple[int, int, Run]] = []
        """Time of the first sample, a number that no other has, and the samples."""
        self._starts: set[int] = set()
        """The first times in the heap."""
        self._count = 0
        self.last_ns = NEVER_NS
        """The newest time; NEVER_NS: there is none since all were released."""
        self.arrived_ns = 0
        """When the sample of that time arrived."""

    def has(self, time_ns: int) -> bool:
        """Return whether samples that begin at this time are waiting."""
        return time_ns in self._starts

    def add(self, run: Run) -> list[Run]:
        """Let samples wait; return those that the watermark has reached, in order."""
        self._count += 1
        heapq.heappush(self._heap, (run.first_ns, self._count, run.copy()))
        self._starts.add(run.first_ns)
        if run.last_ns > self.last_ns:
            self.last_ns, self.arrived_ns = run.last_ns, run.arrived_ns
        return self.release(self.last_ns - self._lateness_ns)

    def release(self, watermark_ns: int | None) -> list[Run]:
        """Return the samples up to a watermark, oldest first; all of them if it is None."""
        released = []
        heap = self._heap
        while heap and (watermark_ns is None or heap[0][2].last_ns <= watermark_ns):
            first_ns, _, run = heapq.heappop(heap)
            self._starts.discard(first_ns)
            released.append(run)
        if watermark_ns is None:
            self.last_ns = NEVER_NS
        return released
