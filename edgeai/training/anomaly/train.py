"""Train an anomaly model package from its recipe: data, fit, calibration, figures, files."""

import importlib.metadata
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeai.alarms.alarm import alarm_rule
from edgeai.config.pipeline import AlarmConfig
from edgeai.errors import ConfigError, Problem
from edgeai.model.held_values import measure_held_values
from edgeai.model.package import FAULTY, HEALTHY, Labels, Package
from edgeai.progress import Progress, silent
from edgeai.providers.scorer import Scorer
from edgeai.training.anomaly.card import model_card
from edgeai.training.anomaly.evaluate import ScoredRun, count_false_alarms, evaluate_detection
from edgeai.training.anomaly.methods import FAMILIES, Fitted
from edgeai.training.calibrate import CONFIDENCE, Tail, fit_tail, upper_return_level, windows_in
from edgeai.training.data.dataset import Dataset, load_data, run_windows
from edgeai.training.data.runs import Run
from edgeai.training.data.windows import Samples, finite, windows_of
from edgeai.training.recipe import Recipe, load_recipe
from edgeai.training.write import write_package

GOLDEN_WINDOWS = 48
HELD_WINDOWS = 192  # on which the number of held values that a window bears is measured
MIN_GOLDEN_MARGIN = 0.02  # smallest distance of a golden score from the threshold, relative to it
LIBRARIES = ("numpy", "onnx", "onnxruntime")  # their versions are recorded in the manifest


@dataclass(frozen=True)
class TrainingReport:
    """The result of a training.

    Attributes:
        package: The package, loaded from disk.
        figures: `training.figures` of the manifest.
        seconds: Duration of the training, s.
    """

    package: Package
    figures: dict[str, Any]
    seconds: float


def train(
    recipe_path: Path, output_folder: Path | None = None, progress: Progress = silent
) -> TrainingReport:
    """Train a model and write its package.

    Args:
        recipe_path: The file train.yaml.
        output_folder: Folder of the package; None: the folder of the recipe.
        progress: Called after every step.

    Raises:
        ConfigError: The recipe or its data breaks a rule, or the extra `train` is not installed.
        ModelError: The graph is not valid or does not agree with float64.
    """
    started = time.perf_counter()
    recipe = load_recipe(recipe_path)
    folder = output_folder or recipe_path.resolve().parent
    data = load_data(recipe, recipe_path, progress)
    fit, held_out = _fit_windows(recipe, data, recipe_path)
    try:
        fitted = FAMILIES[recipe.method.type].fit(
            recipe.method, fit, held_out, recipe.seed, progress
        )
        scorer = Scorer(fitted.graph.SerializeToString())
        progress("calibrate", 0, 2)
        tail, threshold = _calibrate(recipe, data, scorer)
    except ValueError as error:
        raise ConfigError([Problem(str(recipe_path), "data", str(error))]) from error
    progress("calibrate", 1, 2, f"threshold {threshold:g}")
    draft = _draft_manifest(recipe, data, fitted, tail, threshold)
    draft["training"]["figures"] = _measure(recipe, data, fitted, scorer, draft)
    progress("calibrate", 2, 2)
    golden, labels = choose_golden(recipe, data, scorer, threshold, GOLDEN_WINDOWS)
    draft["held_values"] = _held_values(recipe, data, scorer, threshold)
    package = write_package(
        folder,
        draft,
        fitted.graph,
        golden,
        reference=fitted.reference(golden),
        labels=labels,
        card=model_card(recipe, draft),
    )
    progress("write", 1, 1, str(folder))
    return TrainingReport(package, draft["training"]["figures"], time.perf_counter() - started)


def _fit_windows(recipe: Recipe, data: Dataset, path: Path) -> tuple[Samples, Samples]:
    """Return windows to fit, and windows held out from each run's end; they share no sample."""
    length, hop = recipe.window.length, recipe.window.hop
    share = recipe.method.held_out
    early, late = [], []
    for run in data.fit:
        cut = round(len(run.values) * (1.0 - share))
        early.append(Run(run.name, "fit", run.values[:cut]))
        late.append(Run(run.name, "fit", run.values[cut:]))
    fit = run_windows(early, length, hop, path, "fit")
    if not share:
        return fit, fit[:0]
    return fit, run_windows(late, length, hop, path, "fit (held out)")


def score_run(run: Run, recipe: Recipe, rate_hz: float, scorer: Scorer) -> ScoredRun:
    """Score all windows of a run that contain only finite values."""
    length, hop = recipe.window.length, recipe.window.hop
    windows = windows_of(run.values, length, hop)
    good = finite(windows)
    seconds = (length - 1 + hop * np.arange(len(windows))) / rate_hz
    scores = (
        scorer.outputs(windows[good])["score"].astype(np.float64) if good.any() else seconds[:0]
    )
    return ScoredRun(scores, seconds[good], run.fault, run.severity, run.fault_seconds)


def _score_runs(
    runs: Sequence[Run], recipe: Recipe, data: Dataset, scorer: Scorer
) -> list[ScoredRun]:
    return [score_run(run, recipe, data.sample_rate_hz, scorer) for run in runs]


