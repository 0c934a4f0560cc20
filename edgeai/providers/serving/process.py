"""The child process of an accelerator: pipes, shared memory, captured output, start and end.

It leaves nothing behind however it ends: none of its resources has a name in the file system, and
the kernel ends it with this process.
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

from edgeai.providers.serving.output_capture import OutputCapture

PROGRAM = Path(__file__).parents[1] / "child" / "program.py"
SIGNALS = {one.value: one.name for one in signal.Signals}
EXIT_CODE_SECONDS = 0.05  # the exit code comes a moment after the pipes close
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
OWN_PYTHON_VARIABLES = ("PYTHONPATH", "PYTHONHOME")
"""Removed for another environment's interpreter, which must not import this environment's files."""


class ChildProcess:
    """One run of `child/program.py`. The kernel kills it when the starting *thread* ends."""

    def __init__(self, python: str) -> None:
        """Start the process.

        Raises:
            OSError: The interpreter does not exist, or processes or descriptors have run out.
        """
        with contextlib.ExitStack() as undo:  # a failed start must not leak descriptors
            self._output = OutputCapture()
            undo.callback(self._output.close)
            self._memory = os.memfd_create("edgeai-windows", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            undo.callback(os.close, self._memory)
            with contextlib.ExitStack() as theirs:
                # Pipes wake up the reader faster than a socket.
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
            for name in OWN_PYTHON_VARIABLES:
                environment.pop(name, None)
        return subprocess.Popen(
            [python, "-u", str(PROGRAM), *map(str, (*theirs, os.getpid()))],
            stdin=subprocess.DEVNULL,
            stdout=self._output.descriptor,
            stderr=self._output.descriptor,
            pass_fds=theirs,
            env=environment,
            process_group=0,  # its own group, so that a vendor's helper processes end with it
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, data: bytes) -> None:
        """Write to the child; BrokenPipeError if it has ended."""
        os.write(self._requests, data)

    def receive(self, size: int) -> bytes | None:
        """Return up to `size` bytes; empty if the child has ended, None if nothing has come."""
        try:
            return os.read(self._answers, size)
        except BlockingIOError:
            return None

    def wait(self, seconds: float) -> None:
        """Wait until there are bytes to receive, at most `seconds`."""
        self._poll.poll(max(0.0, seconds * 1000))

    def share(self, size: int) -> mmap.mmap:
        """Set the size of the shared memory, once, and map it."""
        os.ftruncate(self._memory, size)
        # If the child could shrink the memory, an access would end this process with SIGBUS.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, seals)
        return mmap.mmap(self._memory, size)

    def resident_bytes(self) -> int:
        """Return the resident memory, 0 if it cannot be read. Also bound the captured output."""
        if self._is_open:
            self._output.trim()
        try:
            fields = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()
        except OSError:
            return 0
        return int(fields[1]) * PAGE_BYTES if len(fields) > 1 else 0

    def last_lines(self) -> str:
        """Return the last printed lines with `: ` in front, or an empty text."""
        return self._output.last_lines() if self._is_open else ""

    def describe_end(self) -> str:
        """Return how the process ended, with the last printed lines."""
        try:
            code = self._process.wait(EXIT_CODE_SECONDS)
        except subprocess.TimeoutExpired:
            return f"closed its pipes{self.last_lines()}"
        ended = f"ended by {SIGNALS.get(-code, -code)}" if code < 0 else f"ended with {code}"
        return ended + self.last_lines()

    def is_gone(self) -> bool:
        """Whether the process has ended; one blocked in a driver ends late."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the process and its group. Never waits: `is_gone` reports when it has ended."""
        if not self.is_gone():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.poll()
        self.release()

    def close(self, seconds: float) -> bool:
        """Close its pipes so that it ends, then kill it; return False if it still exists."""
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
        """Close pipes, shared memory and captured output."""
        if self._is_open:
            self._is_open = False
            self._poll.unregister(self._answers)
            for descriptor in (self._requests, self._answers, self._memory):
                os.close(descriptor)
            self._output.close()
