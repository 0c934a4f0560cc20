"""The steps of clocks: which clock shows only some given times."""

from itertools import pairwise

from edgeai.messages import SECOND_NS

MILLISECOND_NS = SECOND_NS // 1000
RESOLUTIONS_NS = tuple(
    step * MILLISECOND_NS
    for step in (
        60_000, 30_000, 20_000, 15_000, 10_000, 5_000, 2_000, 1_000, 500, 250, 200, 100, 50, 40,
        20, 10, 5, 2, 1,
    )
)  # fmt: skip
"""Steps of coarse clocks that are recognized: a minute to a millisecond. Their stamps are whole
multiples of the step since 1970."""
TICK_NS = 15_625_000
"""Step of the clock of Windows, which begins at any time and is often cut to milliseconds."""
MIN_TICKS = 8
"""So many steps of about whole ticks show that clock."""
LAST_TIMES = 16
"""The last times are looked at for it."""
MAX_TICKS = 8
"""Longer steps show nothing: a millisecond is too much of an error."""
ROUNDING_NS = 500
"""Error of a time in float64 seconds, as many senders write it."""
FASTEST_SHARE = 0.03
"""A sender that is faster than the model's rate by no more than this share loses no sample, where
samples share a stamp."""
LEAST_PERIODS = 1.05
"""A clock is coarse by its stamps alone if its step is at least so many sample periods."""
NEAR_PERIODS = 0.999
"""A clock whose step is about the sample period: two samples in one step and none in another."""


def is_multiple(time_ns: int, resolution_ns: int) -> bool:
    """Return whether a clock with such steps shows a time, but for rounding."""
    return (time_ns + ROUNDING_NS) % resolution_ns <= 2 * ROUNDING_NS


def resolution_of(
    times: list[int], period_ns: int, least_periods: float = LEAST_PERIODS
) -> int | None:
    """Return the step of the coarsest clock that shows only these times; None: it is not coarse.

    Args:
        times: In the order in which they came.
        period_ns: The model's sample period.
        least_periods: The step is so many periods at least.
    """
    least_ns = least_periods * period_ns
    for resolution_ns in RESOLUTIONS_NS:
        if resolution_ns < least_ns:
            break
        if all(is_multiple(time_ns, resolution_ns) for time_ns in times):
            return resolution_ns
    return TICK_NS if least_ns <= TICK_NS and _are_ticks(times) else None


def is_shown(before_ns: int, time_ns: int, resolution_ns: int) -> bool:
    """Return whether a clock with such steps shows a time after another one that it has shown."""
    if resolution_ns != TICK_NS:
        return is_multiple(time_ns, resolution_ns)
    off_ns = (time_ns - before_ns + TICK_NS // 2) % TICK_NS - TICK_NS // 2
    return abs(off_ns) <= MILLISECOND_NS + ROUNDING_NS


def _are_ticks(times: list[int]) -> bool:
    """Return whether the last times rise by whole ticks, but for cut milliseconds."""
    steps = [after - before for before, after in pairwise(times[-LAST_TIMES:]) if after != before]
    most_ns = MAX_TICKS * TICK_NS
    return len(steps) >= MIN_TICKS and all(
        0 < step_ns <= most_ns and is_shown(0, step_ns, TICK_NS) for step_ns in steps
    )
