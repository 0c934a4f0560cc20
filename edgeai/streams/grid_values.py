"""The values of a grid point: held, or interpolated between their neighbours.

A value stands for samples that are missing where a sample of its channel was due by its rate, and
did not come. It counts as substituted then, as a value that is too old.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Queue = deque[tuple[int, float, int]]
"""Values of one channel, oldest first: time in nanoseconds, value, and one of GOOD, UNCERTAIN,
LOST."""

GOOD = 0  # measured, inside its valid range
UNCERTAIN = 1  # measured, outside its valid range
LOST = 2  # not usable: the value before it is held


@dataclass(frozen=True)
class AlignSettings:
    """How to align samples to the grid. Times in nanoseconds."""

    method: Literal["hold", "linear"]
    """A key of `METHODS`."""
    period_ns: int
    """From one grid point to the next: the model's sample period."""
    max_age_ns: int
    """A value that is held or interpolated for longer counts as substituted."""
    lateness_ns: int
    """How long a grid point waits for values that arrive out of order."""


class Limits(NamedTuple):
    """How old the values of each channel may be."""

    max_age_ns: int
    """A value that is held or interpolated for longer counts as substituted."""
    age_ns: list[int]
    """(C,) the same, or the age from which the next value is due by the channel's rate."""
    hole_ns: list[int]
    """(C,) a step to the next value of this length or longer is a hole."""


class GridRow(NamedTuple):
    """One sample on the grid."""

    time_ns: int
    values: list[float]
    """(C,) all finite, but those of extra signals, which may be NaN."""
    held: tuple[int, ...]
    """The channels whose values were not measured, are too old or stand for missing samples."""
    uncertain: bool
    """Whether a value comes from one outside its valid range."""
    unusable: int = 0
    """How many values were not measured, or are too old."""


def hold(
    queues: Sequence[Queue], at_ns: int, _watermark_ns: int, limits: Limits, _final: bool
) -> GridRow:
    """Return the last value of each channel at or before a grid point.

    Each queue begins with it.
    """
    held: tuple[int, ...] = ()
    unusable = 0
    uncertain = False
    values = []
    for queue, limit_ns in zip(queues, limits.age_ns, strict=True):
        since_ns, value, mark = queue[0]
        values.append(value)
        if mark or at_ns - since_ns > limit_ns:
            channel = len(values) - 1
            uncertain = uncertain or mark == UNCERTAIN
            if mark == LOST or at_ns - since_ns > limits.max_age_ns:
                held = (*held, channel)
                unusable += 1
            elif at_ns - since_ns > limit_ns and _is_hole(queue, limits.hole_ns[channel]):
                held = (*held, channel)
    return GridRow(at_ns, values, held, uncertain, unusable)


def _is_hole(queue: Queue, hole_ns: int) -> bool:
    """Return whether a value stands for missing ones: the next is far, or has not come."""
    return len(queue) < 2 or queue[1][0] - queue[0][0] >= hole_ns


def interpolate(
    queues: Sequence[Queue], at_ns: int, watermark_ns: int, limits: Limits, final: bool
) -> GridRow | None:
    """Return each channel's value on the line between its neighbours of a grid point.

    Each queue begins with the last value at or before it. A value is held and counted as
    substituted if its neighbours are more than `max_age_ns` apart. None if a channel must wait for
    its next value.
    """
    max_age_ns = limits.max_age_ns
    held: tuple[int, ...] = ()
    unusable = 0
    uncertain = False
    values = []
    for channel, queue in enumerate(queues):
        since_ns, value, mark = queue[0]
        is_held = is_unusable = False
        if since_ns == at_ns:
            is_held = is_unusable = mark == LOST
        elif len(queue) > 1 and queue[1][0] <= watermark_ns:  # no closer value can still arrive
            until_ns, next_value, next_mark = queue[1]
            mark = max(mark, next_mark)
            if until_ns - since_ns > max_age_ns or mark == LOST:
                is_held = is_unusable = True
            else:
                value += (next_value - value) * ((at_ns - since_ns) / (until_ns - since_ns))
                is_held = until_ns - since_ns >= limits.hole_ns[channel]
        elif final or watermark_ns - since_ns > max_age_ns:
            is_held = is_unusable = True
        else:
            return None
        if is_held:
            held = (*held, channel)
            unusable += is_unusable
        values.append(value)
        uncertain = uncertain or mark == UNCERTAIN
    return GridRow(at_ns, values, held, uncertain, unusable)


def held_extra(queue: Queue, at_ns: int, age_ns: int) -> float:
    """Return the last value of an extra signal at or before a grid point.

    Args:
        queue: Begins with that value, or with a later one if there is none.
        at_ns: The grid point.
        age_ns: An older value is not known any more.

    Returns:
        NaN if there is no such value, or it is too old.
    """
    if not queue:
        return math.nan
    since_ns, value, mark = queue[0]
    is_known = mark != LOST and 0 <= at_ns - since_ns <= age_ns
    return value if is_known else math.nan


Method = Callable[[Sequence[Queue], int, int, Limits, bool], GridRow | None]
"""Computes one grid row, or returns None to wait for more values.

Arguments: the queues of all channels, each begins with the last value at or before the grid point;
the grid point and the watermark in nanoseconds; the limits; whether no more values will come."""

METHODS: dict[str, Method] = {
    "hold": hold,
    "linear": interpolate,
}
"""Alignment methods, by the name in the configuration."""
