"""Paths of shipped files and of the state folder, and safe opening of output files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edgeai.errors import ConfigError, Problem

_PACKAGE = Path(__file__).parent


def shipped(kind: str) -> Path:
    """Return the folder of shipped `models`, `devices` or `configs`.

    In an installed wheel they are inside the package, in a checkout beside it.
    """
    inside = _PACKAGE / "shipped" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def is_file(path: Path) -> bool:
    """Whether `path` is a file that this user may look at. An impossible name is no file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def default_state_folder() -> Path:
    """Return the folder for caches: $EDGEAI_STATE_DIR, or edgeai in the user's state folder."""
    given = os.environ.get("EDGEAI_STATE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "edgeai"


def refuse_overwriting(inputs: Sequence[Path], outputs: Sequence[Path | None]) -> None:
    """Refuse an output file that is also an input, or that is given twice.

    Opening an input for writing would empty a recording.

    Args:
        inputs: Files that will be read.
        outputs: Files that will be written. None stands for an output that is not wanted.

    Raises:
        ConfigError: An output is an input, or two outputs are the same file.
    """
    read = {path.resolve() for path in inputs}
    written: set[Path] = set()
    for path in outputs:
        if path is None:
            continue
        if path.resolve() in read:
            raise ConfigError([Problem(str(path), "", "the output must not be an input")])
        if path.resolve() in written:
            rule = "predictions and alarms must be two files"
            raise ConfigError([Problem(str(path), "", rule)])
        written.add(path.resolve())


def open_output(path: Path) -> IO[bytes]:
    """Open a file for writing.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        return path.open("wb")
    except OSError as error:
        rule = f"cannot be written: {error.strerror}"
        raise ConfigError([Problem(str(path), "", rule)]) from error
