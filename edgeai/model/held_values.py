"""How many held (substituted) values a window bears before the decisions of a model change.

Values of windows are held by a seeded scheme, as the runtime holds a missing one: it takes the last
value before it. The number of held values rises until decisions change. Three patterns are tried,
because they hurt differently: single values anywhere, whole samples anywhere, and a run of samples
one after the other.

`good` promises that held values change no decision, so not one may change in GOOD_TRIALS seeded
trials of each pattern: then at most 0.1 % of such windows have another decision, with 95 %
confidence (3 / trials, the "rule of three"). The windows must hold healthy ones near the threshold,
because there decisions change first: a share that is small among all windows is still an alarm that
nobody has caused. `edgeai.training.anomaly.golden` chooses such windows.
"""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgeai.model.direction import Direction, is_abnormal
from edgeai.model.threshold_spec import HeldValuesSpec

GOOD_TRIALS = 3000  # of each pattern and number of held values, none of which changes a decision
BAD_SHARE = 0.1  # share of changed decisions, in any pattern, from which a window is bad
MAX_SHARE_HELD = 0.25  # largest share of a window that is tried
BAD_DRAWS = 4  # for each window, pattern and number of held values, above `good`
MAX_WINDOWS = 64
GROWTH = 1.35  # from one number of held values to the next
SEED = 20261128

Floats = npt.NDArray[np.float32]
Score = Callable[[Floats], npt.NDArray[np.float32]]
"""Returns the scores (N,) of windows (N, W, C)."""
Hold = Callable[[Floats, int, np.random.Generator], Floats]
"""Returns windows (N, W, C) with so many values held in each."""


class TooSlowError(Exception):
    """The measurement would take longer than its limit."""


def hold_values(windows: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return windows (N, W, C) with `count` single values held, none in the first sample."""
    number, length, channels = windows.shape
    held = _picked(number, (length - 1) * channels, count, rng)
    return _held(windows, held.reshape(number, length - 1, channels))


def hold_samples(windows: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return windows with whole samples held anywhere, and a part of one more: `count` values."""
    number, length, _ = windows.shape
    order = np.argsort(rng.random((number, length - 1)), axis=1)
    return _held(windows, _rows(order, count, windows, rng))


def hold_run(windows: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return windows with a run of samples held, one after the other: `count` values."""
    number, length, channels = windows.shape
    needed = min(-(-count // channels), length - 1)
    begin = rng.integers(0, length - needed, number)
    return _held(windows, _rows(begin[:, np.newaxis] + np.arange(needed), count, windows, rng))


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
    base = np.ascontiguousarray(windows[picked_windows(len(windows), max_windows)])
    decided = is_abnormal(score(base), threshold, abnormal)
    until = time.monotonic() + limit_seconds
    good, still_good = 0, True
    count = 1
    while count <= most:
        changed = 0.0
        draws = max(BAD_DRAWS, -(-GOOD_TRIALS // len(base))) if still_good else BAD_DRAWS
        for number, pattern in enumerate(PATTERNS):
            rng = np.random.default_rng((SEED, count, number))
            flips = 0
            for _ in range(draws):
                tried = pattern(base, count, rng)
                flips += int((is_abnormal(score(tried), threshold, abnormal) != decided).sum())
                if time.monotonic() > until:
                    raise TooSlowError
            changed = max(changed, flips / (draws * len(base)))
        still_good = still_good and changed == 0.0
        if still_good:
            good = count
        if changed > BAD_SHARE:
            return HeldValuesSpec(good=good, bad=count)
        count = max(count + 1, round(count * GROWTH))
    return HeldValuesSpec(good=good)


def picked_windows(count: int, most: int = MAX_WINDOWS) -> npt.NDArray[np.int_]:
    """Return the indices of the windows that are used: `most` of `count`, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def _picked(number: int, size: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return marks (N, size), `count` of each row at random places."""
    count = min(count, size)
    marks = np.zeros((number, size), bool)
    places = np.argpartition(rng.random((number, size)), count - 1, axis=1)[:, :count]
    np.put_along_axis(marks, places, True, axis=1)
    return marks


def _held(windows: Floats, held: npt.NDArray[np.bool_]) -> Floats:
    """Return copies in which each marked value of samples 1 to W - 1 repeats the one before it."""
    source = np.where(held, 0, np.arange(1, windows.shape[1])[:, np.newaxis])
    source = np.concatenate([np.zeros_like(source[:, :1]), source], axis=1)
    return np.take_along_axis(windows, np.maximum.accumulate(source, axis=1), axis=1)


def _rows(
    order: npt.NDArray[np.intp], count: int, windows: Floats, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Mark `count` values: whole samples in an order (N, K), random channels of the last one."""
    number, length, channels = windows.shape
    held = np.zeros((number, length - 1, channels), bool)
    whole = min(count // channels, order.shape[1])
    np.put_along_axis(held, order[:, :whole, np.newaxis], True, axis=1)
    rest = count - whole * channels
    if rest and whole < order.shape[1]:
        held[np.arange(number), order[:, whole]] = _picked(number, channels, rest, rng)
    return held
