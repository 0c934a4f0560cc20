"""Capture what a child process prints: bounded, with its last lines for error messages."""

import fcntl
import os

MAX_BYTES = 64 * 1024  # above this, `trim` keeps only the end
KEPT_BYTES = 4 * 1024  # the end that `trim` keeps
SHOWN_LINES = 3  # in an error message
SHOWN_CHARACTERS = 400  # in an error message


class OutputCapture:
    """An anonymous file for the child's output. A pipe would block a child when it is full."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("edgeai-output", os.MFD_CLOEXEC)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, os.O_APPEND)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self.descriptor).st_size

    def trim(self) -> None:
        """Discard all but the end if the file is larger than MAX_BYTES."""
        if self.size > MAX_BYTES:
            kept = self._tail()
            os.ftruncate(self.descriptor, 0)
            os.write(self.descriptor, kept)

    def last_lines(self) -> str:
        """Return the last lines with `: ` in front, or an empty text if there are none."""
        lines = self._tail().decode(errors="replace").splitlines()
        shown = [" ".join(line.split()) for line in lines if line.strip()][-SHOWN_LINES:]
        text = "".join(c if c.isprintable() else "?" for c in " | ".join(shown))
        return f": {text[-SHOWN_CHARACTERS:]}" if text else ""

    def close(self) -> None:
        """Close the file, which frees its memory."""
        os.close(self.descriptor)

    def _tail(self) -> bytes:
        length = min(self.size, KEPT_BYTES)
        return os.pread(self.descriptor, length, self.size - length)
