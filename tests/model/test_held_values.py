"""How many held values a window bears before decisions change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeai.model.held_values import (
    PATTERNS,
    Hold,
    TooSlowError,
    hold_run,
    hold_samples,
    hold_values,
    measure_held_values,
)
from edgeai.model.package import load_package
from edgeai.providers.scorer import Scorer

ROOT = Path(__file__).parents[2]
Floats = npt.NDArray[np.float32]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 20, 27])
def test_a_held_value_repeats_the_last_one_that_was_not_held(pattern: Hold, count: int) -> None:
    window = np.arange(30, dtype=np.float32).reshape(10, 3)  # each value is another
    (held,) = pattern(window[np.newaxis], count, np.random.default_rng(count))
    changed = held != window
    assert changed.sum() == count
    assert not changed[0].any(), "the first sample has nothing before it"
    for channel in range(3):
        for row in range(1, 10):
            if changed[row, channel]:
                assert held[row, channel] == held[row - 1, channel]


def test_the_patterns_differ() -> None:
    window = np.arange(300, dtype=np.float32).reshape(1, 100, 3)
    rng = np.random.default_rng(1)
    samples = (hold_samples(window, 9, rng) != window)[0].any(1)
    run = (hold_run(window, 9, rng) != window)[0].any(1)
    values = (hold_values(window, 9, rng) != window)[0]
    assert samples.sum() == run.sum() == 3
    assert np.ptp(np.flatnonzero(run)) == 2, "one after the other"
    assert np.ptp(np.flatnonzero(samples)) > 2
    assert values.any(1).sum() > 3


def steps(count: int = 64) -> Floats:
    """Return windows (N, 20, 2): half of them rise by 1 in a sample, half do not."""
    rng = np.random.default_rng(0)
    windows = rng.normal(0, 0.05, (count, 20, 2)).cumsum(1)
    windows[count // 2 :] += np.arange(20)[:, None]
    return windows.astype(np.float32)


def slope(windows: Floats) -> Floats:
    return (windows[:, -1] - windows[:, 0]).mean(1)


def largest_step(windows: Floats) -> Floats:
    return np.abs(np.diff(windows, axis=1)).max((1, 2))


def test_a_robust_score_bears_many_and_a_sharp_one_few() -> None:
    """Held values change a slope only at the window's end, but double a step."""
    robust = measure_held_values(steps(), slope, 9.5)
    sharp = measure_held_values(steps(), largest_step, 1.45)
    assert robust.good >= 5
    assert robust.bad is None
    assert sharp.good == 0
    assert sharp.bad == 1, "each held value makes a step of 2"


def test_the_side_of_the_threshold_counts() -> None:
    high = measure_held_values(steps(), slope, 9.5)
    low = measure_held_values(steps(), lambda windows: -slope(windows), -9.5, "low")
    assert low == high


def test_it_is_the_same_each_time_and_does_not_change_the_windows() -> None:
    windows = steps()
    before = windows.copy()
    first = measure_held_values(windows, largest_step, 1.2)
    assert measure_held_values(windows, largest_step, 1.2) == first
    np.testing.assert_array_equal(windows, before)


def test_a_window_of_one_sample_bears_none() -> None:
    windows = np.zeros((40, 1, 3), np.float32)
    assert measure_held_values(windows, lambda given: given.sum((1, 2)), 1.0).good == 0


def test_a_slow_model_is_given_up() -> None:
    with pytest.raises(TooSlowError):
        measure_held_values(steps(), slope, 9.5, limit_seconds=0.0)


def test_one_healthy_window_near_the_threshold_is_enough() -> None:
    """A share of 1 % of all decisions was allowed: alarms on a healthy machine, of good quality."""
    windows = steps(200)[:100]  # none of them rises
    windows[0, :, :] = 0
    windows[0, 10:, 0] = 9.49 / 10 * np.arange(10)  # near the threshold, and it goes over by a hold
    windows[0, 9, 0] = -0.5

    def largest_jump(given: Floats) -> Floats:
        return np.abs(np.diff(given[:, :, 0], axis=1)).max(1)

    threshold = float(largest_jump(windows)[0]) * 1.01
    all_of_them = len(windows)
    near = measure_held_values(windows, largest_jump, threshold, max_windows=all_of_them)
    far = measure_held_values(windows[1:], largest_jump, threshold, max_windows=all_of_them)
    assert near.good == 0
    assert far.good > 0


@pytest.mark.parametrize("name", ["moulding-pca", "melting-tank-pca", "agitator-autoencoder"])
def test_the_shipped_packages_keep_their_promise_on_their_golden_windows(name: str) -> None:
    package = load_package(ROOT / "models" / name)
    manifest = package.manifest
    windows, _ = package.golden()
    scorer = Scorer(package.graph.read_bytes())
    assert manifest.held_values is not None
    decided = scorer.outputs(windows)["score"] > manifest.threshold.value
    for number, pattern in enumerate(PATTERNS):
        rng = np.random.default_rng(number)
        for _ in range(5):
            held = pattern(windows, manifest.held_values.good, rng)
            changed = (scorer.outputs(held)["score"] > manifest.threshold.value) != decided
            assert not changed.any()
