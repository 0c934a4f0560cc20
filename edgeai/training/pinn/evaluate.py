"""`edgeai evaluate pinn`: measure every stored network and every package that has figures."""

from collections.abc import Callable, Sequence
from pathlib import Path

from edgeai.errors import ConfigError, Problem, listed
from edgeai.paths import shipped
from edgeai.progress import Progress, silent
from edgeai.training.pinn.figures import Figure
from edgeai.training.pinn.identifiability import IDENTIFIABLE
from edgeai.training.pinn.measures import MEASURES, TCLAB_RUNS, tclab_identified
from edgeai.training.trainer import load_trainer, read_trainer

CHECKOUT = Path(__file__).resolve().parents[3]
DATA_FOLDERS = ("pinn_reference", "tclab_thermal")


def data_folder(given: Path | None) -> Path:
    """Return the folder of the public data; default: `shared/data` beside the checkout.

    Raises:
        ConfigError: The folder is missing or does not contain the data.
    """
    folder = given or CHECKOUT.parent / "shared" / "data"
    missing = [name for name in DATA_FOLDERS if not (folder / name).is_dir()]
    if missing:
        rule = f"the folder {listed(missing)} is missing in it; name another folder with --data"
        raise ConfigError([Problem(str(folder), "", rule)])
    return folder


def stored_folder() -> Path:
    """Return the folder of the stored networks, which is in a checkout only.

    Raises:
        ConfigError: edgeai runs from an installed wheel.
    """
    folder = CHECKOUT / "references" / "pinn"
    if not folder.is_dir():
        raise ConfigError([Problem(str(folder), "", "exists only in a checkout of the repository")])
    return folder


def evaluate_references(data: Path, stored: Path, progress: Progress = silent) -> list[Figure]:
    """Return the figures of every reference problem.

    Args:
        data: The folder of the public data.
        stored: The folder of the stored networks.
        progress: Called after every problem.

    Raises:
        ConfigError: A file is missing or cannot be read.
    """
    figures: list[Figure] = []
    for number, (name, measure) in enumerate(MEASURES.items(), 1):
        figures += measure(data, stored)
        progress("evaluate", number, len(MEASURES), name)
    return figures


def evaluate_packages(_data: Path, _stored: Path, progress: Progress = silent) -> list[Figure]:
    """Return the figures of every shipped package whose trainer defines the function `figures`.

    Args:
        progress: Called after every package.

    Raises:
        ConfigError: A recipe or a trainer cannot be read.
    """
    recipes = [
        path for path in sorted(shipped("models").glob("*/train.yaml")) if read_trainer(path)
    ]
    figures: list[Figure] = []
    for number, recipe in enumerate(recipes, 1):
        measure = getattr(load_trainer(recipe), "figures", None)
        if measure is not None:
            figures += measure(recipe.parent, progress)
        progress("packages", number, len(recipes), recipe.parent.name)
    return figures


Source = Callable[[Path, Path, Progress], list[Figure]]
SOURCES: Sequence[Source] = (evaluate_references, evaluate_packages)
"""Functions (data folder, folder of stored networks, progress) that return figures."""


def evaluate_pinn(data: Path | None = None, progress: Progress = silent) -> list[Figure]:
    """Return all figures; see `data_folder` for `data`."""
    folder, stored = data_folder(data), stored_folder()
    return [figure for source in SOURCES for figure in source(folder, stored, progress)]


def identifiability(data: Path | None = None) -> list[str]:
    """Return sentences on the parameters of TCLab that the readings do not determine."""
    folder, stored = data_folder(data), stored_folder()
    lines = []
    for run in TCLAB_RUNS:
        known = tclab_identified(folder, stored, run)
        least, most = known.eigenvalues[0], known.eigenvalues[-1]
        blind = ", ".join(f"{name} {part:+.2f}" for name, part in known.blind.items())
        unknown = [name for name, part in known.spread.items() if part > IDENTIFIABLE]
        lines.append(
            f"tclab-{run}: T1 alone does not determine {', '.join(unknown)}. The information in "
            f"the worst direction ({blind}, of the logarithms) is {least / most:.0e} of the best."
        )
    return lines
