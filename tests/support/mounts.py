"""Run a command among other mounts: without an entry in the user database, or on a read-only disk.

Real mounts in a namespace of their own, because no permission stops root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

APART = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]


def run_with_mounts(
    arguments: list[str], folder: Path, mounts: str, *, unset: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run `edgeai ARGUMENTS` in `folder` after shell commands that mount; skip where none may.

    Args:
        arguments: Of the command.
        folder: Working folder.
        mounts: Shell commands, such as `mount --bind a b`.
        unset: Environment variables to remove.
    """
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    probe = subprocess.run(
        [*APART, "mount", "-t", "tmpfs", "none", str(folder)],
        capture_output=True,
        check=False,
    )
    if probe.returncode != 0:
        pytest.skip("this system gives no mount namespaces to tests (unshare -m)")
    script = f'{mounts}\nexec "$@"'
    command = [sys.executable, "-m", "edgeai", *arguments]
    return subprocess.run(
        [*APART, "bash", "-e", "-c", script, "bash", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def run_without_home(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `edgeai ARGUMENTS` as a user id that has no entry in /etc/passwd, and without HOME."""
    (folder / "no-users").touch()
    mounts = f"mount --bind {folder / 'no-users'} /etc/passwd"
    unset = ("HOME", "XDG_STATE_HOME", "EDGEAI_STATE_DIR")
    return run_with_mounts(arguments, folder, mounts, unset=unset)
