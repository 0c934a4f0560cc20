"""Train an anomaly model package from its recipe: data, fit, calibration, figures, files."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeai.alarms.alarm import alarm_rule
from edgeai.config.alarms import AlarmConfig
from edgeai.errors import ConfigError, Problem
from edgeai.model.package import Package
from edgeai.progress import Progress, silent
from edgeai.providers.scorer import Scorer
from edgeai.runtime_build import library_versions
from edgeai.training.anomaly.card import model_card
from edgeai.training.anomaly.evaluate import ScoredRun, count_false_alarms, evaluate_detection
from edgeai.training.anomaly.golden import GOLDEN_WINDOWS, choose_golden, held_values
from edgeai.training.anomaly.methods import FAMILIES, Fitted
from edgeai.training.anomaly.verdict import Verdict, held_line, verdict_of
from edgeai.training.calibrate import CONFIDENCE, Tail, fit_tail, upper_return_level, windows_in
from edgeai.training.data.dataset import Dataset, load_data, run_windows
from edgeai.training.data.runs import Run
from edgeai.training.data.windows import ConstantChannelError, Samples
from edgeai.training.extra import library
from edgeai.training.recipe import Recipe, load_recipe
from edgeai.training.write import write_package

LIBRARIES = ("numpy", "onnx", "onnxruntime")  # their versions are recorded in the manifest


@dataclass(frozen=True)
class TrainingReport:
    """The result of a training.

    Attributes:
        package: The package, loaded from disk; None if the model is of no use and was not written.
        figures: `training.figures` of the manifest.
        verdict: What a user must know about the model, and whether it is of use.
        seconds: Duration of the training, s.
    """

    package: Package | None
    figures: dict[str, Any]
    verdict: Verdict
    seconds: float


def train(
    recipe_path: Path | str,
    output_folder: Path | str | None = None,
    progress: Progress = silent,
    *,
    keep_useless: bool = False,
) -> TrainingReport:
    """Train a model and write its package, unless the verdict is that it is of no use.

    Args:
        recipe_path: The file train.yaml.
        output_folder: Folder of the package; None: the folder of the recipe.
        progress: Called after every step.
        keep_useless: Write the package whatever the verdict.

    Raises:
        ConfigError: The recipe or its data breaks a rule, or the extra `train` is not installed.
        ModelError: The graph is not valid or does not agree with float64.
    """
    recipe_path = Path(recipe_path)
    output_folder = None if output_folder is None else Path(output_folder)
    started = time.perf_counter()
    recipe = load_recipe(recipe_path)
    for name in ("scipy", *FAMILIES[recipe.method.type].libraries):
        library(name, "edgeai train")  # before the data is made, which may take minutes
    folder = output_folder or recipe_path.resolve().parent
    data = load_data(recipe, recipe_path, progress)
    try:
        fitted, scorer, tail, threshold = _fit_and_calibrate(recipe, data, recipe_path, progress)
    except ConfigError as error:  # what was not used of the data is often why
        notes = [Problem("data", "", note) for note in data.notes]
        raise ConfigError([*error.problems, *notes, *data.findings.problems()]) from error
    progress("calibrate", 1, 2, f"threshold {threshold:g}")
    draft = _draft_manifest(recipe, data, fitted, tail, threshold)
    figures = draft["training"]["figures"] = _measure(recipe, data, fitted, scorer, draft)
    verdict = verdict_of(data, figures, recipe.alarm.on_delay_seconds)
    progress("calibrate", 2, 2)
    if not verdict.is_of_use and not keep_useless:
        return TrainingReport(None, figures, verdict, time.perf_counter() - started)
    golden = choose_golden(data, scorer, threshold, GOLDEN_WINDOWS, recipe_path)
    held = held_values(data, scorer, threshold, recipe_path)
    draft["held_values"] = held.model_dump(exclude_none=True)
    verdict = verdict.with_line(held_line(held, golden.windows[0].size))
    package = write_package(
        folder,
        draft,
        fitted.graph,
        golden.windows,
        reference=fitted.reference(golden.windows),
        labels=golden.labels_that_fit(threshold),
        card=model_card(recipe, draft),
    )
    progress("write", 1, 1, str(folder))
    return TrainingReport(package, figures, verdict, time.perf_counter() - started)


def _fit_and_calibrate(
    recipe: Recipe, data: Dataset, path: Path, progress: Progress
) -> tuple[Fitted, Scorer, Tail, float]:
    """Return the fitted model, its graph in a session, the tail of its scores, and the threshold.

    Raises:
        ConfigError: The data is too little for it.
    """
    fit, held_out = _fit_windows(recipe, data, path)
    family = FAMILIES[recipe.method.type]
    try:
        fitted = family.fit(recipe.method, fit, held_out, recipe.seed, progress)
        scorer = Scorer(fitted.graph.SerializeToString())
        progress("calibrate", 0, 2)
        return fitted, scorer, *_calibrate(recipe, data, scorer)
    except ConstantChannelError as error:
        name = data.signals[error.channel].name
        rule = f"`{name}` is constant in the data to fit; leave it out of the signals"
        raise ConfigError([Problem(str(path), "data.signals", rule)]) from error
    except ValueError as error:
        raise ConfigError([Problem(str(path), "data", str(error))]) from error


def _fit_windows(recipe: Recipe, data: Dataset, path: Path) -> tuple[Samples, Samples]:
    """Return windows to fit, and windows held out from each run's end; they share no sample."""
    share = recipe.method.held_out
    if not share:
        fit = run_windows(data.fit, path, "fit")
        return fit, fit[:0]
    early, late = [], []
    for run in data.fit:
        end = run.windows.end_seconds
        cut = run.windows.cut_seconds(1.0 - share)
        early.append(Run(run.name, "fit", run.windows.between(0.0, cut)))
        late.append(Run(run.name, "fit", run.windows.between(cut, end)))
    return run_windows(early, path, "fit"), run_windows(late, path, "fit (held out)")


