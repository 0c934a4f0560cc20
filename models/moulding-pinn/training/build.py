"""From the recipe to the package: equations, fit, intervals, threshold, figures, files."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.alarms.alarm import AlarmRule, alarm_rule
from edgeai.config.alarms import AlarmConfig
from edgeai.progress import Progress
from edgeai.providers.scorer import Scorer
from edgeai.training.pinn import (
    Exported,
    Floats,
    Samples,
    deterministic,
    export,
    false_alarm_figures,
    library_versions,
    sustained,
    windows_in,
    write_package,
)

from . import evaluation, fit, manifest, measure, signals
from .card import model_card
from .curve import labelled, learning_curve
from .monitor import Monitor
from .recipe import Recipe, load_recipe
from .runs import FAULTS, simulate_runs
from .windows import Table, solve_table

SECONDS_PER_HOUR = 3600.0
CYCLES = 14  # of a run without a fault: about 80 s, of which SETTLE_SECONDS are not used
PROBE = 96  # windows on which the exported graph is compared with float64
AT_ONCE = 200  # runs simulated together
SCALES = {
    "near_drift": 3.0, "deep_drift": 3.0, "sensor_mismatch": 1.0, "cooling_time_correction": 10.0,
    "domain": 3.0,
}  # fmt: skip
"""Sizes of outputs in K, K, K, s and 1, for the comparison of float32 with float64: these outputs
may be near zero, or are differences of larger terms."""
INTERVALS = ("ejection", "coolant", "contact")
GOLDEN_WINDOWS = 32
OUTSIDE_DOMAIN_SECONDS = 60.0
"""Default delay of the alarm of low priority: longer than a short stop with the window after it."""


def build_package(recipe_path: Path, folder: Path, progress: Progress) -> str:
    """Train the package and write it; an interrupted training continues from its checkpoint.

    Args:
        recipe_path: The file train.yaml.
        folder: Where the package is written.
        progress: Called after every step.

    Returns:
        One line that says what was made.

    Raises:
        ConfigError: The recipe breaks a rule.
        ModelError: The graph is not valid or does not agree with float64.
    """
    started = time.perf_counter()
    recipe = load_recipe(recipe_path)
    folder.mkdir(parents=True, exist_ok=True)
    with deterministic(recipe.seed, purpose="the training of moulding-pinn"):
        kept = folder / ".training"
        kept.mkdir(exist_ok=True)
        parts = fitted(recipe, kept, progress)
        probe = _probe(recipe)
        unscaled = _scorer(_exported(recipe, parts, None, probe))
        quantiles = calibrated_intervals(recipe, unscaled, progress)
        exported = _exported(recipe, parts, quantiles, probe)
        scorer = _scorer(exported)
        threshold, method = calibrated_threshold(recipe, scorer, progress)
        draft = _draft(recipe, threshold, method, quantiles)
        rule = alarm_rule(threshold, AlarmConfig(**draft["alarm"]), AlarmConfig())
        served = evaluation.Served(scorer.outputs, recipe.window.length, recipe.window.hop, rule)
        draft["training"]["figures"] = _figures(recipe, served, parts, progress)
        draft["training"]["figures"]["agreement_with_float64"] = {
            name: float(f"{error:.2g}") for name, error in exported.errors.items()
        }
        healthy = draft["training"]["figures"]["healthy"]
        draft["threshold"]["false_alarms"] = false_alarm_figures(
            healthy["alarms"], healthy["hours"] * SECONDS_PER_HOUR
        )
        golden, labels = golden_windows(recipe, scorer, threshold)
        final = _exported(recipe, parts, quantiles, golden)
        package = write_package(
            folder, draft, final.model, golden, reference=final.reference, labels=labels,
            card=model_card(recipe, draft),
        )  # fmt: skip
    for path in kept.iterdir():
        path.unlink()
    kept.rmdir()
    seconds = time.perf_counter() - started
    return f"{recipe.name} {recipe.version}: {seconds:.0f} s, in {package.folder}"


class _Parts:
    """The fitted parts: modes, operator and encoder."""

    def __init__(self, table: Table, operator: Any, encoder: Any) -> None:
        self.modes, self.operator, self.encoder = table.modes, operator, encoder

    def monitor(self, recipe: Recipe, quantiles: tuple[float, float, float] | None) -> Monitor:
        """Return the module that is exported."""
        given = quantiles or (1.0, 1.0, 1.0)
        length = recipe.window.length
        return Monitor(
            self.encoder,
            self.operator,
            self.modes,
            length,
            limits=recipe.limits,
            quantiles=given,
        )


def fitted(recipe: Recipe, kept: Path | None, progress: Progress) -> _Parts:
    """Solve the equations for sampled conditions and fit operator and encoder to the solutions.

    Args:
        recipe: The recipe.
        kept: Folder of the checkpoints; None: no checkpoints.
        progress: Called after every step.
    """
    settings = fit.FitSettings(
        conditions=recipe.fit.conditions,
        operator_steps=recipe.fit.operator_steps,
        encoder_steps=recipe.fit.encoder_steps,
        batch=recipe.fit.batch,
        window=recipe.window.length,
        seed=recipe.seed,
    )

    def checkpoint(name: str) -> Path | None:
        return None if kept is None else kept / name

    table = fit.cached_table(
        checkpoint("table.pt"), lambda: solve_table(settings.conditions, settings.seed, progress)
    )
    operator = fit.cached_operator(
        checkpoint("operator.pt"), lambda: fit.fit_operator(table, settings, progress)
    )
    encoder = fit.fit_encoder(table, operator, settings, checkpoint("encoder.pt"), progress)
    return _Parts(table, operator, encoder)


def _exported(
    recipe: Recipe,
    parts: _Parts,
    quantiles: tuple[float, float, float] | None,
    probe: Samples,
) -> Exported:
    """Export the graph and verify it on the windows of a probe."""
    return export(
        parts.monitor(recipe, quantiles), {"window": probe}, name=recipe.name, scales=SCALES
    )


def _probe(recipe: Recipe) -> Samples:
    """Return windows of simulated runs, healthy and faulty."""
    runs = simulate_runs(
        PROBE,
        CYCLES,
        recipe.seed + 1,
        faults=("", *FAULTS),
        fault_cycle=9,
        with_field=False,
    )
    return runs.values[:, -recipe.window.length :]


def _scorer(exported: Exported) -> Scorer:
    return Scorer(exported.model.SerializeToString(deterministic=True))


def calibrated_intervals(
    recipe: Recipe, scorer: Scorer, progress: Progress
) -> tuple[float, float, float]:
    """Return the factors at which the intervals contain `interval_level` of the true values.

    Split conformal prediction: each error is divided by half the interval's width at factor 1, and
    the factor is the quantile over all windows of runs that are used for nothing else. Source:
    J. Lei et al., "Distribution-free predictive inference for regression", Journal of the American
    Statistical Association 113 (2018) 1094, section 5.2 (locally weighted).
    """
    window = recipe.window
    ratios: dict[str, list[Floats]] = {name: [] for name in INTERVALS}
    for start in range(0, recipe.calibrate_runs, AT_ONCE):
        count = min(AT_ONCE, recipe.calibrate_runs - start)
        runs = simulate_runs(count, CYCLES, (recipe.seed + 2) * 1000 + start)
        computed = measure.window_outputs(
            runs, scorer.outputs, window.length, window.hop, measure.ACCURACY_OUTPUTS
        )
        for name, values in measure.interval_ratios(runs, computed).items():
            ratios[name].append(values)
    progress("calibrate", 1, 3, "intervals")
    found = [
        float(np.quantile(np.concatenate(ratios[name]), recipe.interval_level))
        for name in INTERVALS
    ]
    return found[0], found[1], found[2]


def calibrated_threshold(recipe: Recipe, scorer: Scorer, progress: Progress) -> tuple[float, str]:
    """Return the threshold of the score and how it was found.

    The threshold is 1, where the first evidence reaches its limit, or 1.05 times the largest score
    that healthy runs sustain for the on delay, if that is larger. No tail is fitted, because the
    scores of healthy runs differ between runs far more than within a run.
    """
    hop_seconds = recipe.window.hop / signals.RATE_HZ
    count = windows_in(recipe.alarm.on_delay_seconds, hop_seconds)
    never = AlarmRule(np.inf, 0.0, 0, 0, latch=False)
    served = evaluation.Served(scorer.outputs, recipe.window.length, recipe.window.hop, never)
    largest, windows = 0.0, 0
    for _, computed in evaluation.healthy_runs(recipe.healthy_runs, recipe.seed + 3, served):
        score = computed.outputs["score"].astype(np.float64)
        for run in np.unique(computed.run):
            largest = max(largest, float(sustained(score[computed.run == run], count).max()))
        windows += len(score)
    progress("calibrate", 2, 3, "threshold")
    method = (
        "1, where the first evidence reaches its limit, or 1.05 times the largest score that "
        f"healthy runs hold for the on delay: {largest:.3g} in "
        f"{windows * hop_seconds / 3600:.0f} h with 1 % noise"
    )
    return max(1.0, round(1.05 * largest, 2)), method


def _draft(
    recipe: Recipe, threshold: float, method: str, quantiles: Sequence[float]
) -> dict[str, Any]:
    """Return the manifest without `onnx`, `files` and `training.figures`."""
    versions = ("numpy", "onnx", "onnxruntime", "torch")
    return {
        "format": 1,
        "name": recipe.name,
        "version": recipe.version,
        "task": "pinn",
        "description": recipe.description,
        "signals": manifest.signal_entries(),
        "sample_rate_hz": signals.RATE_HZ,
        "window": recipe.window.model_dump(),
        "outputs": manifest.output_entries(recipe.limits, recipe.interval_level),
        "threshold": {
            "value": threshold,
            "method": method,
            "data": "healthy simulated runs kept from everything else",
        },
        "diagnosis": manifest.diagnosis_entries(),
        "alarm": {
            "deadband": float(f"{recipe.alarm.deadband_ratio * threshold:.4g}"),
            "on_delay_seconds": float(recipe.alarm.on_delay_seconds),
            "off_delay_seconds": float(recipe.alarm.off_delay_seconds),
            "latch": recipe.alarm.latch,
            "outside_domain_seconds": OUTSIDE_DOMAIN_SECONDS,
        },
        "tolerance": recipe.tolerance.model_dump(exclude_none=True),
        "training": {
            "data": "the equations alone: no measured and no simulated temperature; SIMULATED runs "
            "of edgeai.plant.mouldcycles for intervals, threshold and figures; no real machine was "
            "measured",
            "method": "physics-informed operator: the residuals of heat equation, contact, water "
            "and sensor lag are minimised over a space-time trunk for sampled conditions; an "
            "operator network learns the minimisers, an encoder which of them explains a window",
            "seed": recipe.seed,
            "recipe": recipe.recorded(),
            "versions": library_versions(versions),
            "physics": manifest.physics_entries(),
            "interval_factors": [float(f"{value:.4g}") for value in quantiles],
        },
    }


def _figures(
    recipe: Recipe, served: evaluation.Served, parts: _Parts, progress: Progress
) -> dict[str, Any]:
    window = served.window
    measured = evaluation.accuracy_figures(recipe.test_runs, recipe.seed + 4, served)
    healthy = evaluation.false_alarms(recipe.healthy_runs, recipe.seed + 5, served)
    faults = evaluation.fault_figures(recipe.fault_runs, recipe.seed + 6, served)
    progress("calibrate", 3, 3, "figures")
    most = max(recipe.curve.labels)
    labels, test = (
        labelled(simulate_runs(count, CYCLES, recipe.seed + offset), window,
                 np.random.default_rng(offset))
        for count, offset in ((most, 7), (recipe.test_runs, 8))
    )  # fmt: skip
    curve = learning_curve(
        parts.monitor(recipe, None), labels, test, recipe.curve, seed=recipe.seed, progress=progress
    )
    return {
        "accuracy": measured,
        "healthy": healthy,
        "faults": faults,
        "learning_curve": curve,
        "parameters": sum(
            p.numel() for m in (parts.encoder, parts.operator) for p in m.parameters()
        ),
    }


def golden_windows(
    recipe: Recipe, scorer: Scorer, threshold: float
) -> tuple[Samples, npt.NDArray[np.int8]]:
    """Return windows of healthy and faulty runs whose score is not near the threshold.

    Returns:
        The windows (N, W, 9), and (N,) 0 for those of healthy runs, 1 for those of faulty runs.
    """
    runs = simulate_runs(
        4 * GOLDEN_WINDOWS,
        CYCLES,
        recipe.seed + 9,
        faults=("", *FAULTS),
        fault_cycle=8,
        with_field=False,
    )
    windows = runs.values[:, -recipe.window.length :]
    scores = scorer.outputs(windows)["score"]
    clear = np.flatnonzero(np.abs(scores - threshold) > 0.03)
    chosen = clear[np.linspace(0, len(clear) - 1, GOLDEN_WINDOWS).astype(int)]
    labels = np.array([bool(runs.faults[run]) for run in chosen], np.int8)
    return np.ascontiguousarray(windows[chosen]), labels
