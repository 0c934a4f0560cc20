"""PCA monitoring: Hotelling's T² within the principal subspace, Q (SPE) outside it.

P (D, k) holds the k leading principal directions of standardised vectors z (D,), lambda (k,) their
variances: t = P' z, T² = sum(t² / lambda), Q = |z - P t|². T² is large if the machine is far from
its mean along known directions, Q if the correlation between the signals is broken.

Sources: J. E. Jackson, G. S. Mudholkar, "Control procedures for residuals associated with principal
component analysis", Technometrics 21 (1979) 341; T. Kourti, J. F. MacGregor, "Process analysis,
monitoring and diagnosis, using multivariate projection methods", Chemometrics and Intelligent
Laboratory Systems 28 (1995) 3; W. Ku, R. H. Storer, C. Georgakis, "Disturbance detection and
isolation by dynamic principal component analysis", ibid. 30 (1995) 179 (time-lagged windows).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeai.training.data.windows import Floats, Samples, scaling

Statistic = Literal["t2", "q", "max", "combined"]
Span = Literal["window", "trend", "median"]


@dataclass(frozen=True, eq=False)
class PcaModel:
    """The fitted parameters from which the graph is built.

    Attributes:
        length: Samples W in a window.
        mean: (C,), engineering units.
        scale: (C,), 1 / standard deviation; 0 excludes a channel.
        features: (W*C, D) or None. The vector z is the flat standardised window times this matrix;
            D is a multiple of C, and feature i belongs to channel i modulo C. None: identity.
        median: False: one vector per window. True: one vector per sample, and each statistic is the
            median over the window; W must be odd and `features` None.
        components: (D, k), orthonormal columns; without features D is W*C, or C with `median`.
        variances: (k,), variance along each component, all positive.
        t2_limit: Divisor of T² in the score.
        q_limit: Divisor of Q in the score.
        statistic: The score: T² or Q over its limit (`t2`, `q`), the larger of the two (`max`), or
            their sum (`combined`).
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
    """Compute the principal components of centred vectors by singular value decomposition.

    Args:
        vectors: (n, D), centred; n > 1.
        variance_share: Keep the fewest components that explain at least this share of the variance.
        components: Or keep this number. Exactly one of the two must be given.

    Returns:
        The k directions (D, k), their variances (k,), and the other variances (D - k,): sample
        variances (divisor n - 1), descending. Signs are fixed: the entry of each direction with the
        largest absolute value is positive.
    """
    # The eigenvectors of the Gram matrix (D, D) are the right singular vectors of `vectors`, and
    # its size does not depend on n. float64 keeps far more digits than the float32 graph.
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
    """Compute the limit of T² for a new observation.

    It is k (n-1)(n+1) / (n (n-k)) F(confidence; k, n-k).

    Args:
        components: k.
        samples: n, independent observations used for the fit, n > k.
        confidence: Share of healthy observations below the limit, if normally distributed.

    Source: N. D. Tracy, J. C. Young, R. L. Mason, "Multivariate control charts for individual
    observations", Journal of Quality Technology 24 (1992) 88, eq. 5.
    """
    from scipy import stats

    k, n = components, samples
    quantile = float(stats.f.ppf(confidence, k, n - k))
    return k * (n - 1) * (n + 1) / (n * (n - k)) * quantile


def q_limit(residual_variances: Floats, confidence: float) -> float:
    """Compute the limit of Q from the variances of the discarded components.

    theta_i = sum(lambda^i), h0 = 1 - 2 theta1 theta3 / (3 theta2²),
    Q = theta1 (c sqrt(2 theta2 h0²) / theta1 + 1 + theta2 h0 (h0 - 1) / theta1²)^(1 / h0).

    Args:
        residual_variances: (D - k,); if empty or zero, Q is always 0 and the limit is 1.
        confidence: Share of healthy observations below the limit, if normally distributed.

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


def standardise(windows: Samples, mean: Floats, scale: Floats, *, median: bool) -> Floats:
    """Return standardised windows: (n, W*C), or with `median` one row per sample, (n*W, C)."""
    values: Floats = (windows.astype(np.float64) - mean) * scale
    n, length, channels = windows.shape
    return values.reshape((-1, channels) if median else (n, length * channels))


def trend_features(flat: Floats, length: int, channels: int) -> Floats:
    """Compute the matrix that gives level and slope of each channel, scaled to unit variance.

    Level and slope are the first two discrete orthonormal (Legendre) polynomials: a constant and
    the centred time. They average out noise, and respond more to a drift than to a short step.

    Args:
        flat: (n, W*C), standardised windows.
        length: W, at least 2.
        channels: C.

    Returns:
        (W*C, 2 C) float64, rounded to float32: first all levels, then all slopes.
    """
    time = np.linspace(-1.0, 1.0, length)
    basis = np.stack([np.full(length, 1.0 / np.sqrt(length)), time / np.linalg.norm(time)])
    features = np.concatenate([np.kron(row[:, None], np.eye(channels)) for row in basis], axis=1)
    spread = np.sqrt(((flat @ features) ** 2).mean(axis=0))
    # A feature with spread 0 stays 0.
    scaled: Floats = features / np.where(spread > 0.0, spread, 1.0)
    return scaled.astype(np.float32).astype(np.float64)


def vectors_of(model: PcaModel, windows: Samples) -> Floats:
    """Return the vectors z of windows (n, W, C): (n, D), or (n*W, C) with `median`."""
    flat = standardise(windows, model.mean, model.scale, median=model.median)
    return flat if model.features is None else flat @ model.features


def fit_pca(
    windows: Samples,
    *,
    statistic: Statistic = "combined",
    span: Span = "window",
    variance_share: float | None = 0.9,
    components: int | None = None,
    confidence: float = 0.999,
) -> PcaModel:
    """Fit a PCA monitor to healthy windows.

    The limits come from the theory for normally distributed data and only weigh T² against Q in
    the score. The alarm threshold is calibrated on other data.

    Args:
        windows: (n, W, C) float32, engineering units.
        statistic: The score, see `PcaModel.statistic`.
        span: `window`: one vector of all samples. `trend`: level and slope of each channel.
            `median`: one vector per sample, median of the statistics over the window.
        variance_share: Keep the fewest components that explain at least this share of the variance.
        components: Or keep this number of components.
        confidence: Confidence of the limits of T² and Q.

    Raises:
        ValueError: There are too few vectors for the components, or a channel is constant.
    """
    mean, scale = scaling(windows)
    length, channels = windows.shape[1:]
    vectors = standardise(windows, mean, scale, median=span == "median")
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


def pca_outputs(model: PcaModel, windows: Samples) -> dict[str, Floats]:
    """Compute the graph's outputs in float64, as the reference for the graph.

    Each statistic is a quadratic form z' M z. The contributions of the signals are the squared
    entries of M^(1/2) z: they are never negative, and their sum is the statistic.

    Args:
        model: The fitted monitor.
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
