"""The steps of clocks: which clock shows only some given times."""

from edgeai.messages import SECOND_NS

MILLISECOND_NS = SECOND_NS // 1000
RESOLUTIONS_NS = tuple(
    step * MILLISECOND_NS
    for step in (
        60_000, 30_000, 10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 20, 10, 5, 2, 1,
    )
)  # fmt: skip
"""Steps of coarse clocks that are recognized: a minute to a millisecond."""
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
    """Return the step of the coarsest clock that shows only these times; None: it is not coarse."""
    for resolution_ns in RESOLUTIONS_NS:
        if resolution_ns >= least_periods * period_ns and all(
            is_multiple(time_ns, resolution_ns) for time_ns in times
        ):
            return resolution_ns
    return None
