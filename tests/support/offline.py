"""Run a command with the network cut off, and see what it asks for and what it writes.

`unshare` gives the command a network of its own that has only a loopback; strace shows every
connection and every file that it opens for writing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

NAME_SERVICE_PORT = 53
CALLS = "connect,sendto,sendmsg,sendmmsg,openat,open,creat,mkdir,mkdirat"
HIDDEN_VARIABLES = (
    "CI",
    "HOME",
    "XDG_",
    "EDGEAI_STATE_DIR",
    "ORT_",
    "TF_BUILD",
    "JENKINS",
    "GITHUB_",
)
"""Removed from the environment: some libraries report nothing where they see a build server."""
# Without a user namespace where root runs the tests: in one, mosquitto cannot drop its privileges.
CUT_OFF = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
PSEUDO_FILES = ("/proc/", "/dev/null", "/dev/tty", "/sys/", "memfd:")


@dataclass(frozen=True)
class Traced:
    """What a command did."""

    code: int
    output: str
    asked: list[str]
    """Lines of strace: connections to a name service, or to another machine."""
    written: set[Path]
    """Files opened for writing, and folders created, anywhere."""

    def outside(self, *allowed: Path) -> set[Path]:
        """Return what was written outside these folders."""
        return {
            path for path in self.written if not any(path.is_relative_to(one) for one in allowed)
        }


def require_isolation() -> None:
    """Skip the test where a network of its own, or strace, is not to be had."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: strace)")
    probe = [*CUT_OFF, "ip", "link", "set", "lo", "up"]
    try:
        done = subprocess.run(probe, capture_output=True, check=False)
    except OSError:
        done = None
    if done is None or done.returncode != 0:
        pytest.skip("this system gives no network namespaces to tests (unshare -n)")


def run_offline(
    arguments: list[str],
    folder: Path,
    *,
    before: str = "",
    seconds: float | None = None,
    python: str = sys.executable,
    variables: dict[str, str] | None = None,
) -> Traced:
    """Run `python ARGUMENTS` in `folder` with a fresh home, a fresh TMPDIR and no network.

    Args:
        arguments: For the interpreter, such as ["-m", "edgeai", "check", "line.yaml"].
        folder: Working folder. `home`, `tmp` and the state folder `state` are made inside.
        before: Shell commands that start what the command needs, such as a broker, in the same
            network, not traced. `$PYTHON` is the interpreter.
        seconds: SIGTERM is sent after this time.
        python: The interpreter.
        variables: Further environment variables.
    """
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(HIDDEN_VARIABLES)
    }
    environment |= {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "EDGEAI_STATE_DIR": str(folder / "state"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHON": python,
    }
    trace = folder / "trace"
    stop = [] if seconds is None else ["timeout", "--preserve-status", "-s", "TERM", str(seconds)]
    command = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-s", "256", "-e", f"trace={CALLS}"]
    command = [*stop, *command, "-o", str(trace), python, *arguments]
    script = f'ip link set lo up; {before}\n"$@"; code=$?; kill $(jobs -p) 2>/dev/null; exit $code'
    done = subprocess.run(
        [*CUT_OFF, "bash", "-c", script, "bash", *command],
        cwd=folder,
        env=environment | (variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = trace.read_text(errors="replace").splitlines()
    asked = [line for line in lines if is_foreign(line)]
    written = {path for line in lines if (path := written_path(line, folder)) is not None}
    return Traced(done.returncode, done.stdout, asked, written)


def is_foreign(line: str) -> bool:
    """Whether a line of strace is a look-up of a name, or speaks to another machine."""
    address = re.search(
        r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"', line
    )
    if address is None:
        return False
    is_here = address[2].startswith("127.") or address[2] in {"::1", "::ffff:127.0.0.1"}
    return int(address[1]) == NAME_SERVICE_PORT or not is_here


def written_path(line: str, folder: Path) -> Path | None:
    """Return the file that a line of strace opens for writing or the folder that it creates."""
    call = re.match(r'\d+ +(\w+)\((?:AT_FDCWD(?:<[^>]*>)?, |\d+<([^>]*)>, )?"([^"]*)"(.*)', line)
    if call is None or re.search(r"= -1 E", call[4]):
        return None
    name, base, path, rest = call.groups()
    if name.startswith("open") and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", rest):
        return None
    if name not in {"open", "openat", "creat", "mkdir", "mkdirat"} or not path:
        return None
    found = Path(os.path.normpath(Path(base or folder) / path))
    return None if str(found).startswith(PSEUDO_FILES) else found
