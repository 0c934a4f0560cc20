"""Turn the log and the exceptions of ONNX Runtime and its providers into one readable line.

Self-contained: standard library and sibling modules; Python 3.10 or newer.
"""

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .text import one_line

MAX_REASON_CHARACTERS = 400


class LogCapture:
    """Capture what native code writes to standard error while the context is open.

    ORT reports only there why it does not use a provider. If standard error is a file, it is read
    in place, so that it also keeps the output of a library that aborts. Otherwise it is redirected
    to a temporary file and copied to the original afterwards.
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
                    # The parent may have truncated the file meanwhile.
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
        """Return up to two errors, or else warnings, without time, source location and colour."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.text)
        for level in ("E", "W"):
            found: list[str] = []
            for match in re.finditer(rf"\[{level}:onnxruntime:[^\]]*\] (.*)", plain):
                message = _clean(match[1])
                if message and message not in found and not message.startswith(GENERIC):
                    found.append(message)
            if found:
                return found[:2]
        return []


ON_CPU = "This session contains graph nodes"
"""Begins ORT's error if a node would run on the CPU while that fallback is disabled."""
GENERIC = (
    ON_CPU,
    "Failed to create OpenVINOExecutionProvider",
    "No registered plugin EP device found",
)
"""Beginnings of messages that report a failure without its cause."""


def _clean(line: str) -> str:
    """Return the last part of a line of ORT's log, which holds the cause."""
    for mark in (r"\[ERROR\] (?:\[\w+\] )?", r"\[ONNXRuntimeError\] : \d+ : \w+ : "):
        parts = re.split(mark, line)
        if len(parts) > 1:
            return parts[-1].strip()
    return _remove_location(line.strip())


def _remove_location(text: str) -> str:
    """Remove the file, line and C++ signature that ORT and OpenVINO put before a message."""
    text = re.sub(r"Exception from \S+:\d+:\s*", "", text)
    return re.sub(r"\S*/\S+\.(?:cc|cpp|h):\d+ .*[)>\]] (?=\[?[A-Z])", "", text)


def join_reasons(reasons: list[str], error: str) -> str:
    """Return the cause on one line, the log first because the exception often omits the cause."""
    known = any(error.endswith(reason) for reason in reasons)
    hidden = bool(reasons) and any(generic in error for generic in GENERIC)
    text = "; ".join(reasons if known or hidden else [*reasons, error])
    return one_line(text, MAX_REASON_CHARACTERS)


def error_message(error: BaseException) -> str:
    """Return the message of an exception of ORT on one line, without its code and location."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return one_line(_remove_location(text)) or type(error).__name__
