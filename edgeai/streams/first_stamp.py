"""The samples of the first stamp of a coarse clock, once the next stamp has begun."""

from collections.abc import Sequence
from typing import NamedTuple

from edgeai.streams.clock_steps import FASTEST_SHARE
from edgeai.streams.repeats import MIN_COUNT, copies_in
from edgeai.streams.run import Run


class FirstStamp(NamedTuple):
    """What is known of these samples."""

    runs: list[Run]
    """Those that are taken."""
    has_copies: bool
    """Whether others came that were sent again."""
    is_clear: bool
    """Whether none of those that are taken may be a copy."""
    others: int
    """How many of them have other values than the others; of many samples all count, whatever their
    values: copies are fewer."""


def first_stamp(
    waiting: Sequence[Run], following: Run | None, step_ns: int | None, period_ns: int
) -> FirstStamp:
    """Leave out the samples of a first stamp that were sent again.

    Args:
        waiting: All its samples, at least one.
        following: The first sample of the next stamp; None: there is none.
        step_ns: Step of the clock; None: it is not known.
        period_ns: The sample period.
    """
    rows = [one.rows.tobytes() for one in waiting]
    next_values = None if following is None else following.rows.tobytes()
    copies = copies_in(rows, next_values)
    left = [one for index, one in enumerate(waiting) if index not in (copies or ())]
    is_full = False
    if step_ns is not None and len(left) > (1 + FASTEST_SHARE) * step_ns / period_ns + 1:
        left, is_full = left[: int(step_ns / period_ns + 0.5)], True  # which ones is not known
    # Equal ones may be copies, unless all are equal before and after, or the values return.
    is_clear = copies is not None or next_values == rows[0] or next_values in rows[:-1]
    others = len(left) if len(left) >= MIN_COUNT else len(set(rows)) - 1
    return FirstStamp(left, bool(copies) or is_full, is_clear and not is_full, others)
