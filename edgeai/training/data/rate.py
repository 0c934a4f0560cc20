"""Compare the rate of a recording with the rate that a recipe states."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgeai.messages import SECOND_NS
from edgeai.streams.ring import RATE_TOLERANCE

TOLD_RATIO = 1.02  # a larger difference of the rates is pointed out


class RateNote(NamedTuple):
    """The rate of a recording, beside the recipe's."""

    text: str
    """What was found, after the name of the recording."""
    refused: bool
    """Whether the rates differ by more than the runtime tolerates in a window."""


def rows_per_stamp(times_ns: Sequence[int]) -> float:
    """Return how many samples share one time stamp (median)."""
    return float(np.median(list(Counter(times_ns).values())))


def measured_rate_hz(times_ns: Sequence[int]) -> float | None:
    """Return the rate of samples by their times, Hz; None if all have the same time.

    It is the usual number of samples of one time stamp, over the usual step from one time stamp to
    the next (both medians). So neither gaps nor repeated samples change it, and a clock that shows
    whole seconds or minutes does not hide the rate.

    Args:
        times_ns: (n,) nanoseconds, in any order.
    """
    counts = Counter(times_ns)
    if len(counts) < 2:
        return None
    steps = np.diff(np.array(sorted(counts), np.int64))
    return rows_per_stamp(times_ns) * SECOND_NS / float(np.median(steps))


def check_rate(times_ns: Sequence[int], recipe_hz: float) -> RateNote:
    """Compare the rate of a run with the recipe's.

    Args:
        times_ns: (n,) nanoseconds, in any order.
        recipe_hz: The rate that the recipe states, Hz.
    """
    found = measured_rate_hz(times_ns)
    if found is None:
        return RateNote("has one time only, so its rate is not known", len(times_ns) > 1)
    text = f"{found:.4g} Hz by the time stamps, a row every {1 / found:.4g} s"
    if (shared := rows_per_stamp(times_ns)) > 1:
        text += f"; {shared:g} rows share each time stamp, so the clock is coarser than the rows"
    return _compared(found, recipe_hz, text)


def check_frame_rates(rates_hz: Sequence[float], recipe_hz: float) -> RateNote:
    """Compare the rates that frames state with the recipe's.

    Args:
        rates_hz: (n,) Hz.
        recipe_hz: The rate that the recipe states, Hz.
    """
    if not rates_hz:
        return RateNote("has no frame that can be read", True)
    found = float(np.median(rates_hz))
    text = f"{found:.4g} Hz as its frames say"
    if max(rates_hz) != min(rates_hz):
        text += f", from {min(rates_hz):.4g} to {max(rates_hz):.4g} Hz"
    return _compared(found, recipe_hz, text)


def _compared(found: float, recipe_hz: float, text: str) -> RateNote:
    """Return the note on a rate that was found, which `text` describes."""
    ratio = max(found / recipe_hz, recipe_hz / found)
    if ratio > RATE_TOLERANCE:
        rule = (
            f"has {text}; `sample_rate_hz` must be the rate of the recordings, within a factor of "
            f"{RATE_TOLERANCE}"
        )
        return RateNote(rule, True)
    if ratio > TOLD_RATIO:
        text += f"; the recipe says {recipe_hz:.4g} Hz, so time in the model is {ratio - 1:.0%} off"
    return RateNote(text, False)
