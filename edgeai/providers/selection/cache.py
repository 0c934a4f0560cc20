"""What proofs and compilers leave in the state folder does not grow for ever.

Each version of a model, driver or runtime leaves a verdict, and an engine of up to hundreds of
megabytes. What no start has used for long is removed; were it wanted again, it would be made anew.
"""

import contextlib
import os
import shutil
import time
from pathlib import Path

KEPT_SECONDS = 180 * 86400.0


def note_use(path: Path) -> None:
    """Note that a verdict or a folder of compiled models is in use."""
    with contextlib.suppress(OSError):  # nothing can be written: then nothing is removed either
        os.utime(path)


def forget_old(state_folder: Path) -> None:
    """Remove the verdicts and compiled models that have not been used for long."""
    before = time.time() - KEPT_SECONDS
    root = state_folder / "providers"
    for place in [*root.glob("verdicts/*"), *root.glob("compiled/*")]:
        with contextlib.suppress(OSError):  # another process removes it too
            if place.stat().st_mtime >= before:
                continue
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink()
