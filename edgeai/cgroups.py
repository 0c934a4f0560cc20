"""How many CPUs and how much memory this process may use, by its control groups and the machine.

A container or a systemd unit may limit both, and neither `os.cpu_count` nor the memory of the
machine shows it: a process that starts a thread for every core then waits for the scheduler, and
one that fills the memory of the machine is ended by the kernel.

Both versions of control groups are read, as a machine may use them side by side. A group limits all
groups inside it, so the smallest limit on the way to the root counts. On systems without control
groups nothing but the machine limits.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc/self")
NO_LIMIT_BYTES = 1 << 60  # version 1 writes a number near 2^63 for "no limit"


class Usable(NamedTuple):
    """What this process may use."""

    cpus: float
    """CPUs: a quota may allow a part of one."""
    memory_bytes: int | None
    """None: unknown."""
    is_cpu_limited: bool = False
    """Whether a control group, and not the machine, limits the CPUs."""
    is_memory_limited: bool = False
    """Whether a control group, and not the machine, limits the memory."""

    @property
    def threads(self) -> int:
        """Number of threads that can compute at the same time, at least 1."""
        return max(1, int(self.cpus))


class _Group(NamedTuple):
    """A control group that holds this process, and the groups around it."""

    folders: list[Path]
    is_unified: bool
    """Whether it belongs to version 2."""


def usable(proc: Path = PROC) -> Usable:
    """Return what this process may use.

    Args:
        proc: The folder with this process's `cgroup` and `mountinfo`.
    """
    quota, memory_limit = _smallest_quota(proc), _smallest_memory(proc)
    cpus, memory = _machine_cpus(), _machine_memory()
    is_cpu_limited = quota is not None and quota < cpus
    is_memory_limited = memory_limit is not None and (memory is None or memory_limit < memory)
    return Usable(
        cpus=quota if quota is not None and is_cpu_limited else float(cpus),
        memory_bytes=memory_limit if is_memory_limited else memory,
        is_cpu_limited=is_cpu_limited,
        is_memory_limited=is_memory_limited,
    )


def _machine_cpus() -> int:
    """Return the number of CPUs on which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine_memory() -> int | None:
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    return size if size > 0 else None


def _smallest_quota(proc: Path) -> float | None:
    """Return the smallest CPU quota in CPUs; None if there is none."""
    quotas = []
    for group in _groups(proc, "cpu"):
        for folder in group.folders:
            if group.is_unified:
                quota, _, period = _read(folder / "cpu.max").partition(" ")
            else:
                quota = _read(folder / "cpu.cfs_quota_us")
                period = _read(folder / "cpu.cfs_period_us")
            if quota.isdecimal() and period.isdecimal() and int(period) > 0:  # not `max`, not -1
                quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _smallest_memory(proc: Path) -> int | None:
    """Return the smallest memory limit in bytes; None if there is none."""
    limits = []
    for group in _groups(proc, "memory"):
        name = "memory.max" if group.is_unified else "memory.limit_in_bytes"
        for folder in group.folders:
            limit = _read(folder / name)
            if limit.isdecimal() and int(limit) < NO_LIMIT_BYTES:
                limits.append(int(limit))
    return min(limits, default=None)


def _groups(proc: Path, controller: str) -> list[_Group]:
    """Return the groups of this process that may limit what a controller gives."""
    paths: dict[bool, str] = {}  # of its groups, by whether they belong to version 2
    for line in _read(proc / "cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            paths[True] = path
        elif controller in controllers.split(","):
            paths[False] = path
    found = []
    for mount, root, is_unified in _mounts(proc, controller):
        if is_unified in paths:
            folder = mount / _inside(paths[is_unified], root)
            around = [folder, *(one for one in folder.parents if one.is_relative_to(mount))]
            found.append(_Group(around, is_unified))
    return found


def _mounts(proc: Path, controller: str) -> list[tuple[Path, str, bool]]:
    """Return where the groups of a controller are mounted, which group that is, and the version.

    The lines of `mountinfo` are described in proc_pid_mountinfo(5).
    """
    found = []
    for line in _read(proc / "mountinfo").splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if not separator or len(fields) < 5 or len(kind) < 3:
            continue
        root, mount = _unescape(fields[3]), Path(_unescape(fields[4]))
        if kind[0] == "cgroup2":
            found.append((mount, root, True))
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            found.append((mount, root, False))
    return found


def _inside(path: str, root: str) -> str:
    """Return the path of a group below the group that is mounted.

    A container without a namespace for control groups sees the path on its host, which does not
    exist in the container, and has its own group mounted.
    """
    if root == "/":
        return "" if ".." in path.split("/") else path.strip("/")
    return path[len(root) :].strip("/") if f"{path}/".startswith(f"{root}/") else ""


def _unescape(text: str) -> str:
    r"""Replace the octal numbers that stand for spaces and other characters, such as \040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
