"""Outputs of a correct system, for the tests of the instruments."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.check import Arrival, Checker


def predictions_of(
    checker: Checker, windows: Iterable[tuple[int, int, int]]
) -> list[dict[str, Any]]:
    """Return the predictions of windows, all machines of one window together.

    Args:
        checker: The checker, which has computed the scores.
        windows: (last sample, its time in ns, index among the distinct windows).
    """
    signals = checker.load.signals
    predictions = []
    for sample, time_ns, place in windows:
        for machine, asset in enumerate(checker.load.assets):
            contributions = checker.contributions[place, machine]
            largest = np.argsort(-contributions)[:3]
            predictions.append(
                {
                    "timestamp": time_ns,
                    "asset": asset,
                    "score": float(checker.scores[place, machine]),
                    "alarm": "normal",
                    "quality": "good",
                    "id": f"{asset}:{sample}",
                    "top": [[signals[index], float(contributions[index])] for index in largest],
                }
            )
    return predictions


def arrivals(predictions: list[dict[str, Any]]) -> list[Arrival]:
    """Return predictions as messages that arrived at time 0."""
    return [(0, "out", json.dumps(prediction).encode()) for prediction in predictions]
