"""Start programs, and read their CPU time and memory from /proc (Linux)."""

import ctypes
import os
import signal
import subprocess
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def start_program(
    command: list[str], log: Path, *, cwd: Path | None = None, read: bool = False
) -> subprocess.Popen[bytes]:
    """Start a program that ends when this process ends, even if it is killed.

    Args:
        command: Program and arguments.
        log: File for standard error, and for standard output unless `read`.
        cwd: Working directory.
        read: Provide standard output as a pipe.
    """
    with log.open("wb") as output:
        target: int | IO[bytes] = subprocess.PIPE if read else output
        return subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=output,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  this process has no other thread
        )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def family(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    found = [pid]
    for member in found:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue  # the thread has ended
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its descendants, including those that ended, s.

    Living threads are read from the scheduler (schedstat, ns). The ticks of /proc/<pid>/stat are
    samples every 10 ms, which can be wrong by a factor of four for a process that a timer wakes.
    """
    nanoseconds = ticks = 0
    for member in family(pid):
        for thread in Path(f"/proc/{member}/task").glob("*/schedstat"):
            try:
                nanoseconds += int(thread.read_text().split()[0])
            except OSError:
                continue  # the thread has ended
        try:
            stat = Path(f"/proc/{member}/stat").read_text()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()  # the name may contain spaces
        ticks += sum(int(field) for field in fields[13:15])  # of children that ended
    return nanoseconds / 1e9 + ticks / TICKS_PER_SECOND


def busy_seconds() -> float:
    """Return the time that all cores worked or were withheld by a hypervisor, s."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its children; shared pages count for each."""
    total = 0
    for member in family(pid):
        try:
            status = Path(f"/proc/{member}/status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total