def score_run(run: Run, scorer: Scorer) -> ScoredRun:
    """Score the windows of a run that may change the alarm."""
    windows = run.windows
    judged = windows.judged
    scores = np.empty(0)
    if judged.any():
        scores = scorer.outputs(windows.take(judged))["score"].astype(np.float64)
    # An interruption before a window that is left out is one before the next that is not.
    interruptions = np.cumsum(windows.broken)[judged]
    return ScoredRun(
        scores,
        windows.seconds[judged],
        run.fault,
        run.severity,
        run.fault_seconds,
        broken=np.diff(interruptions, prepend=interruptions[:1]) > 0,
        clean=windows.clean[judged],
    )


def _score_runs(runs: Sequence[Run], scorer: Scorer) -> list[ScoredRun]:
    return [score_run(run, scorer) for run in runs]


def _calibrate(recipe: Recipe, data: Dataset, scorer: Scorer) -> tuple[Tail, float]:
    hop_seconds = data.hop_seconds(recipe)
    window_hops = -(-recipe.window.length // recipe.window.hop)
    off = windows_in(recipe.alarm.off_delay_seconds, hop_seconds)
    tail = fit_tail(
        [part for run in _score_runs(data.calibrate, scorer) for part in run.clean_scores()],
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
    target, cycle = recipe.calibration.false_alarms_per_day, recipe.window.cycle
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
        "window": recipe.window.model_dump(exclude={"cycle"}),
        **({} if cycle is None else {"cycle": {"fit": cycle.fit or "resample"}}),
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
            "versions": library_versions(libraries),
        },
    }


def _measure(
    recipe: Recipe, data: Dataset, fitted: Fitted, scorer: Scorer, draft: dict[str, Any]
) -> dict[str, Any]:
    rule = alarm_rule(draft["threshold"]["value"], AlarmConfig(**draft["alarm"]), AlarmConfig())
    healthy = _score_runs(data.test, scorer)
    counted = count_false_alarms(healthy, rule, recipe.calibration.false_alarms_per_day)
    draft["threshold"]["false_alarms"] = dict(counted)
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
        "detection": evaluate_detection(_score_runs(data.faults, scorer), rule),
    }
