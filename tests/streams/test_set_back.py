"""Which times were used before a sender's clock was set back: all of them, in bounded memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeai.streams.set_back import MAX_RANGES, SetBack, SetBacks
from edgeai.streams.settings import NEVER_NS

RANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30)), min_size=1, max_size=40)


def is_used(back: SetBacks, time_ns: int) -> bool:
    return any(first <= time_ns <= last for first, last in back.used)


@given(ranges=RANGES)
def test_every_time_that_was_used_stays_used(ranges: list[tuple[int, int]]) -> None:
    back, used = SetBacks(), np.zeros(500, np.bool_)
    for first, length in ranges:
        back.note_used(first, first + length)
        used[first : first + length + 1] = True
        assert back.used_until_ns == np.flatnonzero(used)[-1]
        assert len(back.used) <= MAX_RANGES
        assert all(is_used(back, int(time_ns)) for time_ns in np.flatnonzero(used))
        firsts = [one for one, _ in back.used]
        lasts = [one for _, one in back.used]
        assert all(last < first for last, first in zip(lasts, firsts[1:], strict=False))
    if len(ranges) <= MAX_RANGES:
        assert [is_used(back, time_ns) for time_ns in range(500)] == used.tolist()


def test_the_oldest_ranges_are_joined_first() -> None:
    back = SetBacks()
    for number in range(MAX_RANGES + 3):
        back.note_used(100 * number, 100 * number + 5)
    assert len(back.used) == MAX_RANGES
    assert back.used[0] == (0, 305)
    assert back.used[1] == (400, 405)


def test_windows_of_a_set_back_are_entered_once_and_older_ones_with_them() -> None:
    back, told = SetBacks(), list[SetBack]()
    back.on_set_back = told.append
    back.note(100, 50, "pace")
    back.note_used(200, 210)
    back.note(300, 250, "sequence")
    assert [(one.number, one.from_ns, one.to_ns, one.sign) for one in told] == [
        (1, 100, 50, "pace"), (2, 210, 200, "return"), (3, 300, 250, "sequence"),
    ]  # fmt: skip
    assert back.enter(2) == ((NEVER_NS, 100), (200, 210))
    assert back.enter(2) is None
    assert back.enter(1) is None, "a window of before a later set-back is not entered any more"
    assert back.enter(3) == ((NEVER_NS, 300),)


def test_a_restart_goes_on_with_what_was_used() -> None:
    back = SetBacks()
    assert back.used_until_ns == NEVER_NS
    back.restore(2, 500)
    assert back.used_until_ns == 500
    assert is_used(back, 0)
    back.note_used(600, 610)
    assert back.count == 3
    assert back.used == ((NEVER_NS, 500), (600, 610))
