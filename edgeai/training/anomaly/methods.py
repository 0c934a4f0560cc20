"""The model families that a recipe can choose: `FAMILIES`, at the end of this file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from edgeai.progress import Progress
from edgeai.training.anomaly.autoencoder import (
    FitSettings,
    autoencoder_outputs,
    fit_autoencoder,
)
from edgeai.training.anomaly.autoencoder_graph import autoencoder_graph
from edgeai.training.anomaly.pca import fit_pca, pca_outputs
from edgeai.training.anomaly.pca_graph import pca_graph
from edgeai.training.data.windows import Floats, Samples
from edgeai.training.recipe import AutoencoderMethod, PcaMethod


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model.

    Attributes:
        graph: The ONNX model.
        reference: Computes the outputs for windows (B, W, C) in float64, without the graph.
        outputs: The `outputs` of the manifest.
        figures: Figures of the fit, for the manifest.
        summary: The method in one sentence.
    """

    graph: onnx.ModelProto
    reference: Callable[[Samples], dict[str, Floats]]
    outputs: list[dict[str, str]]
    figures: dict[str, Any]
    summary: str


def _score_outputs(meaning: str) -> list[dict[str, str]]:
    return [
        {"name": "score", "unit": "1", "meaning": meaning, "role": "score"},
        {
            "name": "contribution",
            "unit": "1",
            "meaning": "part of each signal in the score; they sum to it",
            "role": "contribution",
        },
    ]


def fit_pca_family(
    method: PcaMethod, fit: Samples, _held_out: Samples, _seed: int, progress: Progress
) -> Fitted:
    """Fit PCA monitoring; it uses neither the held-out block nor the seed."""
    model = fit_pca(
        fit,
        statistic=method.statistic,
        span=method.span,
        variance_share=method.variance_share,
        components=method.components,
        confidence=method.confidence,
    )
    progress("fit", 1, 1, f"{model.components.shape[1]} of {model.components.shape[0]} components")
    meaning = {
        "t2": "T² over its limit",
        "q": "Q over its limit",
        "max": "the larger of T² and Q, each over its limit",
        "combined": "T² over its limit plus Q over its limit",
    }[method.statistic]
    outputs = _score_outputs(meaning)
    outputs += [
        {"name": "t2", "unit": "1", "meaning": "Hotelling's T²: distance within the model"},
        {
            "name": "q",
            "unit": "1",
            "meaning": "Q, squared prediction error: distance off the model",
        },
    ]
    size, kept = model.components.shape
    parts = {
        "window": "all samples of the window together",
        "trend": "level and slope of each signal over the window",
        "median": "each sample, median over the window",
    }[method.span]
    return Fitted(
        graph=pca_graph(model),
        reference=lambda windows: pca_outputs(model, windows),
        outputs=outputs,
        figures={
            "windows": len(fit),
            "vector": size,
            "components": kept,
            "t2_limit": round(model.t2_limit, 4),
            "q_limit": round(model.q_limit, 4),
        },
        summary=f"PCA monitoring of {parts}: {kept} of {size} components; the score is: {meaning}",
    )


def fit_autoencoder_family(
    method: AutoencoderMethod, fit: Samples, held_out: Samples, seed: int, progress: Progress
) -> Fitted:
    """Fit a dense autoencoder."""
    settings = FitSettings(
        hidden=method.hidden,
        epochs=method.epochs,
        patience=method.patience,
        batch=method.batch,
        learning_rate=method.learning_rate,
        seed=seed,
    )
    model, facts = fit_autoencoder(fit, held_out, settings, progress)
    size = fit.shape[1] * fit.shape[2]
    layers = "-".join(str(width) for width in (size, *method.hidden, size))
    meaning = "mean squared reconstruction error over that of healthy data, about 1 when healthy"
    return Fitted(
        graph=autoencoder_graph(model),
        reference=lambda windows: autoencoder_outputs(model, windows),
        outputs=_score_outputs(meaning),
        figures={"windows": len(fit), "held_out_windows": len(held_out), **facts},
        summary=f"dense autoencoder {layers} with tanh; the score is the {meaning}",
    )


@dataclass(frozen=True)
class Family:
    """A kind of model that can be trained.

    Attributes:
        fit: Fits a model, from (settings, fit windows, held-out windows, seed, progress). The
            settings are the section `method` of the recipe (`edgeai.training.recipe`).
        libraries: Libraries whose versions the manifest records, beside those of every family.
    """

    fit: Callable[[Any, Samples, Samples, int, Progress], Fitted]
    libraries: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "pca": Family(fit_pca_family),
    "autoencoder": Family(fit_autoencoder_family, libraries=("torch",)),
}
"""Model families by `method.type` of the recipe."""
