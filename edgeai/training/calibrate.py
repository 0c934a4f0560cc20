"""From scores of healthy running to the threshold that raises few enough false alarms.

An alarm needs the score above the threshold for the whole on delay, so what counts is the smallest
score in any stretch as long as the on delay. Its excursions above a high level u come in clusters;
the largest value of each is taken (peaks over threshold), and their excess over u follows a
generalised Pareto distribution. With r clusters a day above u, the level passed on average lambda
times a day is

    x = u + sigma / xi ((r / lambda)^xi - 1),    or u + sigma ln(r / lambda) for xi = 0.

The shape xi is held between 0 and 1/2: below 0 the tail would end at a finite value, which some
hours of healthy data do not prove; above 1/2 probability-weighted moments do not estimate it.

A day of data fixes the level of a rare event only roughly (on the simulated furnace, calibrations
on 20 h each gave 2.2 to 2.9 for 0.1 a day). So the threshold is not the estimate but the upper end
of its one-sided 90 % interval, by resampling the clusters.

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

MIN_CLUSTERS = 20
SECONDS_PER_DAY = 86_400.0
MAX_SHAPE = 0.5
CONFIDENCE = 0.9
RESAMPLES = 1000


@dataclass(frozen=True)
class Tail:
    """The fitted tail.

    Attributes:
        level: u.
        clusters_per_day: Above u.
        scale: Of the excess over u.
        shape: Of the excess over u.
        excess: (n,), excess of each cluster's peak over u.
    """

    level: float
    clusters_per_day: float
    scale: float
    shape: float
    excess: Floats

    def return_level(self, times_per_day: float) -> float:
        """Score passed `times_per_day` times a day on average; not below the level u."""
        ratio = max(1.0, self.clusters_per_day / times_per_day)
        if self.shape < 1e-9:
            return self.level + self.scale * math.log(ratio)
        return self.level + self.scale / self.shape * (math.pow(ratio, self.shape) - 1.0)


def upper_return_level(tail: Tail, times_per_day: float) -> float:
    """Upper end of the one-sided 90 % interval of a return level, not below the estimate itself.

    Clusters come as a Poisson process, so their number is drawn anew too. Deterministic.
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
    """Windows in a row that must be abnormal for a delay to pass."""
    return math.ceil(delay_seconds / hop_seconds - 1e-9) + 1


def sustained(scores: Floats, count: int) -> Floats:
    """(n - count + 1,): the smallest of each `count` scores in a row, empty for a shorter run."""
    if len(scores) < count:
        return np.empty(0)
    smallest: Floats = np.lib.stride_tricks.sliding_window_view(scores, count).min(axis=1)
    return smallest


def cluster_peaks(values: Floats, level: float, separation: int) -> Floats:
    """Largest value of each cluster above a level.

    Args:
        values: (n,) in order of time.
        level: What counts as an exceedance is above it.
        separation: Values at or below the level in a row that end a cluster, at least 1.
    """
    above = np.flatnonzero(values > level)
    if not above.size:
        return np.empty(0)
    starts = np.flatnonzero(np.diff(above, prepend=above[0] - separation - 1) > separation)
    peaks: Floats = np.maximum.reduceat(values[above], starts)
    return peaks


def pareto_moments(excess: Floats) -> tuple[float, float]:
    """Scale and shape of a generalised Pareto distribution by probability-weighted moments.

    With a0 the mean and a1 = mean of x (1 - F(x)): k = a0 / (a0 - 2 a1) - 2,
    sigma = 2 a0 a1 / (a0 - 2 a1), xi = -k (Hosking and Wallis 1987, section 3). A shape outside
    [0, 1/2] is brought to the nearer end, with the scale that keeps the mean, a0 (1 - xi).

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
        hop_seconds: Time between two scores.
        count: Scores in a row that raise an alarm, from `windows_in`.
        separation: Scores below the level that end a cluster; at least the off delay.
        share: Part of the sustained scores that lies above u.

    Raises:
        ValueError: Fewer than 20 clusters: the tail cannot be fitted on so little data.
    """
    held = [sustained(scores, count) for scores in runs]
    everything = np.concatenate(held)
    if not everything.size:
        msg = "no healthy run to calibrate on is as long as the alarm's on delay"
        raise ValueError(msg)
    level = float(np.quantile(everything, 1.0 - share))
    peaks = np.concatenate([cluster_peaks(values, level, separation) for values in held])
    if len(peaks) < MIN_CLUSTERS:
        msg = (
            f"only {len(peaks)} separate excursions in the data to calibrate on, at least "
            f"{MIN_CLUSTERS} are needed: take longer runs, or a larger tail_share"
        )
        raise ValueError(msg)
    days = everything.size * hop_seconds / SECONDS_PER_DAY
    scale, shape = pareto_moments(peaks - level)
    return Tail(level, len(peaks) / days, scale, shape, peaks - level)
