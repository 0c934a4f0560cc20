"""Bring the samples of a cycle to the length of the model's window.

`resample`: sample j of the window, j = 0 ... W - 1, is the value at the time

    t(j) = t_first + (t_last - t_first) * j / (W - 1)

on the straight line between the samples before and after it, of which the first is at t_first and
the last at t_last. For W = 1 it is the value in the middle, at (t_first + t_last) / 2.

`pad`: the first n samples of the window are those of the cycle; the others repeat the last one.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.streams.cycles.settings import Times
from edgeai.streams.settings import Floats


class Samples(NamedTuple):
    """Samples of one cycle, n of them, in the order of time."""

    times: Times
    """(n,) nanoseconds, rising."""
    rows: Floats
    """(n, C) float32, finite."""
    substituted: npt.NDArray[np.int32] | None
    """(n,) number of values that stand for others; None: all 0."""
    uncertain: npt.NDArray[np.bool_] | None
    """(n,) whether a value is outside its valid range; None: all False."""


class Fitted(NamedTuple):
    """The window of a cycle."""

    window: Floats
    """(W, C) float32."""
    substituted: int
    """How many of its values stand for others."""
    filled: int
    """How many of its samples are samples of the cycle; the others are padding."""


def resample(samples: Samples, length: int) -> Fitted:
    """Return `length` samples at even steps over the cycle, on the lines between its samples."""
    times, rows = samples.times, samples.rows
    # From the first sample, so that float64 holds nanoseconds exactly.
    at = (times - times[0]).astype(np.float64)
    share = np.array([0.5]) if length == 1 else np.arange(length) / (length - 1)
    wanted = at[-1] * share
    after = np.clip(np.searchsorted(at, wanted, side="left"), 0, len(at) - 1)
    before = np.maximum(after - 1, 0)
    span = at[after] - at[before]
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(span > 0, (wanted - at[before]) / span, 0.0)[:, np.newaxis]
    low, high = rows[before].astype(np.float64), rows[after].astype(np.float64)
    window = (low + (high - low) * weight).astype(np.float32)
    exact = weight[:, 0] >= 1.0
    window[exact] = rows[after[exact]]
    substituted = 0
    if samples.substituted is not None:
        counts = samples.substituted
        used = np.where(exact, counts[after], np.maximum(counts[before], counts[after]))
        substituted = int(np.minimum(used, rows.shape[1]).sum())
    return Fitted(window, substituted, length)


def pad(samples: Samples, length: int) -> Fitted:
    """Return the samples of the cycle, and behind them the last one again up to `length`.

    Samples beyond `length` are left out; a cycle of more samples is `overlong`.
    """
    count = min(len(samples.rows), length)
    window = np.empty((length, samples.rows.shape[1]), np.float32)
    window[:count] = samples.rows[:count]
    window[count:] = samples.rows[count - 1]
    substituted = 0
    if samples.substituted is not None:
        counts = np.minimum(samples.substituted[:count], samples.rows.shape[1])
        substituted = int(counts.sum()) + int(counts[-1]) * (length - count)
    return Fitted(window, substituted, count)


Fit = Callable[[Samples, int], Fitted]

FITS: dict[str, Fit] = {"resample": resample, "pad": pad}
"""Ways to bring a cycle to the length of the window, by the name in the configuration."""
