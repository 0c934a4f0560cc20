"""Choose the golden windows of a package, label them, and measure the held values they bear."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeai.errors import ConfigError, Problem
from edgeai.model.held_values import measure_held_values
from edgeai.model.meaning import count_decisions
from edgeai.model.package import FAULTY, HEALTHY, UNKNOWN, Labels
from edgeai.model.threshold_spec import HeldValuesSpec
from edgeai.providers.scorer import Scorer
from edgeai.training.data.dataset import Dataset
from edgeai.training.data.windows import Flags, Floats, Samples, Windows

GOLDEN_WINDOWS = 48
NEAR_WINDOWS = 512  # healthy ones nearest the threshold, and
SPREAD_WINDOWS = 256  # of each label, on which the held values that a window bears are measured
MIN_MARGIN = 0.02  # smallest distance of a golden score from the threshold, relative to it


@dataclass(frozen=True, eq=False)
class Chosen:
    """Windows with their scores.

    Attributes:
        windows: (N, W, C) float32.
        scores: (N,).
        faulty: (N,) whether the window lies in a fault; the others are healthy.
    """

    windows: Samples
    scores: Floats
    faulty: Flags

    def labels_that_fit(self, threshold: float) -> Labels:
        """Return the labels (N,), or none where the decisions contradict them.

        A fault shows late, or not at all, in some of the windows after its start. If no larger
        share of the faulty windows is abnormal than of the healthy ones, all windows are UNKNOWN,
        because `edgeai check` would refuse the package. The verdict counts detection by runs.
        """
        labels = np.where(self.faulty, FAULTY, HEALTHY).astype(np.int8)
        scores = self.scores.astype(np.float32)
        if count_decisions(scores, labels, threshold, "high").fits:
            return labels
        return np.full_like(labels, UNKNOWN)


def choose_golden(
    data: Dataset, scorer: Scorer, threshold: float, number: int, recipe_path: Path
) -> Chosen:
    """Choose windows: half spread over the healthy test runs, half over the faults.

    Scores near the threshold are excluded, because there the last digits of a provider could
    change the decision, which the parity test compares. Windows with values that were not measured
    are excluded too.

    Raises:
        ConfigError: There is no such window.
    """
    healthy = [run.windows for run in data.test]
    faulty = [
        run.windows.between(run.fault_seconds, run.windows.end_seconds) for run in data.faults
    ]
    half = number // 2 if any(part.clean.any() for part in faulty) else 0
    parts = [_spread(healthy, number - half, scorer, threshold, recipe_path)]
    if half:
        parts.append(_spread(faulty, half, scorer, threshold, recipe_path))
    return Chosen(
        np.concatenate([windows for windows, _ in parts]),
        np.concatenate([scores for _, scores in parts]),
        np.arange(number) >= number - half,
    )


def _spread(
    parts: Sequence[Windows], count: int, scorer: Scorer, threshold: float, path: Path
) -> tuple[Samples, Floats]:
    """Return windows spread over the parts, and their scores, which are not near the threshold."""
    windows = np.concatenate([part.take(part.clean) for part in parts])
    scores = scorer.outputs(windows)["score"].astype(np.float64) if len(windows) else np.empty(0)
    clear = np.flatnonzero(np.abs(scores - threshold) > MIN_MARGIN * abs(threshold))
    if not clear.size:
        rule = "no test or fault run holds a whole window for the golden windows"
        raise ConfigError([Problem(str(path), "data", rule)])
    chosen = clear[np.linspace(0, len(clear) - 1, count).astype(int)]
    return windows[chosen], scores[chosen]


def held_values(
    data: Dataset, scorer: Scorer, threshold: float, recipe_path: Path
) -> HeldValuesSpec:
    """Measure how many held values a window bears, on more windows than the golden ones.

    The healthy windows nearest the threshold are among them, where a decision changes first.
    """
    chosen = choose_golden(data, scorer, threshold, 2 * SPREAD_WINDOWS, recipe_path)
    healthy = np.concatenate([run.windows.take(run.windows.clean) for run in data.test])
    scores = scorer.outputs(healthy)["score"]
    normal = healthy[scores <= threshold]
    nearest = np.argsort(-scores[scores <= threshold], kind="stable")[:NEAR_WINDOWS]
    windows = np.concatenate([chosen.windows, normal[nearest]])
    return measure_held_values(
        windows,
        lambda given: scorer.outputs(given)["score"],
        threshold,
        max_windows=len(windows),
    )
