"""What is remembered of samples that left the ring is told by their numbers, and by their times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeai.streams.left_rows import BLOCK, MIN_SEEN, LeftRows, _hashes

NS = 10**9
T0 = 1_700_000_000 * NS


def samples(count: int) -> tuple[Any, Any]:
    values = np.random.default_rng(2).normal(size=(count, 1)).astype(np.float32)
    return T0 + np.arange(count) * NS, values


def remembered(count: int) -> LeftRows:
    """Return what is remembered after so many samples have left."""
    rows = LeftRows(MIN_SEEN)
    times, values = samples(count)
    for begin in range(0, count, 100):
        rows.add(begin, times[begin : begin + 100], values[begin : begin + 100])
    return rows


@pytest.mark.parametrize(("left", "held"), [(8192, 3000), (30_000, 6000), (70_000, 70_000)])
def test_what_is_known_depends_on_the_newest_number_and_not_on_what_has_left(
    left: int, held: int
) -> None:
    """The ring holds the newest samples: whether they have left makes the older ones no younger."""
    times, values = samples(left)
    found = remembered(left).have(times, values, left + held)
    wanted = remembered(left + held).have(times, values, left + held)
    assert found.tolist() == wanted.tolist()
    oldest = max(0, left + held - MIN_SEEN) // BLOCK * BLOCK
    assert found[oldest:].all()
    assert 500 < found[:oldest].sum() < 0.6 * oldest


def test_the_older_samples_are_the_more_the_fewer_of_them_are_known() -> None:
    rows, (times, values) = remembered(30_000), samples(30_000)
    known = [int(rows.have(times, values, newest)[:20_000].sum()) for newest in (30_000, 150_000)]
    stride = rows.stride_at(T0, 150_000)
    assert known[0] > known[1] > 0
    found = rows.have(times, values, 150_000)
    assert set(np.flatnonzero(found[:20_000]) % stride) == {0}


def test_a_sample_of_another_time_is_not_known_by_chance() -> None:
    """A hash has 32 bits: two of many samples have the same one, but not about the same time."""
    draw = np.random.default_rng(11)
    count = 300_000
    times = T0 + np.arange(count, dtype=np.int64) * NS
    digests = draw.integers(0, 1 << 32, count, np.uint32)
    hashes = _hashes(times, digests)
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    pairs = [sorted((int(order[one]), int(order[one + 1]))) for one in same]
    assert pairs
    for first, second in pairs:
        rows = LeftRows(MIN_SEEN)
        rows.add_digests(times[first : first + 1], digests[first : first + 1])
        assert rows.have_digests(times[first : first + 1], digests[first : first + 1], 1)[0]
        assert not rows.have_digests(times[second : second + 1], digests[second : second + 1], 1)[0]
