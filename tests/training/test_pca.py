"""PCA monitoring: the mathematics, and the graph against float64."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra train")

from scipy import stats

from edgeai.providers.scorer import Scorer
from edgeai.training.anomaly.pca import (
    PcaModel,
    fit_pca,
    pca_outputs,
    principal_components,
    q_limit,
    t2_limit,
    trend_features,
)
from edgeai.training.anomaly.pca_graph import pca_graph
from edgeai.training.data.windows import scaling, windows_of

pytestmark = pytest.mark.train

SPANS = ("window", "trend", "median")
STATISTICS = ("t2", "q", "max", "combined")


OFFSETS = np.array([700.0, 1500.0, 0.9, -20.0, 0.0, 50.0, 3.0, 230.0])
SIZES = np.array([1.0, 40.0, 0.01, 5.0, 0.2, 1.0, 0.5, 2.0])


def plant(rows: int, seed: int = 0) -> np.ndarray:
    """(rows, 8) float32: two hidden causes, signals of very different size and offset."""
    rng = np.random.default_rng(seed)
    causes = np.sin(np.arange(rows)[:, None] / [7.0, 40.0]) + 0.5 * rng.normal(size=(rows, 2))
    mix = np.random.default_rng(99).uniform(0.5, 1.0, size=(2, 8)) * [
        [1, -1] * 4,
        [1, 1, -1, -1] * 2,
    ]
    noisy = causes @ mix + 0.2 * rng.normal(size=(rows, 8))
    return (noisy * SIZES + OFFSETS).astype(np.float32)


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    return windows_of(plant(3000), 5, 2)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("span", SPANS)
def test_graph_agrees_with_float64(windows, span, statistic):
    model = fit_pca(windows, span=span, statistic=statistic, variance_share=0.9)
    faulty = windows.copy()
    faulty[::2, :, 1] += 2 * SIZES[1]
    graph = Scorer(pca_graph(model).SerializeToString()).outputs(faulty)
    exact = pca_outputs(model, faulty)
    assert graph.keys() == exact.keys()
    for name in ("score", "t2"):
        np.testing.assert_allclose(graph[name], exact[name], rtol=1e-5, err_msg=name)
    # A share of a large sum may itself be small: it is as exact as the sum is.
    for name in ("q", "contribution"):
        scale = np.abs(exact["t2"] + exact["q"]).reshape(-1, *[1] * (exact[name].ndim - 1))
        assert (np.abs(graph[name] - exact[name]) <= 1e-5 * (np.abs(exact[name]) + scale)).all()


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("span", SPANS)
def test_contributions_sum_to_the_score_and_name_the_culprit(windows, span, statistic):
    model = fit_pca(windows, span=span, statistic=statistic, variance_share=0.9)
    faulty = windows[:50].copy()
    faulty[:, :, 2] += 4 * SIZES[2]
    outputs = pca_outputs(model, faulty)
    assert (outputs["contribution"] >= 0).all()
    np.testing.assert_allclose(outputs["contribution"].sum(axis=1), outputs["score"], rtol=1e-12)
    if statistic != "t2":  # T² sees only the plane that all signals share
        assert (outputs["contribution"].argmax(axis=1) == 2).mean() > 0.9


def test_t2_with_all_components_is_the_mahalanobis_distance():
    rows = plant(500)
    model = fit_pca(
        rows[:, None, :], span="window", statistic="t2", variance_share=None, components=8
    )
    z = (rows - model.mean) * model.scale
    inverse = np.linalg.inv(z.T @ z / (len(z) - 1))
    expected = np.einsum("ni,ij,nj->n", z, inverse, z)
    outputs = pca_outputs(model, rows[:, None, :])
    np.testing.assert_allclose(outputs["t2"], expected, rtol=1e-9)
    assert outputs["q"].max() < 1e-20


def test_statistics_split_the_distance():
    """|z|² is what the components explain plus Q."""
    rows = plant(500)[:, None, :]
    model = fit_pca(rows, variance_share=None, components=2)
    z = ((rows - model.mean) * model.scale)[:, 0]
    explained = ((z @ model.components) ** 2).sum(axis=1)
    np.testing.assert_allclose(explained + pca_outputs(model, rows)["q"], (z**2).sum(axis=1))


def test_median_is_the_median_of_the_samples(windows):
    model = fit_pca(windows, span="median", statistic="t2", variance_share=0.9)
    single = PcaModel(**{**vars(model), "length": 1})
    each = pca_outputs(single, windows.reshape(-1, 1, 8))
    for name in ("t2", "q"):
        expected = np.median(each[name].reshape(-1, 5), axis=1)
        np.testing.assert_allclose(pca_outputs(model, windows)[name], expected)


def test_combined_and_max_are_made_of_relative_statistics(windows):
    combined = fit_pca(windows, statistic="combined", variance_share=0.9)
    outputs = pca_outputs(combined, windows)
    t2, q = outputs["t2"] / combined.t2_limit, outputs["q"] / combined.q_limit
    np.testing.assert_allclose(outputs["score"], t2 + q)
    larger = PcaModel(**{**vars(combined), "statistic": "max"})
    np.testing.assert_allclose(pca_outputs(larger, windows)["score"], np.maximum(t2, q))


def test_limits_hold_what_they_promise_on_normal_data():
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(6, 6)) * [3, 2, 1, 0.5, 0.3, 0.2]
    train, fresh = (rng.normal(size=(n, 6)) @ mix.T for n in (2000, 200_000))
    model = fit_pca(
        train[:, None, :].astype(np.float32), variance_share=None, components=3, confidence=0.99
    )
    outputs = pca_outputs(model, fresh[:, None, :].astype(np.float32))
    assert (outputs["t2"] > model.t2_limit).mean() == pytest.approx(0.01, abs=0.004)
    assert (outputs["q"] > model.q_limit).mean() == pytest.approx(0.01, abs=0.004)


def test_limits_against_their_asymptotes():
    # With many samples T² is chi-squared; with equal residual variances Q is a scaled chi-squared.
    assert t2_limit(3, 10**7, 0.99) == pytest.approx(stats.chi2.ppf(0.99, 3), rel=1e-4)
    assert q_limit(np.full(50, 0.2), 0.99) == pytest.approx(
        0.2 * stats.chi2.ppf(0.99, 50), rel=2e-3
    )
    assert q_limit(np.empty(0), 0.99) == 1.0


def test_components_are_orthonormal_ordered_and_of_fixed_sign():
    rows = plant(500).astype(float)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    kept, variances, rest = principal_components(rows, 0.9, None)
    both = np.concatenate([variances, rest])
    assert (np.diff(both) <= 0).all()
    assert both.sum() == pytest.approx(rows.var(axis=0, ddof=1).sum())
    assert np.cumsum(both)[len(variances) - 1] / both.sum() >= 0.9
    assert len(variances) == 1 or np.cumsum(both)[len(variances) - 2] / both.sum() < 0.9
    np.testing.assert_allclose(kept.T @ kept, np.eye(kept.shape[1]), atol=1e-12)
    flipped, _, _ = principal_components(-rows, 0.9, None)
    np.testing.assert_allclose(flipped, kept, atol=1e-12)


def test_trend_features_of_a_ramp():
    flat = np.random.default_rng(0).normal(size=(1000, 8 * 2))
    features = trend_features(flat, 8, 2)
    np.testing.assert_allclose((flat @ features).std(axis=0), 1.0, rtol=0.01)
    ramp = np.zeros((8, 2))
    ramp[:, 1] = np.linspace(-1, 1, 8)  # channel 1 rises about its mean
    level_0, level_1, slope_0, slope_1 = ramp.reshape(-1) @ features
    assert level_0 == slope_0 == 0
    assert abs(level_1) < 1e-6 < slope_1


def test_a_left_out_channel_changes_nothing(windows):
    model = fit_pca(windows[:, :, :7], span="median", statistic="max", variance_share=0.9)
    wider = PcaModel(
        **{
            **vars(model),
            "mean": np.append(model.mean, 0.0),
            "scale": np.append(model.scale, 0.0),
            "components": np.vstack([model.components, np.zeros(model.components.shape[1])]),
        }
    )
    a = Scorer(pca_graph(model).SerializeToString()).outputs(windows[:, :, :7])
    b = Scorer(pca_graph(wider).SerializeToString()).outputs(windows)
    np.testing.assert_allclose(a["score"], b["score"], rtol=1e-6)
    assert (b["contribution"][:, 7] == 0).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"length": 4, "median": True}, "odd"),
        ({"length": 7}, "rows of components"),
        ({"variances": np.zeros(20)}, "positive variances"),
        ({"features": np.eye(40)[:, :39]}, "features"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(windows, change, text):
    model = fit_pca(windows, variance_share=None, components=20)
    if change.get("median"):
        change = {**change, "components": np.eye(8), "variances": np.ones(8)}
    with pytest.raises(ValueError, match=text):
        pca_graph(PcaModel(**{**vars(model), **change}))


def test_a_constant_channel_is_refused(windows):
    constant = windows.copy()
    constant[:, :, 3] = 7.5
    with pytest.raises(ValueError, match="channel 3 is constant"):
        scaling(constant)


def test_too_few_windows_are_refused(windows):
    with pytest.raises(ValueError, match="too few"):
        fit_pca(windows[:5], variance_share=None, components=20)
