"""How many held (substituted) values a window bears before the decisions of a model change.

Values of golden windows are held by a seeded scheme, as the runtime holds a missing one: it takes
the last value before it. The number of held values rises until decisions change. Three patterns are
tried, because they hurt differently: single values anywhere, whole samples anywhere, and a run of
samples one after the other.
"""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgeai.model.direction import Direction, is_abnormal
from edgeai.model.manifest import HeldValuesSpec

GOOD_SHARE = 0.01  # largest share of changed decisions that a window "bears", in every pattern
BAD_SHARE = 0.1  # share of changed decisions, in any pattern, from which a window is bad
MAX_SHARE_HELD = 0.25  # largest share of a window that is tried
DRAWS = 4  # of each pattern, for each window and number of held values
MAX_WINDOWS = 64
GROWTH = 1.35  # from one number of held values to the next
SEED = 20261128

Floats = npt.NDArray[np.float32]
Score = Callable[[Floats], npt.NDArray[np.float32]]
"""Returns the scores (N,) of windows (N, W, C)."""
Hold = Callable[[Floats, int, np.random.Generator], Floats]


class TooSlowError(Exception):
    """The measurement would take longer than its limit."""


def hold_values(window: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return a window (W, C) with `count` single values held, anywhere but in its first sample."""
    length, channels = window.shape
    held = np.zeros((length - 1) * channels, bool)
    held[rng.choice(held.size, min(count, held.size), replace=False)] = True
    return _held(window, held.reshape(length - 1, channels))


def hold_samples(window: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return a window with whole samples held anywhere, and a part of one more: `count` values."""
    length, channels = window.shape
    order = rng.permutation(length - 1)
    return _held(window, _rows(order, count, length - 1, channels, rng))


def hold_run(window: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return a window with a run of samples held, one after the other: `count` values."""
    length, channels = window.shape
    needed = min(-(-count // channels), length - 1)
    begin = int(rng.integers(0, length - needed))
    return _held(window, _rows(np.arange(begin, begin + needed), count, length - 1, channels, rng))


PATTERNS: tuple[Hold, ...] = (hold_values, hold_samples, hold_run)


def measure_held_values(
    windows: Floats,
    score: Score,
    threshold: float,
    abnormal: Direction = "high",
    *,
    max_windows: int = MAX_WINDOWS,
    limit_seconds: float = float("inf"),
) -> HeldValuesSpec:
    """Measure how many held values a window bears; the same in every call.

    Args:
        windows: (N, W, C), healthy and faulty.
        score: The model's score.
        threshold: Of the score.
        abnormal: The abnormal side of the threshold.
        max_windows: Use so many windows at most, evenly spread.
        limit_seconds: Give up after this time.

    Raises:
        TooSlowError: The limit was reached.
    """
    length, channels = windows.shape[1:]
    most = int(MAX_SHARE_HELD * length * channels)
    if length < 2 or most < 1:  # a window of one sample has no value to hold
        return HeldValuesSpec(good=0)
    picked = np.linspace(0, len(windows) - 1, min(len(windows), max_windows)).astype(int)
    base = np.ascontiguousarray(windows[picked])
    decided = is_abnormal(score(base), threshold, abnormal)
    until = time.monotonic() + limit_seconds
    good, still_good = 0, True
    count = 1
    while count <= most:
        changed = 0.0
        for number, pattern in enumerate(PATTERNS):
            rng = np.random.default_rng((SEED, count, number))
            flips = 0
            for _ in range(DRAWS):
                tried = np.stack([pattern(window, count, rng) for window in base])
                flips += int((is_abnormal(score(tried), threshold, abnormal) != decided).sum())
                if time.monotonic() > until:
                    raise TooSlowError
            changed = max(changed, flips / (DRAWS * len(base)))
        still_good = still_good and changed <= GOOD_SHARE
        if still_good:
            good = count
        if changed > BAD_SHARE:
            return HeldValuesSpec(good=good, bad=count)
        count = max(count + 1, round(count * GROWTH))
    return HeldValuesSpec(good=good)


def _held(window: Floats, held: npt.NDArray[np.bool_]) -> Floats:
    """Return a copy in which each marked value of samples 1 to W - 1 repeats the one before it."""
    source = np.where(held, 0, np.arange(1, len(window))[:, np.newaxis])
    source = np.maximum.accumulate(np.vstack([np.zeros_like(source[:1]), source]), axis=0)
    return np.take_along_axis(window, source, axis=0)


def _rows(
    order: npt.NDArray[np.intp],
    count: int,
    length: int,
    channels: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Mark `count` values: whole samples in an order, and random channels of the last one."""
    held = np.zeros((length, channels), bool)
    whole = min(count // channels, len(order))
    held[order[:whole]] = True
    rest = count - whole * channels
    if rest and whole < len(order):
        held[order[whole], rng.choice(channels, rest, replace=False)] = True
    return held
