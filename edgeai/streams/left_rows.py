"""Samples that a stream has taken and holds no longer: a hash of each tells it from a new one."""

from collections import deque
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.streams.settings import Floats, StreamSettings

Hashes = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]

BYTES_PER_SAMPLE = 5
"""Of a sample that is remembered: its hash, and its share of a block."""
MAX_SEEN_SECONDS = 4500
"""Every sample of so long is remembered, within the bounds: an hour, the step to winter time, and
more."""
MAX_SEEN = 65_536
MIN_SEEN = 4096
MAX_THINNED = 2048
"""Of older samples, so many are remembered, evenly over all of them."""
BLOCK = 1024
"""Samples of a block: those with the same number by this divisor. As many wait for their block."""
OTHER_BYTES = 12 * MAX_THINNED + 20 * BLOCK
"""Of the thinned samples, of those that wait, and of the block that is about to leave."""
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(32))


def seen_samples(period_ns: int | None) -> int:
    """Return how many samples to remember: an hour and more at the rate, within bounds."""
    if period_ns is None:
        return MIN_SEEN
    return max(MIN_SEEN, min(MAX_SEEN, MAX_SEEN_SECONDS * 10**9 // period_ns))


def seen_values(settings: StreamSettings) -> int:
    """Return the same for an alignment, where each channel may have values of its own."""
    return min(MAX_SEEN, settings.channels * seen_samples(settings.period_ns))


@lru_cache(maxsize=64)
def _weights(channels: int) -> npt.NDArray[np.uint32]:
    """Return odd numbers, (C,), so that every bit of a value changes the digest of its row."""
    numbers = np.random.default_rng(channels).integers(0, 1 << 31, channels, np.uint32)
    return numbers * np.uint32(2) + np.uint32(1)


def _digests(rows: Floats, out: Hashes | None = None) -> Hashes:
    """Return a number of each row, (n,): other rows mostly have other ones."""
    found: Hashes = np.matmul(rows.view(np.uint32), _weights(rows.shape[1]), out=out)
    return found


def _hashes(times: Numbers, digests: Hashes) -> Hashes:
    """Return a number of each sample, (n,), by its time and the digest of its row."""
    factor, second, half = _MIX
    found = digests.astype(np.uint64)
    found *= second
    found ^= times.view(np.uint64) * factor
    found ^= found >> half
    found *= factor
    return (found >> half).astype(np.uint32)


class _Block(NamedTuple):
    """Samples with numbers in a row."""

    number: int
    """Of the first one."""
    low_ns: int
    high_ns: int
    """Their smallest and largest time."""
    hashes: Hashes


class LeftRows:
    """The samples that have left a ring: a hash of the time and the values of each.

    The newest are all remembered. Of the older ones, those are remembered whose number can be
    divided by a stride, which grows with their count. So samples that are sent again are known
    however old they are, if enough of them come, and the memory does not grow.

    What is remembered depends on the numbers of the samples only, and not on the turns in which
    they came.
    """

    __slots__ = (
        "_blocks", "_count", "_digests", "_first", "_kept_stride", "_next", "_rises", "_room",
        "_thinned", "_times",
    )  # fmt: skip

    def __init__(self, room: int) -> None:
        """Start empty.

        Args:
            room: Samples of which each is remembered.
        """
        self._room = room
        self._blocks: deque[_Block] = deque()
        self._first: tuple[int, int] | None = None
        """Number and time of the first sample of all."""
        self._times = np.zeros(0, np.int64)
        """Times of samples that are in no block yet: to hash many at a time costs less."""
        self._digests = np.zeros(0, np.uint32)
        """Their digests."""
        self._count = 0
        """How many these are."""
        self._rises = True
        """Whether their times rise."""
        self._next = 0
        """Number after the last sample."""
        self._thinned: tuple[Numbers, Hashes] = np.zeros(0, np.int64), np.zeros(0, np.uint32)
        """Numbers and hashes of older samples."""
        self._kept_stride = 1

    def add(self, number: int, times: Numbers, rows: Floats) -> None:
        """Remember samples.

        Args:
            number: Of the first one. Those of this number and later ones are forgotten: the ring
                had returned to the time before them.
            times: (n,) nanoseconds, rising, n at least 1.
            rows: (n, C).
        """
        if number != self._next:
            self._settle()
            self._forget_from(number)
            self._next = number
        begin = 0
        while begin < len(times):  # up to the end of a block, so that none is put together of parts
            end = begin + BLOCK - self._next % BLOCK
            place = self._place_of(times[begin:end])
            _digests(rows[begin:end], self._digests[place])
            begin = end

    def add_digests(self, times: Numbers, digests: Hashes) -> None:
        """Remember the next samples, `BLOCK` at most, by a number of the values of each.

        Their times may be in any order.
        """
        place = self._place_of(times)
        self._digests[place] = digests
        self._rises = False

    def _place_of(self, times: Numbers) -> slice:
        """Keep the times of the next samples, `BLOCK` at most; return where their digests go."""
        if self._count + len(times) > len(self._times) or not self._next % BLOCK:
            self._settle()
            if not len(self._times):
                self._times, self._digests = np.zeros(BLOCK, np.int64), np.zeros(BLOCK, np.uint32)
        begin, self._count = self._count, self._count + len(times)
        self._rises = self._rises and (not begin or times[0] > self._times[begin - 1])
        self._times[begin : self._count] = times
        self._next += len(times)
        return slice(begin, self._count)

    def _settle(self) -> None:
        """Put the samples that wait into blocks."""
        count, self._count = self._count, 0
        rises, self._rises = self._rises, True
        if not count:
            return
        times, number = self._times[:count], self._next - count
        if self._first is None:
            self._first = number, int(times[0])
        hashes = _hashes(times, self._digests[:count])
        while number < self._next:
            part = slice(0, number // BLOCK * BLOCK + BLOCK - number)
            here = times[part]
            low_ns = int(here[0] if rises else here.min())
            high_ns = int(here[-1] if rises else here.max())
            self._append(_Block(number, low_ns, high_ns, hashes[part]))
            times, hashes, number = times[part.stop :], hashes[part.stop :], number + len(here)
        oldest = self._oldest(self._next)
        while self._blocks and self._blocks[0].number < oldest:
            self._thin(self._blocks.popleft(), self._next)

    def _append(self, block: _Block) -> None:
        last = self._blocks[-1] if self._blocks else None
        is_next = last is not None and last.number + len(last.hashes) == block.number
        if last is not None and is_next and block.number % BLOCK:
            self._blocks[-1] = _Block(
                last.number,
                min(last.low_ns, block.low_ns),
                max(last.high_ns, block.high_ns),
                np.concatenate((last.hashes, block.hashes)),
            )
            return
        self._blocks.append(block._replace(hashes=block.hashes.copy()))

    def _forget_from(self, number: int) -> None:
        blocks = self._blocks
        while blocks and blocks[-1].number >= number:
            blocks.pop()
        if blocks and blocks[-1].number + len(blocks[-1].hashes) > number:
            last = blocks[-1]
            blocks[-1] = last._replace(hashes=last.hashes[: number - last.number].copy())

    def _thin(self, block: _Block, next_number: int) -> None:
        """Remember few samples of a block that is no longer remembered wholly."""
        stride = self._stride(next_number)
        numbers, hashes = self._thinned
        if stride != self._kept_stride:
            kept = numbers % stride == 0
            numbers, hashes, self._kept_stride = numbers[kept], hashes[kept], stride
        begin, end = -block.number % stride, block.number + len(block.hashes)
        self._thinned = (
            np.concatenate((numbers, np.arange(block.number + begin, end, stride))),
            np.concatenate((hashes, block.hashes[begin::stride])),
        )

    def _oldest(self, next_number: int) -> int:
        """Return the number of the first sample that is remembered wholly: the first of a block."""
        return (next_number - self._room) // BLOCK * BLOCK

    def _stride(self, next_number: int) -> int:
        older = max(0, next_number - self._room)
        return 1 << (older // MAX_THINNED).bit_length()

    def stride_at(self, time_ns: int, next_number: int) -> int:
        """Return of how many samples of about this time one is remembered: 1 of all, or of 2 ..."""
        self._settle()
        oldest = self._oldest(next_number)
        if self._first is None or oldest <= self._first[0] or time_ns < self._first[1]:
            return 1  # no sample of this time was taken, or all of them are remembered
        for block in self._blocks:
            if block.number >= oldest:
                return 1 if time_ns >= block.low_ns else self._stride(next_number)
        return 1

    def have(self, times: Numbers, rows: Floats, next_number: int) -> npt.NDArray[np.bool_]:
        """Return whether samples of these times and values have left the ring, (n,).

        Args:
            times: (n,) nanoseconds, rising.
            rows: (n, C).
            next_number: Of the next sample of the ring.
        """
        return self.have_digests(times, _digests(np.array(rows, np.float32)), next_number)

    def have_digests(
        self, times: Numbers, digests: Hashes, next_number: int
    ) -> npt.NDArray[np.bool_]:
        """Return the same of samples by a number of the values of each."""
        self._settle()
        hashes = _hashes(times, digests)
        found = np.zeros(len(hashes), np.bool_)
        oldest, stride = self._oldest(next_number), self._stride(next_number)
        first_ns, last_ns = int(times[0]), int(times[-1])
        for number, low_ns, high_ns, known in self._blocks:
            if high_ns < first_ns or low_ns > last_ns:
                continue
            if number < oldest:
                numbers = np.arange(number, number + len(known))
                known = known[(numbers >= oldest) | (numbers % stride == 0)]  # noqa: PLW2901
            found |= _are_in(hashes, known)
        numbers, known = self._thinned
        if len(known):
            found |= _are_in(hashes, known[numbers % stride == 0])
        return found


def _are_in(hashes: Hashes, known: Hashes) -> npt.NDArray[np.bool_]:
    if len(hashes) == 1:  # much cheaper
        return np.array([bool((known == hashes[0]).any())])
    return np.isin(hashes, known)
