"""Facts about the machine, read from files of the kernel; nothing is started or changed."""

import contextlib
import ctypes
import os
import re
from pathlib import Path
from typing import NamedTuple

CONTAINER_FILES = (Path("/.dockerenv"), Path("/run/.containerenv"))
CONTAINER_WORDS = ("docker", "kubepods", "containerd", "libpod", "lxc")
OWN_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
STA_UNSYNC = 0x0040  # timex.h
OCTAL = re.compile(r"\\([0-7]{3})")  # how mountinfo writes a space


class Mount(NamedTuple):
    """A mount of a file system."""

    point: str
    kind: str
    """Such as ext4, tmpfs or overlay."""
    is_read_only: bool


class KernelClock(NamedTuple):
    """What the kernel says about its clock."""

    is_synchronised: bool
    max_error_seconds: float


class _Timex(ctypes.Structure):
    """The start of `struct timex`, adjtimex(2); the rest is room for the kernel."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def kernel_clock() -> KernelClock | None:
    """Return the state of the kernel's clock; None if this system does not tell it."""
    state = _Timex()  # modes 0: nothing is set
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return None
    if adjtimex(ctypes.byref(state)) < 0:
        return None
    return KernelClock(not state.status & STA_UNSYNC, state.maxerror / 1e6)


def is_own_host(host: str) -> bool:
    """Return whether a host is the machine, or the container, itself."""
    return host in OWN_HOSTS


def is_in_container() -> bool:
    """Return whether this process runs in a container, as far as it can be seen."""
    if os.environ.get("container") or any(one.exists() for one in CONTAINER_FILES):  # noqa: SIM112  systemd-nspawn and podman set it
        return True
    groups = read_text(Path("/proc/1/cgroup"))
    return any(word in groups for word in CONTAINER_WORDS)


def mount_of(path: Path) -> Mount | None:
    """Return the mount that holds a path; None if this system does not tell it."""
    found: Mount | None = None
    target = str(path.resolve())
    for line in read_text(Path("/proc/self/mountinfo")).splitlines():
        before, _, after = line.partition(" - ")
        parts, kinds = before.split(), after.split()
        if len(parts) < 6 or len(kinds) < 3:
            continue
        point = OCTAL.sub(lambda found: chr(int(found[1], 8)), parts[4])
        inside = target.startswith("/" if point == "/" else f"{point}/") or target == point
        if inside and (found is None or len(point) >= len(found.point)):
            read_only = "ro" in parts[5].split(",") or "ro" in kinds[2].split(",")
            found = Mount(point, kinds[0], read_only)
    return found


def read_text(path: Path) -> str:
    """Return the start of a file; empty if it cannot be read."""
    with contextlib.suppress(OSError):
        return path.read_bytes()[:1_000_000].decode("utf-8", "replace")
    return ""