def _calibrate(recipe: Recipe, data: Dataset, scorer: Scorer) -> tuple[Tail, float]:
    hop_seconds = recipe.window.hop / data.sample_rate_hz
    window_hops = -(-recipe.window.length // recipe.window.hop)
    off = windows_in(recipe.alarm.off_delay_seconds, hop_seconds)
    tail = fit_tail(
        [run.scores for run in _score_runs(data.calibrate, recipe, data, scorer)],
        hop_seconds,
        count=windows_in(recipe.alarm.on_delay_seconds, hop_seconds),
        # Excursions in windows that share samples are one event.
        separation=max(off, window_hops),
        share=recipe.calibration.tail_share,
    )
    level = upper_return_level(tail, recipe.calibration.false_alarms_per_day)
    # Round up to three digits: the tail fit is not more precise.
    step = 10.0 ** (np.floor(np.log10(level)) - 2)
    return tail, float(f"{np.ceil(level / step) * step:.6g}")


def _draft_manifest(
    recipe: Recipe, data: Dataset, fitted: Fitted, tail: Tail, threshold: float
) -> dict[str, Any]:
    """Return the manifest without `onnx`, `files` and `training.figures`."""
    target = recipe.calibration.false_alarms_per_day
    method = (
        f"generalised Pareto tail of {len(tail.excess)} separate healthy excursions (level "
        f"{tail.level:.4g}, scale {tail.scale:.4g}, shape {tail.shape:.3g}): the score that holds "
        f"for the on delay {target:g} times a day, upper end of its {CONFIDENCE:.0%} interval"
    )
    libraries = (*LIBRARIES, *FAMILIES[recipe.method.type].libraries)
    return {
        "format": 1,
        "name": recipe.name,
        "version": recipe.version,
        "task": "anomaly",
        "description": recipe.description,
        "signals": [signal.model_dump(exclude_none=True) for signal in data.signals],
        "sample_rate_hz": float(data.sample_rate_hz),
        "window": recipe.window.model_dump(),
        "outputs": fitted.outputs,
        "threshold": {
            "value": threshold,
            "method": method,
            "data": "healthy runs kept from the fit",
        },
        "alarm": {
            "deadband": float(f"{recipe.alarm.deadband_ratio * threshold:.4g}"),
            "on_delay_seconds": float(recipe.alarm.on_delay_seconds),
            "off_delay_seconds": float(recipe.alarm.off_delay_seconds),
            "latch": recipe.alarm.latch,
        },
        "tolerance": recipe.tolerance.model_dump(exclude_none=True),
        "training": {
            "data": data.description,
            "method": fitted.summary,
            "seed": recipe.seed,
            "recipe": recipe.model_dump(mode="json", exclude={"card"}, exclude_none=True),
            "retrain_rtol": recipe.retrain_rtol,
            "versions": {name: importlib.metadata.version(name) for name in libraries},
        },
    }


def _measure(
    recipe: Recipe, data: Dataset, fitted: Fitted, scorer: Scorer, draft: dict[str, Any]
) -> dict[str, Any]:
    rule = alarm_rule(draft["threshold"]["value"], AlarmConfig(**draft["alarm"]), AlarmConfig())
    healthy = _score_runs(data.test, recipe, data, scorer)
    counted = count_false_alarms(healthy, rule)
    draft["threshold"]["false_alarms_per_day"] = counted["alarms_per_day"]
    scores = np.concatenate([run.scores for run in healthy])
    quantiles = (
        {
            f"p{100 * share:g}": float(f"{np.quantile(scores, share):.4g}")
            for share in (0.5, 0.99, 0.999)
        }
        if scores.size
        else {}
    )
    return {
        "fit": fitted.figures,
        "false_alarms": counted,
        "healthy_score": quantiles,
        "detection": evaluate_detection(_score_runs(data.faults, recipe, data, scorer), rule),
    }


def _held_values(recipe: Recipe, data: Dataset, scorer: Scorer, threshold: float) -> dict[str, int]:
    """Measure how many held values a window bears, on more windows than the golden ones."""
    windows, _ = choose_golden(recipe, data, scorer, threshold, HELD_WINDOWS)
    held = measure_held_values(
        windows,
        lambda given: scorer.outputs(given)["score"],
        threshold,
        max_windows=HELD_WINDOWS,
    )
    return held.model_dump(exclude_none=True)


def choose_golden(
    recipe: Recipe, data: Dataset, scorer: Scorer, threshold: float, number: int
) -> tuple[Samples, Labels]:
    """Choose golden windows: half spread over the healthy test runs, half over the faults.

    Scores near the threshold are excluded, because there the last digits of a provider could
    change the decision, which the parity test compares.

    Returns:
        The windows (number, W, C), and (number,) HEALTHY or FAULTY.
    """
    length, hop = recipe.window.length, recipe.window.hop
    healthy = [windows_of(run.values, length, hop) for run in data.test]
    faulty = []
    for run in data.faults:
        start = round(run.fault_seconds * data.sample_rate_hz)
        faulty.append(windows_of(run.values[start:], length, hop))
    half = number // 2 if any(map(len, faulty)) else 0
    chosen, labels = [], []
    for parts, count, label in ((healthy, number - half, HEALTHY), (faulty, half, FAULTY)):
        if count:
            windows = np.concatenate([part[finite(part)] for part in parts if len(part)])
            scores = scorer.outputs(windows)["score"]
            clear = np.flatnonzero(np.abs(scores - threshold) > MIN_GOLDEN_MARGIN * abs(threshold))
            at = np.linspace(0, len(clear) - 1, count).astype(int)
            chosen.append(windows[clear[at]])
            labels.append(np.full(count, label, np.int8))
    return np.concatenate(chosen), np.concatenate(labels)
