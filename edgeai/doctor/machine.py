"""This machine: its clock, the state folder, memory, CPU and the traps of a container."""

import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from edgeai.cgroups import usable
from edgeai.config.node import Config
from edgeai.doctor.findings import Findings
from edgeai.doctor.surroundings import (
    is_in_container,
    kernel_clock,
    mount_of,
)
from edgeai.paths import NO_STATE_FOLDER

EARLIEST_SECONDS = 1_790_000_000  # 2026-09-21: this program did not exist before
FAIL_FREE_BYTES, WARN_FREE_BYTES = 8 * 1024**2, 256 * 1024**2
NEEDED_BYTES = 160 * 1024**2
"""Memory of a node with a few models and 100 streams, with a margin (docs/performance.md)."""
NEEDED_DESCRIPTORS = 256
MEGABYTE = 1024**2
NO_FILES = {
    "proc", "sysfs", "cgroup", "cgroup2", "devpts", "debugfs", "tracefs", "securityfs", "mqueue"
}  # fmt: skip
"""Kinds of file systems that show the kernel and keep no files."""


def check_clock(findings: Findings) -> None:
    """Check that this machine's clock is plausible, and synchronised by the kernel's account."""
    now = time.time()
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    zone = time.strftime("%Z %z")
    remedy = "turn on a time service (timedatectl set-ntp true, or chrony with the plant's server)"
    state = kernel_clock()
    if now < EARLIEST_SECONDS:
        findings.fail("clock", f"this machine says that it is {shown}", f"set the clock; {remedy}")
    elif state is None:
        findings.skip("clock", f"{shown}, local zone {zone}; the kernel does not say more")
    elif not state.is_synchronised:
        findings.warn(
            "clock", f"{shown}, local zone {zone}; the kernel's clock is not synchronised", remedy
        )
    else:
        error = f"{state.max_error_seconds:.3f} s"
        findings.ok("clock", f"{shown}, local zone {zone}, synchronised, error at most {error}")


def check_state_folder(folder: Path, findings: Findings) -> None:
    """Check that the state folder can be written, without writing to it."""
    remedy = "set `state_folder`, or EDGEAI_STATE_DIR, to a folder that can be written"
    lost = "; nothing is kept for the next start, also no alarm"
    if folder == NO_STATE_FOLDER:
        findings.fail("state folder", f"this user has no home folder{lost}", remedy)
        return
    existing = folder.absolute()
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    where = str(folder) if existing == folder.absolute() else f"{folder} (to be made in {existing})"
    mount = mount_of(existing)
    if not existing.is_dir():
        findings.fail("state folder", f"{where}: {existing} is not a folder{lost}", remedy)
        return
    if mount is not None and mount.is_read_only:
        findings.fail(
            "state folder", f"{where}: the file system is mounted read-only{lost}",
            f"{remedy}; in a container mount a volume there",
        )  # fmt: skip
        return
    if mount is not None and mount.kind in NO_FILES:
        findings.fail(
            "state folder",
            f"{where}: this file system ({mount.kind}) shows the kernel and keeps no files{lost}",
            remedy,
        )
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        findings.fail(
            "state folder", f"{where}: the user {os.geteuid()} must not write there{lost}",
            f"{remedy} (chown {os.geteuid()} {existing})",
        )  # fmt: skip
        return
    usage = shutil.disk_usage(existing)
    free = usage.free
    if usage.total and free < WARN_FREE_BYTES:
        full = findings.fail if free < FAIL_FREE_BYTES else findings.warn
        full(
            "state folder", f"{where}: {free / MEGABYTE:.1f} MB are free",
            "make room on this disk, or move `state_folder` to another",
        )  # fmt: skip
    elif mount is not None and (mount.kind == "tmpfs" or _is_lost_with_container(mount.kind)):
        findings.warn(
            "state folder", f"{where}: is lost at a restart (file system {mount.kind})",
            "mount a volume there, or set `state_folder` to one",
        )  # fmt: skip
    else:
        # Some network file systems do not say how large they are.
        room = f"{free / 1024**3:.1f} GB are free" if usage.total else "its size is not known"
        findings.ok("state folder", f"{where}: can be written, {room}")


def _is_lost_with_container(kind: str) -> bool:
    return kind == "overlay" and is_in_container()


def check_limits(config: Config, threads: int, findings: Findings) -> None:
    """Check memory, open files and CPU against what a node needs.

    Args:
        config: The node's.
        threads: Of one model on the CPU, from the device profile.
        findings: Gets what is found.
    """
    found = usable()
    memory = found.memory_bytes
    needed = NEEDED_BYTES * max(1, config.workers)
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if memory is not None and memory < needed:
        findings.warn(
            "memory", f"{memory / MEGABYTE:.0f} MB may be used",
            f"allow at least {needed / MEGABYTE:.0f} MB for {config.workers} process(es); the "
            "kernel ends a process that needs more",
        )  # fmt: skip
    else:
        shown = "unknown" if memory is None else f"{memory / MEGABYTE:.0f} MB may be used"
        findings.ok("memory", f"{shown}, {descriptors} open files")
    if descriptors < NEEDED_DESCRIPTORS:
        findings.warn(
            "memory", f"only {descriptors} files may be open",
            f"raise the limit (ulimit -n, LimitNOFILE) to {NEEDED_DESCRIPTORS}",
        )  # fmt: skip
    cpus = found.cpus
    wanted = threads * config.workers
    if wanted > max(1.0, cpus):
        findings.warn(
            "cpu", f"{cpus:g} CPUs may be used, by {wanted} threads of models",
            "set `threads` of the candidate `cpu` in the device profile, or `workers`, so that "
            "their product is not above the CPUs; more threads than CPUs only wait for each other",
        )  # fmt: skip
    else:
        findings.ok("cpu", f"{cpus:g} CPUs may be used, by {wanted} thread(s) of models")


def check_container(config: Config, findings: Findings) -> None:
    """Check what goes wrong in containers without a word."""
    try:
        with tempfile.TemporaryFile():
            pass
    except OSError as error:
        findings.fail(
            "container", f"no temporary file can be made: {error.strerror}",
            "mount a tmpfs at /tmp, or set TMPDIR to a folder that can be written",
        )  # fmt: skip
    if not is_in_container():
        if not findings.has("container"):
            own = " (as root: a service with a user of its own may have fewer rights)"
            findings.ok("container", f"not in a container{own if os.geteuid() == 0 else ''}")
        return
    if config.http.enabled and not config.http.is_open:
        findings.warn(
            "container", f"http.host {config.http.host} admits the container itself only",
            "set http.host to 0.0.0.0, with http.token, and publish the port",
        )  # fmt: skip
    if not findings.has("container"):
        user = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
        findings.ok("container", f"in a container, as {user}")
