"""The trainer of moulding-pinn, written on the public interface of `edgeai.training.pinn`.

`edgeai train` calls `train`, `edgeai evaluate pinn` calls `figures`. The modules, in the order in
which they are best read:

    signals      input signals, trained ranges, points of the field
    physics      the equations of one cycle and their solution by least squares
    windows      training windows made from solved cycles
    network      torch modules: alignment, encoder, operator
    fit          fitting of operator and encoder
    monitor      the exported graph: all outputs from a window
    runs         simulated runs with their hidden state
    measure      comparison of the package's outputs with the hidden state
    evaluation   the figures of the package
    curve        comparison with a network that is fitted on labels
    manifest     the entries of model.yaml
    card         README.md
    build        from the recipe to the package
"""

from pathlib import Path

from edgeai.progress import Progress
from edgeai.training.pinn import Figure, library


def train(recipe: Path, folder: Path, progress: Progress) -> str:
    """Train the package; an interrupted training continues from its checkpoint.

    Args:
        recipe: The file train.yaml.
        folder: Where the package is written.
        progress: Called after every step.

    Returns:
        One line that says what was made.

    Raises:
        ConfigError: The recipe breaks a rule, or the extra `train` is not installed.
        ModelError: The graph is not valid or does not agree with float64.
    """
    library("torch", "the training of moulding-pinn")
    from .build import build_package

    return build_package(recipe, folder, progress)


def figures(folder: Path, progress: Progress) -> list[Figure]:
    """Measure the stored package on simulated runs that were not used in training.

    Args:
        folder: Folder of the package.
        progress: Called after every step.

    Raises:
        ConfigError: The package's manifest breaks a rule.
        ModelError: A file is missing, or its hash is not the one in the manifest.
    """
    from .evaluation import package_figures

    return package_figures(folder, progress)
