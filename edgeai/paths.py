"""Where the shipped models, devices and configs lie, where state is kept, how output is opened."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edgeai.errors import ConfigError, Problem

_PACKAGE = Path(__file__).parent


def shipped(kind: str) -> Path:
    """Return the folder of shipped `models`, `devices` or `configs`.

    In an installed wheel they lie inside the package; in a checkout beside it.
    """
    inside = _PACKAGE / "shipped" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def is_file(path: Path) -> bool:
    """Whether a file is there that may be looked at; a name no system takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def default_state_folder() -> Path:
    """Return the folder for caches of verdicts: $EDGEAI_STATE_DIR, or the user's state folder."""
    given = os.environ.get("EDGEAI_STATE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "edgeai"


def refuse_overwriting(inputs: Sequence[Path], outputs: Sequence[Path | None]) -> None:
    """Refuse an output that is an input (opening it would empty a recording), or named twice.

    Raises:
        ConfigError: One is.
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
        ConfigError: It cannot be written.
    """
    try:
        return path.open("wb")
    except OSError as error:
        rule = f"cannot be written: {error.strerror}"
        raise ConfigError([Problem(str(path), "", rule)]) from error
