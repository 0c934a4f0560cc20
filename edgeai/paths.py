"""Where the shipped models, devices and configs lie, and where edgeai keeps its state."""

import os
from pathlib import Path

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
