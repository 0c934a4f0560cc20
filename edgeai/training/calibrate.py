"""Compute the threshold from healthy scores and the accepted number of false alarms a day.

An alarm needs a score above the threshold for the whole on delay. The fit therefore uses the
smallest score within each on delay (the sustained score). Values of it above a high level u come in
clusters. The largest value of each cluster is taken (peaks over threshold); its excess over u
follows a generalised Pareto distribution. With r clusters a day above u, the level exceeded on
average lambda times a day is

    x = u + sigma / xi ((r / lambda)^xi - 1),    or u + sigma ln(r / lambda) for xi = 0.

The shape xi is limited to 0 ... 1/2. Below 0 the tail would end at a finite value, which some hours
of healthy data cannot prove. Above 1/2 probability-weighted moments cannot estimate it.

A day of data gives only a rough estimate of the level of a rare event. The threshold is therefore
the upper end of the estimate's one-sided 90 % interval, found by resampling the clusters.

Sources: S. Coles, An Introduction to Statistical Modeling of Extreme Values (2001), sections 4.2,
4.3.3 (return levels) and 5.3.2 (declustering); J. R. M. Hosking, J. R. Wallis, "Parameter and
quantile estimation for the generalized Pareto distribution", Technometrics 29 (1987) 339 (moments);
A. Siffer et al., "Anomaly detection in streams with extreme value theory", KDD 2017 (the use for
thresholds); B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13
(percentile intervals).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeai.training.data.windows import Floats

MIN_CLUSTERS = 20  # fewer do not determine the tail
SECONDS_PER_DAY = 86_400.0
MAX_SHAPE = 0.5  # probability-weighted moments are not valid above
CONFIDENCE = 0.9  # one-sided, of the threshold
RESAMPLES = 1000


@dataclass(frozen=True)
class Tail:
    """The fitted tail of the sustained score.

    Attributes:
        level: The level u.
        clusters_per_day: Clusters above u in a day, r.
        scale: Scale sigma of the excess over u.
        shape: Shape xi of the excess over u.
        excess: (n,), excess of each cluster's peak over u.
    """

    level: float
    clusters_per_day: float
    scale: float
    shape: float
    excess: Floats

    def return_level(self, times_per_day: float) -> float:
        """Return the score exceeded `times_per_day` times a day on average, at least u."""
        ratio = max(1.0, self.clusters_per_day / times_per_day)
        if self.shape < 1e-9:
            return self.level + self.scale * math.log(ratio)
        return self.level + self.scale / self.shape * (math.pow(ratio, self.shape) - 1.0)


def upper_return_level(tail: Tail, times_per_day: float) -> float:
    """Return the upper end of the one-sided 90 % interval of a return level.

    Each resample also draws the number of clusters, because clusters form a Poisson process. The
    result is at least the estimate itself, and the same in every call (fixed seed).
    """
    rng = np.random.default_rng(0)
    count = len(tail.excess)
    levels = []
    for _ in range(RESAMPLES):
        drawn = rng.choice(tail.excess, max(2, int(rng.poisson(count))))
        scale, shape = pareto_moments(drawn)
        rate = tail.clusters_per_day * len(drawn) / count
        again = Tail(tail.level, rate, scale, shape, drawn)
        levels.append(again.return_level(times_per_day))
    return max(tail.return_level(times_per_day), float(np.quantile(levels, CONFIDENCE)))


def windows_in(delay_seconds: float, hop_seconds: float) -> int:
    """Return how many consecutive windows span a delay, both ends included."""
    return math.ceil(delay_seconds / hop_seconds - 1e-9) + 1


def sustained(scores: Floats, count: int) -> Floats:
    """Return the smallest of each `count` consecutive scores, (n - count + 1,) or empty."""
    if len(scores) < count:
        return np.empty(0)
    smallest: Floats = np.lib.stride_tricks.sliding_window_view(scores, count).min(axis=1)
    return smallest


def cluster_peaks(values: Floats, level: float, separation: int) -> Floats:
    """Return the largest value of each cluster above a level.

    Args:
        values: (n,) in order of time.
        level: Values above it belong to a cluster.
        separation: Consecutive values at or below the level that end a cluster, at least 1.
    """
    above = np.flatnonzero(values > level)
    if not above.size:
        return np.empty(0)
    starts = np.flatnonzero(np.diff(above, prepend=above[0] - separation - 1) > separation)
    peaks: Floats = np.maximum.reduceat(values[above], starts)
    return peaks


def pareto_moments(excess: Floats) -> tuple[float, float]:
    """Estimate scale and shape of a generalised Pareto distribution (weighted moments).

    With a0 the mean and a1 = mean of x (1 - F(x)): k = a0 / (a0 - 2 a1) - 2,
    sigma = 2 a0 a1 / (a0 - 2 a1), xi = -k (Hosking and Wallis 1987, section 3). A shape outside
    [0, 1/2] is set to the nearer end, and the scale to a0 (1 - xi), which keeps the mean.

    Args:
        excess: (n,), positive, n > 1.
    """
    ordered = np.sort(excess)
    n = len(ordered)
    a0 = float(ordered.mean())
    a1 = float((ordered * (n - np.arange(1, n + 1) + 0.35) / n).mean())
    spread = a0 - 2.0 * a1
    shape = 2.0 - a0 / spread if spread > 0.0 else 0.0
    if 0.0 <= shape <= MAX_SHAPE:
        return 2.0 * a0 * a1 / spread, shape
    shape = min(MAX_SHAPE, max(0.0, shape))
    return a0 * (1.0 - shape), shape


def fit_tail(
    runs: Sequence[Floats], hop_seconds: float, *, count: int, separation: int, share: float
) -> Tail:
    """Fit the tail of the sustained score.

    Args:
        runs: Scores of healthy runs, each in order of time, one every hop.
        hop_seconds: Time between two scores, s.
        count: Consecutive scores that raise an alarm, from `windows_in`.
        separation: Consecutive scores at or below u that end a cluster; at least the off delay.
        share: Share of the sustained scores above u.

    Raises:
        ValueError: No run is long enough, or there are fewer than `MIN_CLUSTERS` clusters.
    """
    held = [sustained(scores, count) for scores in runs]
    everything = np.concatenate(held)
    if not everything.size:
        msg = "no healthy run to calibrate on is as long as the alarm's on delay"
        raise ValueError(msg)
    level = float(np.quantile(everything, 1.0 - share))
    peaks = np.concatenate([cluster_peaks(values, level, separation) for values in held])
    if len(peaks) < MIN_CLUSTERS:
        times = MIN_CLUSTERS / max(1, len(peaks))
        msg = (
            f"only {len(peaks)} separate excursions in the data to calibrate on, at least "
            f"{MIN_CLUSTERS} are needed: take about {times:.1f} times as much data, or a larger "
            "calibration.tail_share"
        )
        raise ValueError(msg)
    days = everything.size * hop_seconds / SECONDS_PER_DAY
    scale, shape = pareto_moments(peaks - level)
    return Tail(level, len(peaks) / days, scale, shape, peaks - level)
