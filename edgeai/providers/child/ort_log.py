"""What ONNX Runtime and its providers say when something fails, as one readable line.

Self-contained: standard library only; Python 3.10 or newer.
"""

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

MAX_REASON = 400


class LogCapture:
    """What native code writes to standard error while the context is open.

    ORT says why a provider is not used there, and nowhere else. Where standard error is a file it
    is read in place, so that it also holds the last words of a library that aborts; otherwise it is
    a temporary file meanwhile and is passed on afterwards.
    """

    def __init__(self) -> None:
        self.text = ""
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> "LogCapture":
        with contextlib.suppress(OSError):
            self._closing.enter_context(self._capture())
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.close()

    @contextlib.contextmanager
    def _capture(self) -> Iterator[None]:
        if stat.S_ISREG(os.fstat(2).st_mode):
            start = os.fstat(2).st_size
            try:
                yield
            finally:
                with Path("/proc/self/fd/2").open("rb") as file:
                    # Whoever reads the file may have cut it meanwhile.
                    file.seek(start if os.fstat(2).st_size >= start else 0)
                    self.text += file.read().decode("utf-8", "replace")
            return
        with tempfile.TemporaryFile() as file:
            saved = os.dup(2)
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                file.seek(0)
                written = file.read()
                with contextlib.suppress(OSError):
                    os.write(saved, written)
                os.close(saved)
                self.text += written.decode("utf-8", "replace")

    def reasons(self) -> list[str]:
        """Return what ORT's errors and warnings say, without time, place and colour."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.text)
        for level in ("E", "W"):
            found: list[str] = []
            for match in re.finditer(rf"\[{level}:onnxruntime:[^\]]*\] (.*)", plain):
                said = _cleaned(match[1])
                if said and said not in found and not said.startswith(GENERIC):
                    found.append(said)
            if found:
                return found[:2]
        return []


ON_CPU = "This session contains graph nodes"
"""What ORT says when a node would be on the CPU, and that is disabled."""
GENERIC = (
    ON_CPU,
    "Failed to create OpenVINOExecutionProvider",
    "No registered plugin EP device found",
)
"""Lines that say that it failed, but not why."""


def _cleaned(line: str) -> str:
    """Return the last and telling part of a line of ORT's log."""
    for mark in (r"\[ERROR\] (?:\[\w+\] )?", r"\[ONNXRuntimeError\] : \d+ : \w+ : "):
        parts = re.split(mark, line)
        if len(parts) > 1:
            return parts[-1].strip()
    return _without_place(line.strip())


def _without_place(text: str) -> str:
    """Cut the files, lines and C++ signatures that ORT and OpenVINO put before a message."""
    text = re.sub(r"Exception from \S+:\d+:\s*", "", text)
    return re.sub(r"\S*/\S+\.(?:cc|cpp|h):\d+ .*[)>\]] (?=\[?[A-Z])", "", text)


def joined(reasons: list[str], error: str) -> str:
    """Return a cause on one line: what the log says first, because the exception often hides it."""
    known = any(error.endswith(reason) for reason in reasons)
    hidden = bool(reasons) and any(generic in error for generic in GENERIC)
    text = "; ".join(reasons if known or hidden else [*reasons, error])
    return " ".join(text.split())[:MAX_REASON]


def one_line(error: BaseException) -> str:
    """Return an exception's text on one line, without ORT's code in front."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return _without_place(text)[:300] or type(error).__name__
