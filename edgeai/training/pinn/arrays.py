"""Read the reference data, .npz and .csv files, into arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.errors import ConfigError, Problem, one_line


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of a .npz file, or the columns of a .csv file with a header.

    Raises:
        ConfigError: The file is missing or cannot be read.
    """
    try:
        if path.suffix == ".csv":
            table = np.genfromtxt(path, delimiter=",", names=True, dtype=float)
            return {str(name): table[name] for name in table.dtype.names or ()}
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except Exception as error:  # numpy and zipfile raise a dozen kinds on a damaged file
        reason = getattr(error, "strerror", None) or one_line(error) or type(error).__name__
        raise ConfigError([Problem(str(path), "", f"cannot be read: {reason}")]) from error
