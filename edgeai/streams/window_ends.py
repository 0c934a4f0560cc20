"""Where windows end in a block of samples, whenever edgeai was started.

Of a block of n samples and a hop of h:

- n is a multiple of h: windows end at every h-th sample of each block;
- h is a multiple of n: with a block whose number, or else last sample, begins another hop;
- neither: with the first sample that reaches k * h * period - period / 2.
"""

from bisect import bisect_left
from collections.abc import Sequence

from edgeai.streams.run import Run


def ends_in_block(
    run: Run, hop: int, last_ns: int | None, last_sequence: int | None
) -> Sequence[int]:
    """Return after how many samples of a block windows end, rising.

    Args:
        run: The block.
        hop: Samples from one window to the next.
        last_ns: Time of the sample before the block; None: it is the first.
        last_sequence: Sequence number of the block before it, if it has one.
    """
    count = len(run.times)
    total = run.skipped + count
    if total % hop == 0:
        return [end - run.skipped for end in range(hop, total + 1, hop) if end > run.skipped]
    if hop % total == 0 and run.sequence is not None:
        blocks = hop // total
        hops = (run.sequence + 1) // blocks
        if last_sequence is None:
            return [count] if (run.sequence + 1) % blocks == 0 else []
        return [count] if hops != (last_sequence + 1) // blocks else []
    hop_ns = round(hop * run.period_ns)
    half_ns = int(run.period_ns / 2)
    if hop % total == 0:
        before_ns = run.last_ns - round(total * run.period_ns) if last_ns is None else last_ns
        begins = (run.last_ns + half_ns) // hop_ns != (before_ns + half_ns) // hop_ns
        return [count] if begins else []
    before_ns = run.first_ns - round(run.period_ns) if last_ns is None else last_ns
    first = (before_ns + half_ns) // hop_ns + 1
    ends: list[int] = []
    for boundary in range(first, (run.last_ns + half_ns) // hop_ns + 1):
        begin_ns = boundary * hop_ns - half_ns
        # The first sample at or after the boundary.
        index = bisect_left(run.times, begin_ns)
        end = min(index, count - 1) + 1
        if not ends or end > ends[-1]:
            ends.append(end)
    return ends
