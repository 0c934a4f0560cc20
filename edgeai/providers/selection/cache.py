"""Remove verdicts and compiled models that were not used for a long time from the state folder.

Each version of a model, driver or runtime leaves a verdict and a compiled model of up to hundreds
of megabytes. A removed file is created again when it is needed.
"""

import contextlib
import os
import shutil
import time
from pathlib import Path

MAX_UNUSED_SECONDS = 180 * 86400.0  # 180 days


def mark_used(path: Path) -> None:
    """Set the time of last use of a verdict or of a folder of compiled models."""
    with contextlib.suppress(OSError):  # in a read-only folder nothing is removed either
        os.utime(path)


def remove_unused(state_folder: Path) -> None:
    """Remove verdicts and compiled models that were not used for MAX_UNUSED_SECONDS."""
    before = time.time() - MAX_UNUSED_SECONDS
    root = state_folder / "providers"
    for path in [*root.glob("verdicts/*"), *root.glob("compiled/*")]:
        with contextlib.suppress(OSError):  # another process may remove it too
            if path.stat().st_mtime >= before:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
