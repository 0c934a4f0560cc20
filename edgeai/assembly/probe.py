"""Try a model with windows far outside its data, for `edgeai check`.

A sensor that breaks sends zeros, a constant, the end of its range or an overload value. What the
model answers then is not in its golden windows: the alarm may stay silent, or the score may be no
number.
"""

import math

import numpy as np

from edgeai.engine.pipeline import Pipeline
from edgeai.model.direction import is_abnormal
from edgeai.model.package import HEALTHY, Labels, Windows
from edgeai.model.rows import join_rows
from edgeai.providers.session import padded_capacity

OVERLOAD = 1e30  # far beyond any sensor, and inside float32
SPANS_BEYOND = 10.0  # ranges beyond the end of a signal's range


def describe_probes(
    pipeline: Pipeline, windows: Windows, labels: Labels, context: Windows | None = None
) -> str:
    """Return one line with the model's answers.

    Args:
        pipeline: With its session.
        windows: The golden windows (N, W, C).
        labels: (N,), which are healthy.
        context: (N, K) of the golden windows, whose median is used; None: the model has none.
    """
    probes = make_probes(pipeline, windows, labels)
    count = len(probes)
    buffer = np.zeros((padded_capacity(count), *pipeline.manifest.row_shape), np.float32)
    usual = None if context is None else np.repeat(np.median(context, axis=0)[None], count, axis=0)
    buffer[:count] = join_rows(np.stack(list(probes.values())), usual)
    index = pipeline.outputs.index(pipeline.manifest.score)
    with np.errstate(all="ignore"):
        scores = np.array(pipeline.session.run(buffer, count)[index], np.float64).tolist()
    answers = [
        f"{name} {_answer(score, pipeline)}" for name, score in zip(probes, scores, strict=True)
    ]
    return f"windows far outside: {'; '.join(answers)}"


def make_probes(pipeline: Pipeline, windows: Windows, labels: Labels) -> dict[str, Windows]:
    """Return windows (W, C) far outside, by name."""
    chosen = windows[labels == HEALTHY] if (labels == HEALTHY).any() else windows
    flat = windows.reshape(-1, windows.shape[2])
    low, high = flat.min(axis=0).astype(np.float64), flat.max(axis=0).astype(np.float64)
    for channel, signal in enumerate(pipeline.manifest.signals):
        if signal.range is not None:
            low[channel], high[channel] = signal.range
    span = np.maximum(high - low, 1e-6 * np.maximum(1.0, np.abs(high)))
    limit = float(np.finfo(np.float32).max)
    levels = {
        "zeros": np.zeros_like(low),
        "constant": np.median(chosen.reshape(-1, windows.shape[2]), axis=0),
        "low ends": low,
        "high ends": high,
        f"{SPANS_BEYOND:g} spans above": np.clip(high + SPANS_BEYOND * span, -limit, limit),
        f"{OVERLOAD:g}": np.full_like(low, OVERLOAD),
    }
    shape = windows.shape[1:]
    return {
        name: np.broadcast_to(level.astype(np.float32), shape) for name, level in levels.items()
    }


def _answer(score: float, pipeline: Pipeline) -> str:
    if math.isnan(score):
        return "NaN, which is an alarm"
    rule = pipeline.rule
    said = "abnormal" if is_abnormal(score, rule.threshold, rule.abnormal) else "normal"
    return f"{score:.3g} {said}"
