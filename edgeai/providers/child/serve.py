"""The main function of the child process: load one model, answer calls until the parent ends.

Self-contained: standard library, numpy and what the model's runtime needs; Python 3.10 or newer.
Started by `program.py`.
"""

import contextlib
import ctypes
import gc
import json
import mmap
import os
import signal
import sys
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .protocol import (
    ANSWER,
    DONE,
    EXCEPTION,
    LENGTH,
    NOT_LOADED,
    OUT_OF_MEMORY,
    REQUEST,
    WRONG_SHAPE,
    Arrays,
    arrays_in,
)  # fmt: skip
from .spec import ChildSpec, Facts, LoadError, ShapeError
from .text import one_line

PR_SET_PDEATHSIG = 1  # prctl(2)
MAX_ERROR_CHARACTERS = 500


class LoadedModel(Protocol):
    """An ONNX Runtime session or a compiled model, run once with every batch size."""

    facts: Facts

    def run(self, windows: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        """Return the outputs (B, ...) of windows (B, W, C)."""


def main(requests: int, answers: int, memory: int, parent: int) -> None:
    """Load the model that the parent requests, report what was loaded, and serve it.

    Args:
        requests: File descriptor of a pipe from the parent.
        answers: File descriptor of a pipe to the parent.
        memory: File descriptor of the shared memory; the parent sets its size.
        parent: Process id of the parent.
    """
    # A vendor's helper process that outlives this one must not keep the pipes open.
    for descriptor in (requests, answers, memory):
        os.set_inheritable(descriptor, False)
    # Ctrl-C and systemd's SIGTERM reach all processes at once, but the parent still computes
    # windows then, so only the parent ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_with(parent)
    request = _receive(requests, LENGTH.size)
    if request is None:
        return
    text = _receive(requests, LENGTH.unpack(request)[0])
    if text is None:
        return
    spec = ChildSpec.from_json(text.decode())
    try:
        session = _load(spec)
        facts = session.facts
    except Exception as error:  # noqa: BLE001  any exception is reported to the parent
        status, message = _status_of(error)
        _answer(answers, 0, NOT_LOADED if status == EXCEPTION else status, message)
        return
    _answer(answers, 0, DONE, json.dumps(facts.to_json()))
    gc.collect()
    gc.freeze()
    server = _Server(session, spec, facts, memory)
    while (request := _receive(requests, REQUEST.size)) is not None:
        _answer(answers, *server.answer(*REQUEST.unpack(request)))


def _end_with(parent: int) -> None:
    """Let the kernel kill this process with its parent, even while a vendor's library hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(
            "edgeai has ended, or did not start this interpreter itself: `python:` names an "
            "interpreter, or a script that ends with `exec`"
        )


def _load(spec: ChildSpec) -> LoadedModel:
    if spec.kind == "compiled":
        from .compiled import build as build_compiled

        return build_compiled(spec)
    from .ort_session import build

    session: LoadedModel = build(spec)
    return session


class _Server:
    """Run a session on the arrays in shared memory."""

    def __init__(self, session: LoadedModel, spec: ChildSpec, facts: Facts, memory: int) -> None:
        self._session = session
        self._spec = spec
        self._facts = facts
        self._memory = memory
        self._arrays: Arrays | None = None

    def answer(self, number: int, count: int) -> tuple[int, int, str]:
        """Compute `count` windows; return the call's number, its status and an error text."""
        if self._arrays is None:  # the parent sets the size before its first call
            mapped = mmap.mmap(self._memory, 0)
            largest = max(self._spec.batch_sizes)
            self._arrays = arrays_in(mapped, self._spec, largest, self._facts.outputs)
        try:
            _compute(self._session, self._arrays, count)
        except Exception as error:  # noqa: BLE001  any exception is reported to the parent
            return number, *_status_of(error)
        return number, DONE, ""


def _compute(session: LoadedModel, arrays: Arrays, count: int) -> None:
    outputs = session.run(arrays.windows[:count])
    if len(outputs) != len(arrays.outputs):
        raise ShapeError(f"{len(outputs)} outputs, not {len(arrays.outputs)}")
    for index, (output, shared) in enumerate(zip(outputs, arrays.outputs, strict=True)):
        target = shared[:count]
        # NumPy would broadcast a single row to the whole batch without an error.
        if np.shape(output) != target.shape:
            raise ShapeError(f"output {index} has the shape {np.shape(output)}, not {target.shape}")
        target[...] = output


def _status_of(error: Exception) -> tuple[int, str]:
    """Return the status for an exception and its text."""
    text = one_line(error, MAX_ERROR_CHARACTERS)
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY, text or "MemoryError"
    if isinstance(error, ShapeError):
        return WRONG_SHAPE, text
    if isinstance(error, LoadError):
        return EXCEPTION, text
    return EXCEPTION, f"{type(error).__name__}: {text}"


def _answer(answers: int, number: int, status: int, text: str) -> None:
    body = text.encode()
    message = ANSWER.pack(number, status, len(body)) + body
    with contextlib.suppress(BrokenPipeError):  # the parent has ended
        while message:
            message = message[os.write(answers, message) :]


def _receive(requests: int, size: int) -> bytes | None:
    """Return exactly `size` bytes, or None if the parent has ended."""
    data = os.read(requests, size)
    while 0 < len(data) < size:
        part = os.read(requests, size - len(data))
        if not part:
            return None
        data += part
    return data or None
