"""Load the training data, split by run or by block of time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeai.errors import ConfigError, Problem
from edgeai.model.manifest import SignalSpec
from edgeai.progress import Progress
from edgeai.training.data import files, plant
from edgeai.training.data.findings import Findings
from edgeai.training.data.runs import Run
from edgeai.training.data.windows import Samples
from edgeai.training.recipe import PlantData, Recipe
from edgeai.training.recipe_files import FileData


@dataclass(frozen=True)
class Dataset:
    """Runs of one recipe, grouped by use.

    Attributes:
        signals: The C signals, in the order of the windows' last axis.
        sample_rate_hz: Sample rate of every run.
        fit: Healthy runs for the model's parameters.
        calibrate: Healthy runs for the threshold.
        test: Healthy runs for the reported false alarms.
        faults: Runs that are healthy until a fault starts.
        description: Origin of the data, one sentence.
        notes: What the user must know about the recordings, one line each.
        findings: What was dropped, held or interrupted, by file and reason, with its places.
    """

    signals: tuple[SignalSpec, ...]
    sample_rate_hz: float
    fit: tuple[Run, ...]
    calibrate: tuple[Run, ...]
    test: tuple[Run, ...]
    faults: tuple[Run, ...]
    description: str
    notes: tuple[str, ...] = ()
    findings: Findings = field(default_factory=Findings)

    def hop_seconds(self, recipe: Recipe) -> float:
        """Return the time from one window to the next, s; of cycles the usual time."""
        if recipe.window.cycle is None:
            return recipe.window.hop / self.sample_rate_hz
        steps = [run.windows.hop / run.windows.rate_hz for run in self.calibrate]
        return float(np.median(steps))


def load_data(recipe: Recipe, recipe_path: Path, progress: Progress) -> Dataset:
    """Load the runs that a recipe describes.

    Raises:
        ConfigError: A file, column, signal or fault is unknown or unusable.
    """
    data = recipe.data
    notes: tuple[str, ...] = ()
    findings = Findings()
    if isinstance(data, PlantData):
        signals, rate = plant.signals_of(data, str(recipe_path))
        runs = plant.simulated_runs(data, recipe.window, recipe.seed, str(recipe_path), progress)
        description = plant.describe(data, rate)
    else:
        signals, rate = _specs(data), data.sample_rate_hz
        read = files.read_runs(data, recipe.window, recipe_path, progress)
        runs, notes, findings = read.runs, tuple(read.notes), read.findings
        description = data.source
    by_use = {
        use: tuple(run for run in runs if run.use == use)
        for use in ("fit", "calibrate", "test", "fault")
    }
    return Dataset(
        signals=signals,
        sample_rate_hz=rate,
        fit=by_use["fit"],
        calibrate=by_use["calibrate"],
        test=by_use["test"],
        faults=by_use["fault"],
        description=description,
        notes=notes,
        findings=findings,
    )


def _specs(data: FileData) -> tuple[SignalSpec, ...]:
    return tuple(
        SignalSpec(name=item.name, unit=item.unit, range=item.range, meaning=item.meaning)
        for item in data.signals
    )


def run_windows(runs: Sequence[Run], recipe_path: Path, use: str) -> Samples:
    """Return all windows of runs whose values were all measured, (N, W, C).

    Raises:
        ConfigError: There is no such window.
    """
    parts = [run.windows.take(run.windows.clean) for run in runs]
    if not sum(len(part) for part in parts):
        windows = sum(len(run.windows) for run in runs)
        rule = f"no run for `{use}` holds a whole window"
        if windows:
            rule += f" whose values were all measured and inside their ranges, of {windows} windows"
        raise ConfigError([Problem(str(recipe_path), "data", rule)])
    return np.concatenate(parts)
