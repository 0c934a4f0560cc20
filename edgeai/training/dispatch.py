"""Which training a recipe asks for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.config.yaml_file import read_yaml
from edgeai.errors import ConfigError, Problem
from edgeai.progress import Progress, silent
from edgeai.training.anomaly.train import train
from edgeai.training.anomaly.verdict import Verdict
from edgeai.training.pinn.recipe import KIND as REFERENCE
from edgeai.training.pinn.reference import train_reference
from edgeai.training.trainer import FIELD, entry_function, load_trainer


@dataclass(frozen=True)
class Outcome:
    """What a training has made."""

    summary: str
    """One line that says what was made."""
    verdict: Verdict | None = None
    """The verdict on an anomaly model; None: the recipe's own code has reported its figures."""


def train_recipe(
    recipe_path: Path | str, output_folder: Path | str | None = None, progress: Progress = silent
) -> str:
    """Do what `run_recipe` does, and return one line that says what was made."""
    return run_recipe(recipe_path, output_folder, progress).summary


def run_recipe(
    recipe_path: Path | str,
    output_folder: Path | str | None = None,
    progress: Progress = silent,
    *,
    keep_useless: bool = False,
) -> Outcome:
    """Train what a recipe asks for.

    A recipe with the field `trainer` is trained by its own code (`edgeai.training.trainer`), one
    with `kind: pinn-reference` is a reference problem, any other an anomaly package.

    Args:
        recipe_path: The file train.yaml.
        output_folder: Where the files are written; None: the recipe's folder.
        progress: Called after every step.
        keep_useless: Write an anomaly package even if the verdict is that it is of no use.

    Raises:
        ConfigError: The recipe or its data breaks a rule, its trainer is missing, or the extra
            `train` is not installed.
        ModelError: The graph is not valid or does not agree with float64.
    """
    recipe_path = Path(recipe_path)
    output_folder = None if output_folder is None else Path(output_folder)
    read: Any = read_yaml(recipe_path)
    fields = read if isinstance(read, dict) else {}
    if FIELD in fields:
        own_train = entry_function(load_trainer(recipe_path), "train")
        folder = output_folder or recipe_path.resolve().parent
        return Outcome(str(own_train(recipe_path, folder, progress)))
    kind = fields.get("kind")
    if kind == REFERENCE:
        return Outcome(str(train_reference(recipe_path, output_folder, progress)))
    if kind is not None:
        rule = f"must be {REFERENCE}, or absent; a recipe with its own code names it in `{FIELD}`"
        raise ConfigError([Problem(str(recipe_path), "kind", rule, kind, has_value=True)])
    report = train(recipe_path, output_folder, progress, keep_useless=keep_useless)
    if report.package is None:
        summary = f"{fields.get('name')}: nothing was written, because the model is of no use"
        return Outcome(summary, report.verdict)
    manifest = report.package.manifest
    summary = (
        f"{manifest.name} {manifest.version}: threshold {manifest.threshold.value:g}, "
        f"{report.seconds:.0f} s, in {report.package.folder}"
    )
    return Outcome(summary, report.verdict)
