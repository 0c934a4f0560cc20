"""PCA monitoring: Hotelling's T² in the plane of normal operation, Q (SPE) off it.

A vector z (D,) of standardised values is split by the k leading principal directions P (D, k), with
variances lambda: t = P' z, T² = sum(t² / lambda), Q = |z - P t|². T² asks whether the machine is
far from its mean in a known way, Q whether the signals still move together as they did.

Sources: J. E. Jackson, G. S. Mudholkar, "Control procedures for residuals associated with principal
component analysis", Technometrics 21 (1979) 341; T. Kourti, J. F. MacGregor, "Process analysis,
monitoring and diagnosis, using multivariate projection methods", Chemometrics and Intelligent
Laboratory Systems 28 (1995) 3; W. Ku, R. H. Storer, C. Georgakis, "Disturbance detection and
isolation by dynamic principal component analysis", ibid. 30 (1995) 179 (time-lagged windows).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeai.training.data.windows import Floats, scaling

Statistic = Literal["t2", "q", "max", "combined"]
Span = Literal["window", "trend", "median"]
Windows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PcaModel:
    """Everything the graph of a PCA monitor is made of.

    Attributes:
        length: Samples W in a window.
        mean: (C,), engineering units.
        scale: (C,), 1 / standard deviation; 0 leaves a channel out.
        features: (W*C, D) or None. Each vector is the standardised window times this; D is a
            multiple of C, and feature i belongs to channel i modulo C. None: nothing is multiplied.
        median: False: one vector a window. True: a vector a sample, of which each statistic is the
            median over the window; W must be odd and there are no features.
        components: (D, k), orthonormal columns; without features D is W*C, or C with `median`.
        variances: (k,), variance along each component, all positive.
        t2_limit: T² that counts as 1 in the score.
        q_limit: Q that counts as 1 in the score.
        statistic: What the score is: `t2` and `q` relative to their limit, the larger of both
            (`max`) or their sum (`combined`).
    """

    length: int
    mean: Floats
    scale: Floats
    features: Floats | None
    median: bool
    components: Floats
    variances: Floats
    t2_limit: float
    q_limit: float
    statistic: Statistic


def principal_components(
    vectors: Floats, variance_share: float | None, components: int | None
) -> tuple[Floats, Floats, Floats]:
    """Principal components of centred vectors by singular value decomposition.

    Args:
        vectors: (n, D), centred; n > 1.
        variance_share: Keep the fewest components that explain at least this share of the variance.
        components: Or keep this many. Exactly one of the two is given.

    Returns:
        The k directions (D, k), their variances (k,), and the variances of the rest (D - k,), all
        sample variances (divisor n - 1), descending. Signs are fixed: the largest entry of each
        direction is positive.
    """
    # The Gram matrix has D rows however long the recording is, and its eigenvectors are the right
    # singular vectors; D is a few hundred, so float64 leaves far more digits than the graph keeps.
    gram = vectors.T @ vectors / (len(vectors) - 1)
    directions, variances, _ = np.linalg.svd(gram, hermitian=True)
    if components is None:
        share = np.cumsum(variances) / variances.sum()
        components = int(np.searchsorted(share, variance_share or 1.0) + 1)
    rank = int(np.sum(variances > variances[0] * len(variances) * np.finfo(float).eps))
    k = min(components, rank)
    kept = directions[:, :k]
    signs = np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(k)])
    return kept * signs, variances[:k], variances[k:]


def t2_limit(components: int, samples: int, confidence: float) -> float:
    """Limit of T² for a new observation, k (n-1)(n+1) / (n (n-k)) F(confidence; k, n-k).

    Args:
        components: k.
        samples: n, independent observations behind the model, n > k.
        confidence: Share of healthy observations below the limit, if they are normal.

    Source: N. D. Tracy, J. C. Young, R. L. Mason, "Multivariate control charts for individual
    observations", Journal of Quality Technology 24 (1992) 88, eq. 5.
    """
    from scipy import stats

    k, n = components, samples
    quantile = float(stats.f.ppf(confidence, k, n - k))
    return k * (n - 1) * (n + 1) / (n * (n - k)) * quantile


def q_limit(residual_variances: Floats, confidence: float) -> float:
    """Limit of Q of Jackson and Mudholkar, from the variances of the components left out.

    theta_i = sum(lambda^i), h0 = 1 - 2 theta1 theta3 / (3 theta2²),
    Q = theta1 (c sqrt(2 theta2 h0²) / theta1 + 1 + theta2 h0 (h0 - 1) / theta1²)^(1 / h0).

    Args:
        residual_variances: (D - k,); with none left the limit is 1, as Q is 0 whatever it is.
        confidence: Share of healthy observations below the limit, if they are normal.

    Source: Jackson and Mudholkar 1979 (above), eq. 3.4.
    """
    from scipy import stats

    theta1, theta2, theta3 = (float(np.sum(residual_variances**power)) for power in (1, 2, 3))
    if theta1 <= 0.0:
        return 1.0
    h0 = 1.0 - 2.0 * theta1 * theta3 / (3.0 * theta2**2)
    c = float(stats.norm.ppf(confidence))
    inner = c * np.sqrt(2.0 * theta2 * h0**2) / theta1
    return float(theta1 * (inner + 1.0 + theta2 * h0 * (h0 - 1.0) / theta1**2) ** (1.0 / h0))


def standardised(windows: Windows, mean: Floats, scale: Floats, *, median: bool) -> Floats:
    """Standardised windows, flat: (n, W*C), or for the median a row a sample, (n*W, C)."""
    values: Floats = (windows.astype(np.float64) - mean) * scale
    n, length, channels = windows.shape
    return values.reshape((-1, channels) if median else (n, length * channels))


def trend_features(flat: Floats, length: int, channels: int) -> Floats:
    """Level and slope of each channel over the window, each of unit variance over the data.

    The first two discrete orthonormal (Legendre) polynomials: 1 and time, centred. Averaging keeps
    what lasts and loses noise; a step inside the window, being short, weighs less than a drift.

    Args:
        flat: (n, W*C), standardised windows.
        length: W, at least 2.
        channels: C.

    Returns:
        (W*C, 2 C) float64, rounded to float32: first the levels, then the slopes.
    """
    time = np.linspace(-1.0, 1.0, length)
    basis = np.stack([np.full(length, 1.0 / np.sqrt(length)), time / np.linalg.norm(time)])
    features = np.concatenate([np.kron(row[:, None], np.eye(channels)) for row in basis], axis=1)
    spread = np.sqrt(((flat @ features) ** 2).mean(axis=0))
    # A channel without any slope (spread 0) keeps a slope of 0.
    scaled: Floats = features / np.where(spread > 0.0, spread, 1.0)
    return scaled.astype(np.float32).astype(np.float64)


def vectors_of(model: PcaModel, windows: Windows) -> Floats:
    """The vectors z of windows (n, W, C): (n, D), or (n*W, C) with `median`."""
    flat = standardised(windows, model.mean, model.scale, median=model.median)
    return flat if model.features is None else flat @ model.features


def fit_pca(
    windows: Windows,
    *,
    statistic: Statistic = "combined",
    span: Span = "window",
    variance_share: float | None = 0.9,
    components: int | None = None,
    confidence: float = 0.999,
) -> PcaModel:
    """Fit a PCA monitor to healthy windows (n, W, C), engineering units.

    Args:
        windows: (n, W, C) float32.
        statistic: What the score is.
        span: `window`: one vector of all lags. `trend`: level and slope of each channel. `median`:
            a vector a sample, statistics smoothed.
        variance_share: Keep the fewest components that explain at least this share of the variance.
        components: Or keep this many.
        confidence: Of the theoretical limits.

    Limits come from the theory for normal data: they weigh T² against Q in the score. The threshold
    that raises alarms is calibrated on other data.

    Raises:
        ValueError: There are no more vectors than components, or a channel is constant.
    """
    mean, scale = scaling(windows)
    length, channels = windows.shape[1:]
    vectors = standardised(windows, mean, scale, median=span == "median")
    features = trend_features(vectors, length, channels) if span == "trend" else None
    if features is not None:
        vectors = vectors @ features
    kept, variances, rest = principal_components(vectors, variance_share, components)
    if len(vectors) <= kept.shape[1] + 1:
        msg = f"{len(vectors)} vectors are too few for {kept.shape[1]} components"
        raise ValueError(msg)
    return PcaModel(
        length=length,
        mean=mean,
        scale=scale,
        features=features,
        median=span == "median",
        components=kept,
        variances=variances,
        t2_limit=t2_limit(kept.shape[1], len(vectors), confidence),
        q_limit=q_limit(np.maximum(rest, 0.0), confidence),
        statistic=statistic,
    )


def pca_outputs(model: PcaModel, windows: Windows) -> dict[str, Floats]:
    """The graph's outputs in float64: the reference that the graph is compared with.

    A statistic that is a quadratic form z' M z splits over the signals as the squared entries of
    M^(1/2) z: never negative, and their sum is the statistic.

    Args:
        model: The monitor.
        windows: (B, W, C) float32, engineering units.

    Returns:
        `score` (B,), `contribution` (B, C), `t2` (B,), `q` (B,).

    Source: complete decomposition contributions, C. F. Alcala, S. J. Qin, "Analysis and
    generalization of fault diagnosis methods for process monitoring", Journal of Process Control 21
    (2011) 322, eq. 6; combined index, H. H. Yue, S. J. Qin, "Reconstruction-based fault
    identification using a combined index", Ind. Eng. Chem. Res. 40 (2001) 4403, eq. 17.
    """
    count, length, channels = windows.shape
    z = vectors_of(model, windows)
    t = z @ model.components
    parts = {
        "t2": (t / np.sqrt(model.variances) @ model.components.T) ** 2,
        "q": (z - t @ model.components.T) ** 2,
    }
    value: dict[str, Floats] = {}
    share: dict[str, Floats] = {}
    for name, part in parts.items():
        by_channel = part.reshape(count, -1, channels)  # (B, D / C or W, C)
        if model.median:
            order = by_channel.sum(axis=2).argsort(axis=1)[:, length // 2]
            share[name] = by_channel[np.arange(count), order]
        else:
            share[name] = by_channel.sum(axis=1)
        value[name] = share[name].sum(axis=1)
    t2, q = share["t2"] / model.t2_limit, share["q"] / model.q_limit
    contribution = {
        "t2": t2,
        "q": q,
        "combined": t2 + q,
        "max": np.where((t2.sum(axis=1) >= q.sum(axis=1))[:, None], t2, q),
    }[model.statistic]
    score = contribution.sum(axis=1)
    return {"score": score, "contribution": contribution, "t2": value["t2"], "q": value["q"]}
