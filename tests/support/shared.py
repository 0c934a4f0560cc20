"""What is made once a test run and used by all workers of pytest-xdist."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder of this test run: the same for all its workers."""
    base = factory.getbasetemp()
    # A worker's own folder lies in that of the run.
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that `make` has filled; the first worker that asks for it makes it.

    Args:
        factory: Of this test run.
        name: Of the folder, unique in the test run.
        make: Fills an empty folder. When it raises, the next worker tries again.
    """
    folder = shared_folder(factory) / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    complete = folder.with_name(f"{name}.complete")
    with FileLock(folder.with_name(f"{name}.lock")):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder


def own_state(folder: Path) -> Path:
    """Return the state folder `folder`/state for a node of a test's own.

    It keeps alarms and subscriptions of its own. What was found out about models (facts about their
    graphs, held values) is shared with all tests, because finding it out again takes 0.5 s.
    """
    state, shared = folder / "state", Path(os.environ["EDGEAI_STATE_DIR"])
    state.mkdir(parents=True, exist_ok=True)
    for name in ("inspection", "held-values"):
        (shared / name).mkdir(parents=True, exist_ok=True)
        if not (state / name).is_symlink():
            (state / name).symlink_to(shared / name)
    return state
