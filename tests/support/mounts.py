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
    # bash sets HOME by itself.
    script = f'{mounts}\nexec env {" ".join(f"-u {name}" for name in unset)} "$@"'
    command = [sys.executable, "-m", "edgeai", *arguments]
    return subprocess.run(
        [*APART, "bash", "-e", "-c", script, "bash", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


HOME_VARIABLES = ("HOME", "XDG_STATE_HOME", "EDGEAI_STATE_DIR")


def no_users(folder: Path) -> str:
    """Return the mounts that empty the user database; `HOME_VARIABLES` must be unset too."""
    (folder / "passwd").touch()
    (folder / "nsswitch.conf").write_text("passwd: files\n")  # systemd makes up an entry of root
    return "\n".join(
        f"mount --bind {folder / name} /etc/{name}" for name in ("passwd", "nsswitch.conf")
    )


def run_without_home(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `edgeai ARGUMENTS` as a user id that has no entry in /etc/passwd, and without HOME."""
    return run_with_mounts(arguments, folder, no_users(folder), unset=HOME_VARIABLES)
