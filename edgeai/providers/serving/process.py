"""A child process with pipes, memory that both map, and what it prints: its life, from our side.

Nothing of it has a name in the file system and it ends with us, so no death leaves anything behind.
"""

import contextlib
import fcntl
import mmap
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from edgeai.providers.serving.output_capture import Told

PROGRAM = Path(__file__).parents[1] / "child" / "program.py"
SIGNALS = {one.value: one.name for one in signal.Signals}
EXIT_CODE_SECONDS = 0.05
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FOREIGN = ("PYTHONPATH", "PYTHONHOME")
"""Variables that would lead another environment's interpreter into ours."""


class ChildProcess:
    """One run of `child/program.py`. The kernel ends it with the *thread* that started it."""

    def __init__(self, python: str) -> None:
        """Start it.

        Raises:
            OSError: No such interpreter, no more processes or descriptors.
        """
        with contextlib.ExitStack() as undo:  # where descriptors run out, none may be lost
            self._told = Told()
            undo.callback(self._told.close)
            self._memory = os.memfd_create("edgeai-windows", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            undo.callback(os.close, self._memory)
            with contextlib.ExitStack() as theirs:
                # Pipes wake the other side up in half the time that a socket takes.
                requests, self._requests = os.pipe()
                theirs.callback(os.close, requests)
                undo.callback(os.close, self._requests)
                self._answers, answers = os.pipe()
                theirs.callback(os.close, answers)
                undo.callback(os.close, self._answers)
                self._process = self._start(python, (requests, answers, self._memory))
            undo.pop_all()
        os.set_blocking(self._answers, False)
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._is_open = True

    def _start(self, python: str, theirs: tuple[int, ...]) -> subprocess.Popen[bytes]:
        environment = dict(os.environ)
        if python != sys.executable:
            for name in FOREIGN:
                environment.pop(name, None)
        return subprocess.Popen(
            [python, "-u", str(PROGRAM), *map(str, (*theirs, os.getpid()))],
            stdin=subprocess.DEVNULL,
            stdout=self._told.descriptor,
            stderr=self._told.descriptor,
            pass_fds=theirs,
            env=environment,
            # Of its own, so that a vendor's helpers end with it.
            process_group=0,
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def send(self, data: bytes) -> None:
        """Write to it; BrokenPipeError when it is gone."""
        os.write(self._requests, data)

    def receive(self, size: int) -> bytes | None:
        """Return at most so many bytes of its answer, none when it is gone; None: nothing yet."""
        try:
            return os.read(self._answers, size)
        except BlockingIOError:
            return None

    def wait(self, seconds: float) -> None:
        """Wait until there is something to receive, at most so long."""
        self._poll.poll(max(0.0, seconds * 1000))

    def share(self, size: int) -> mmap.mmap:
        """Give the memory its size, once, and map it."""
        os.ftruncate(self._memory, size)
        # Memory that shrank below a mapping would end us with SIGBUS.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, seals)
        return mmap.mmap(self._memory, size)

    def resident_bytes(self) -> int:
        """Return its resident memory, 0 when that cannot be read; keep what it prints small."""
        if self._is_open:
            self._told.trim()
        try:
            fields = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()
        except OSError:
            return 0
        return int(fields[1]) * PAGE_BYTES if len(fields) > 1 else 0

    def last_words(self) -> str:
        """Return the last lines that it printed, behind a colon."""
        return self._told.last_words() if self._is_open else ""

    def how_it_ended(self) -> str:
        """Say it, with its last words; its pipes close a moment before its end can be told."""
        try:
            code = self._process.wait(EXIT_CODE_SECONDS)
        except subprocess.TimeoutExpired:
            return f"closed its pipes{self.last_words()}"
        ended = f"ended by {SIGNALS.get(-code, -code)}" if code < 0 else f"ended with {code}"
        return ended + self.last_words()

    def is_gone(self) -> bool:
        """Whether nothing is left of it; a process in a driver's hands dies late."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it, whatever it does. Never waits: `is_gone` says when it is."""
        if not self.is_gone():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.poll()
        self.release()

    def close(self, seconds: float) -> bool:
        """Let it end by itself, and kill it when it does not; False: it still is there."""
        self.release()
        for _ in range(2):
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
            else:
                return True
        return False

    def release(self) -> None:
        """Give back pipes, memory and what it printed."""
        if self._is_open:
            self._is_open = False
            self._poll.unregister(self._answers)
            for descriptor in (self._requests, self._answers, self._memory):
                os.close(descriptor)
            self._told.close()
