"""The kinds of recipe, and which training each is for."""

from pathlib import Path
from typing import Any

from edgeai.config.yaml_file import read_yaml
from edgeai.progress import Progress, silent
from edgeai.training.anomaly.train import train
from edgeai.training.extra import library
from edgeai.training.pinn.moulding_recipe import KIND as MOULDING
from edgeai.training.pinn.recipe import KIND as REFERENCE
from edgeai.training.pinn.reference import train_reference


def train_recipe(
    recipe_path: Path, output_folder: Path | None = None, progress: Progress = silent
) -> str:
    """Train what a recipe asks for, by its key `kind`; without one, an anomaly package.

    Args:
        recipe_path: The file train.yaml.
        output_folder: Where the files go; None: the recipe's folder.
        progress: Told about every step.

    Returns:
        One line that says what was made.

    Raises:
        ConfigError: The recipe or its data breaks a rule, or the extra `train` is not installed.
        ModelError: The graph is not valid or does not agree with float64.
    """
    read: Any = read_yaml(recipe_path)
    kind = read.get("kind") if isinstance(read, dict) else None
    if kind == REFERENCE:
        return str(train_reference(recipe_path, output_folder, progress))
    if kind == MOULDING:
        library("torch", "a moulding package")
        from edgeai.training.pinn.moulding_train import train_moulding

        return train_moulding(recipe_path, output_folder, progress)
    report = train(recipe_path, output_folder, progress)
    manifest = report.package.manifest
    return (
        f"{manifest.name} {manifest.version}: threshold {manifest.threshold.value:g}, "
        f"{report.seconds:.0f} s, in {report.package.folder}"
    )
