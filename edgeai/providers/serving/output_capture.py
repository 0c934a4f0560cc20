"""What a child process prints: not in our output, bounded, its last lines for an error's text."""

import fcntl
import os

MAX_BYTES = 64 * 1024
"""More is thrown away, but for the end."""
KEPT_BYTES = 4 * 1024
SHOWN_LINES = 3
SHOWN_CHARACTERS = 400


class Told:
    """A file without a name, as the child's output. Not a pipe: nobody has to empty it in time."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("edgeai-told", os.MFD_CLOEXEC)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, os.O_APPEND)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return os.fstat(self.descriptor).st_size

    def trim(self) -> None:
        """Throw away what is too much."""
        if self.size > MAX_BYTES:
            kept = self._tail()
            os.ftruncate(self.descriptor, 0)
            os.write(self.descriptor, kept)

    def last_words(self) -> str:
        """Return the last lines, behind a colon; nothing when there are none."""
        lines = self._tail().decode(errors="replace").splitlines()
        shown = [" ".join(line.split()) for line in lines if line.strip()][-SHOWN_LINES:]
        text = "".join(c if c.isprintable() else "?" for c in " | ".join(shown))
        return f": {text[-SHOWN_CHARACTERS:]}" if text else ""

    def close(self) -> None:
        """Give it back."""
        os.close(self.descriptor)

    def _tail(self) -> bytes:
        length = min(self.size, KEPT_BYTES)
        return os.pread(self.descriptor, length, self.size - length)
