"""A wrong time stamp in a recording without arrival times: the order alone shows it.

Samples at 10 Hz as in `test_ahead`; each has arrived at its time, as far as anybody knows.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.streams.test_ahead import AHEAD, COUNT, WRONG, assert_true, good
from tests.streams.test_time import Line, P


def play(slots: list[int], wrong: dict[int, float] | None = None, **changes: Any) -> Line:
    """Send samples in this order; some are stamped ahead by so many periods."""
    line = Line(**{"is_undated": True, **changes})
    for slot in slots:
        line.send(slot + (wrong or {}).get(slot, 0.0), values=[float(slot)])
    line.stream.flush()
    return line


@pytest.mark.parametrize("lateness", [0, 3])
@pytest.mark.parametrize("ahead", AHEAD)
def test_a_stamp_ahead_costs_its_sample(ahead: float, lateness: int) -> None:
    for length, hop, max_gap, missing in [
        (1, 1, 5, "hold"), (4, 1, 5, "hold"), (4, 4, 20, "mark"), (16, 5, 3, "hold"),
    ]:  # fmt: skip
        changes: dict[str, Any] = {
            "length": length, "hop": hop, "max_gap_ns": max_gap * P, "missing": missing,
            "lateness_ns": lateness * P,
        }  # fmt: skip
        clean = play([*range(COUNT)], **changes)
        line = play([*range(COUNT)], {WRONG: ahead}, **changes)
        told = line.told()
        if ahead < 1 and told == {}:  # it is the sample of its slot: its window has its time
            right = [one.values for one in clean.windows]
            assert [one.values for one in good(line) if one.values not in right] == []
            continue
        assert told == {"implausible_time": 1, "missing": 1}
        assert_true(line, clean)
        assert len(clean.windows) - len(good(line)) <= -(-length // hop) + 1


@pytest.mark.parametrize("max_gap", [5, 20])
@pytest.mark.parametrize("ahead", [1.7, 2.67, 4.9, 12.4, 300])
def test_two_stamps_in_a_row_that_agree_cost_their_samples(ahead: float, max_gap: int) -> None:
    for length in (1, 2, 4):
        changes: dict[str, Any] = {"length": length, "max_gap_ns": max_gap * P}
        clean = play([*range(COUNT)], **changes)
        line = play([*range(COUNT)], {WRONG: ahead, WRONG + 1: ahead}, **changes)
        # By the order alone, 1.7 periods may be true for one of them: it is uncertain.
        true = int(ahead < 2)
        assert line.told() == {"implausible_time": 2 - true, "missing": 2 - true}
        assert_true(line, clean)


@pytest.mark.parametrize(
    "slots",
    [
        [*range(60)],
        [*range(10), *range(14, 60)],
        [*range(10), *range(40, 80)],
        [*range(0, 60, 2)],
        [*range(10), 11, 10, *range(12, 60)],
        [*range(10), 12, 10, 11, *range(13, 60)],
        [*range(10), 30, 31, *range(10, 30), *range(32, 60)],
        [*range(10), 16],
        [*range(10), 11],
    ],
)
def test_true_times_are_all_taken_in_whatever_order(slots: list[int]) -> None:
    line = play(slots)
    in_order = play(sorted(slots), is_undated=False)
    assert [one[:2] for one in line.windows] == [one[:2] for one in in_order.windows]
    told = line.told()
    assert (told.pop("reordered", 0) > 0) <= (slots != sorted(slots))
    assert told == in_order.told()


@settings(deadline=None, max_examples=25)
@given(
    length=st.integers(1, 6),
    max_gap=st.sampled_from([3, 5, 20]),
    missing=st.sampled_from(["hold", "linear", "mark"]),
    wrong=st.dictionaries(
        # A whole period ahead now and then is how a clock of whole periods jitters.
        st.integers(20, 70),
        st.integers(12, 300).map(lambda tenths: tenths / 10),
        max_size=3,
    ),
    lost=st.sets(st.integers(20, 70), max_size=4),
)
def test_no_window_with_a_wrong_stamp_is_good(
    length: int, max_gap: int, missing: Any, wrong: dict[int, float], lost: set[int]
) -> None:
    changes: dict[str, Any] = {"length": length, "max_gap_ns": max_gap * P, "missing": missing}
    # By the order alone, a wrong stamp near the place of a lost sample is that sample, and late.
    assume(not any(abs(slot + ahead - one) < 1 for slot, ahead in wrong.items() for one in lost))
    slots = [slot for slot in range(COUNT) if slot not in lost]
    assert_true(play(slots, wrong, **changes), play([*range(COUNT)], **changes))
