"""Which training a recipe asks for."""

from pathlib import Path
from typing import Any

from edgeai.config.yaml_file import read_yaml
from edgeai.errors import ConfigError, Problem
from edgeai.progress import Progress, silent
from edgeai.training.anomaly.train import train
from edgeai.training.pinn.recipe import KIND as REFERENCE
from edgeai.training.pinn.reference import train_reference
from edgeai.training.trainer import FIELD, entry_function, load_trainer


def train_recipe(
    recipe_path: Path, output_folder: Path | None = None, progress: Progress = silent
) -> str:
    """Train what a recipe asks for.

    A recipe with the field `trainer` is trained by its own code (`edgeai.training.trainer`), one
    with `kind: pinn-reference` is a reference problem, any other an anomaly package.

    Args:
        recipe_path: The file train.yaml.
        output_folder: Where the files are written; None: the recipe's folder.
        progress: Called after every step.

    Returns:
        One line that says what was made.

    Raises:
        ConfigError: The recipe or its data breaks a rule, its trainer is missing, or the extra
            `train` is not installed.
        ModelError: The graph is not valid or does not agree with float64.
    """
    read: Any = read_yaml(recipe_path)
    fields = read if isinstance(read, dict) else {}
    if FIELD in fields:
        own_train = entry_function(load_trainer(recipe_path), "train")
        folder = output_folder or recipe_path.resolve().parent
        return str(own_train(recipe_path, folder, progress))
    kind = fields.get("kind")
    if kind == REFERENCE:
        return str(train_reference(recipe_path, output_folder, progress))
    if kind is not None:
        rule = f"must be {REFERENCE}, or absent; a recipe with its own code names it in `{FIELD}`"
        raise ConfigError([Problem(str(recipe_path), "kind", rule, kind, has_value=True)])
    report = train(recipe_path, output_folder, progress)
    manifest = report.package.manifest
    return (
        f"{manifest.name} {manifest.version}: threshold {manifest.threshold.value:g}, "
        f"{report.seconds:.0f} s, in {report.package.folder}"
    )
