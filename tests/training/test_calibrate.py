"""The threshold: clusters, the fit of the tail, and false alarms on data with a known tail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.alarms.alarm import AlarmRule
from edgeai.training.anomaly.evaluate import (
    ScoredRun,
    count_false_alarms,
    evaluate_detection,
    find_activations,
)
from edgeai.training.calibrate import (
    SECONDS_PER_DAY,
    Tail,
    cluster_peaks,
    fit_tail,
    pareto_moments,
    sustained,
    upper_return_level,
    windows_in,
)

NS = 1_000_000_000


def rule(threshold: float, on: float = 0.0, off: float = 0.0, deadband: float = 0.0) -> AlarmRule:
    return AlarmRule(threshold, deadband, round(on * NS), round(off * NS), latch=False)


def run(scores, hop: float = 0.5, **fault) -> ScoredRun:
    scores = np.asarray(scores, float)
    return ScoredRun(scores, hop * np.arange(len(scores)), **fault)


def pareto(rng, shape: float, scale: float, count: int) -> np.ndarray:
    uniform = rng.uniform(size=count)
    return scale * -np.log(uniform) if shape == 0 else scale / shape * (uniform**-shape - 1)


@pytest.mark.parametrize("shape", [0.0, 0.1, 0.3])
def test_moments_recover_the_parameters(shape):
    excess = pareto(np.random.default_rng(1), shape, 2.0, 200_000)
    scale, found = pareto_moments(excess)
    assert scale == pytest.approx(2.0, rel=0.03)
    assert found == pytest.approx(shape, abs=0.02)


def test_a_short_tail_is_treated_as_exponential_with_its_mean():
    excess = np.random.default_rng(1).uniform(0, 2, 10_000)  # shape -1
    assert pareto_moments(excess) == (pytest.approx(excess.mean()), 0.0)


def test_a_very_long_tail_is_held_at_one_half():
    excess = pareto(np.random.default_rng(1), 0.8, 1.0, 10_000)
    assert pareto_moments(excess)[1] == 0.5


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=50))
@settings(max_examples=200, deadline=None)
def test_moments_are_always_usable(values):
    scale, shape = pareto_moments(np.array(values))
    assert scale > 0
    assert 0 <= shape <= 0.5


@pytest.mark.parametrize("shape", [0.0, 0.25])
def test_return_level_is_passed_as_often_as_said(shape):
    """On the distribution itself, there must be lambda clusters a day above x(lambda)."""
    tail = Tail(level=3.0, clusters_per_day=500.0, scale=0.7, shape=shape, excess=np.empty(0))
    excess = 3.0 + pareto(np.random.default_rng(2), shape, 0.7, 2_000_000)
    level = tail.return_level(1.0)
    assert 500 * (excess > level).mean() == pytest.approx(1.0, rel=0.1)
    assert tail.return_level(10_000.0) == 3.0


def test_clusters():
    values = np.array([0, 5, 6, 0, 7, 0, 0, 0, 9, 0, 0], float)
    assert cluster_peaks(values, 1.0, 2).tolist() == [7, 9]
    assert cluster_peaks(values, 1.0, 1).tolist() == [6, 7, 9]
    assert cluster_peaks(values, 1.0, 4).tolist() == [9]
    assert cluster_peaks(values, 9.0, 1).tolist() == []


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.5, 1.0, 1.2, 2.0]),
)
@settings(max_examples=300, deadline=None)
def test_the_sustained_score_alarms_exactly_when_the_runtime_does(scores, threshold, on):
    healthy = run(scores)
    count = windows_in(on, 0.5)
    expected = (sustained(healthy.scores, count) > threshold).any()
    assert bool(find_activations(healthy, rule(threshold, on))) == expected


def test_calibrated_threshold_keeps_the_rate_on_fresh_data():
    """Autocorrelated normal scores: calibrate on 4 hours, count on 20 days."""
    rng = np.random.default_rng(7)

    def scores(days: float) -> np.ndarray:
        count = round(days * SECONDS_PER_DAY / 2)
        return np.convolve(rng.normal(size=count + 4), np.ones(5) / 5, "valid")

    separation, on = 5, 4.0
    tail = fit_tail(
        [scores(1 / 12) for _ in range(2)],
        2.0,
        count=windows_in(on, 2.0),
        separation=separation,
        share=0.02,
    )
    threshold = upper_return_level(tail, 5.0)
    found = count_false_alarms([run(scores(20), hop=2.0)], rule(threshold, on, off=10.0), 5.0)
    assert 0.2 * 20 <= found["alarms"] <= 5.0 * 20


def test_the_upper_level_covers_the_true_one_nine_times_in_ten():
    true = Tail(0.0, 500.0, 1.0, 0.0, np.empty(0)).return_level(1.0)
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(100):
        excess = pareto(rng, 0.0, 1.0, int(rng.poisson(200)))
        scale, shape = pareto_moments(excess)
        tail = Tail(0.0, 500.0 * len(excess) / 200, scale, shape, excess)
        covered += upper_return_level(tail, 1.0) >= true
    assert covered >= 85
    assert upper_return_level(tail, 1.0) == upper_return_level(tail, 1.0)


def test_too_little_data_is_refused():
    with pytest.raises(ValueError, match="separate excursions"):
        fit_tail([np.arange(50.0)], 1.0, count=1, separation=1, share=0.05)
    with pytest.raises(ValueError, match="as long as the alarm's on delay"):
        fit_tail([np.arange(3.0)], 1.0, count=9, separation=1, share=0.05)


def test_false_alarms_are_counted_by_day():
    quiet, loud = np.zeros(7201), np.zeros(7201)
    loud[[100, 101, 3000]] = 5.0
    found = count_false_alarms([run(quiet), run(loud)], rule(1.0), 3.0)
    assert (found["hours"], found["alarms"], found["promised_per_day"]) == (2.0, 2, 3.0)
    assert found["share_in_alarm"] == 0.000208  # three of the 14,400 half seconds


def test_detection_counts_from_the_start_of_the_fault():
    late = [0] * 20 + [5] * 20
    runs = [
        run(late, fault="leak", severity=1.0, fault_seconds=8.0),
        run([0] * 40, fault="leak", severity=1.0, fault_seconds=8.0),
        # Active since before the fault, so the alarm does not show the fault.
        run([5] * 40, fault="leak", severity=0.5, fault_seconds=8.0),
    ]
    half, full = evaluate_detection(runs, rule(1.0, on=1.0))
    wanted = {"fault": "leak", "severity": 0.5, "runs": 1, "detected": 0.0, "active_before": 1}
    assert half == wanted
    assert full["detected"] == 0.5
    assert full["delay_median_seconds"] == full["delay_worst_seconds"] == 3.0
