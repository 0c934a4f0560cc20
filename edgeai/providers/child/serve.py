"""The child process of an accelerator: loads one session, answers calls until its parent is gone.

Self-contained: standard library, numpy, and what the session needs. Started by `program.py`.
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

PR_SET_PDEATHSIG = 1
MAX_ERROR_CHARACTERS = 500


class Loaded(Protocol):
    """A session or a compiled artefact, run once at every batch size."""

    facts: Facts

    def run(self, windows: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        """Return the outputs (B, ...) of windows (B, W, C)."""


def main(requests: int, answers: int, memory: int, parent: int) -> None:
    """Load what the parent asks for, say what it is, and serve.

    Args:
        requests: File descriptor of a pipe from the parent.
        answers: File descriptor of a pipe to the parent.
        memory: File descriptor of the shared memory; the parent sizes it.
        parent: Process id of the parent.
    """
    # A helper of the vendor's that outlives us must not keep the parent's pipe open.
    for descriptor in (requests, answers, memory):
        os.set_inheritable(descriptor, False)
    # Only the parent decides when it ends: Ctrl-C and systemd's SIGTERM go to all processes at
    # once, and the parent still has windows to compute then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_with(parent)
    request = _receive(requests, LENGTH.size)
    if request is None:
        return
    asked = _receive(requests, LENGTH.unpack(request)[0])
    if asked is None:
        return
    spec = ChildSpec.from_json(asked.decode())
    try:
        session = _load(spec)
        facts = session.facts
    except Exception as error:  # noqa: BLE001  handed to the parent, of whatever kind it is
        status, text = _told(error)
        _answer(answers, 0, NOT_LOADED if status == EXCEPTION else status, text)
        return
    _answer(answers, 0, DONE, json.dumps(facts.to_json()))
    gc.collect()
    gc.freeze()
    serve = _Serving(session, spec, facts, memory)
    while (request := _receive(requests, REQUEST.size)) is not None:
        _answer(answers, *serve.answer(*REQUEST.unpack(request)))


def _end_with(parent: int) -> None:
    """Have the kernel end us with our parent, even while a vendor's library hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(
            "edgeai has ended, or did not start this interpreter itself: `python:` names an "
            "interpreter, or a script that ends with `exec`"
        )


def _load(spec: ChildSpec) -> Loaded:
    if spec.kind == "compiled":
        from .compiled import build as build_compiled

        return build_compiled(spec)
    from .ort_session import build

    session: Loaded = build(spec)
    return session


class _Serving:
    """A session on the arrays in shared memory."""

    def __init__(self, session: Loaded, spec: ChildSpec, facts: Facts, memory: int) -> None:
        self._session = session
        self._spec = spec
        self._facts = facts
        self._memory = memory
        self._arrays: Arrays | None = None

    def answer(self, number: int, count: int) -> tuple[int, int, str]:
        """Compute so many windows; return the call's number, its status and a text."""
        if self._arrays is None:  # sized by the parent before its first call
            mapped = mmap.mmap(self._memory, 0)
            spec, rows = self._spec, self._facts.outputs
            largest = max(spec.batch_sizes)
            self._arrays = arrays_in(mapped, spec.window, largest, rows, spec.outputs)
        try:
            _compute(self._session, self._arrays, count)
        except Exception as error:  # noqa: BLE001  handed to the parent, of whatever kind it is
            return number, *_told(error)
        return number, DONE, ""


def _compute(session: Loaded, arrays: Arrays, count: int) -> None:
    outputs = session.run(arrays.windows[:count])
    if len(outputs) != len(arrays.outputs):
        raise ShapeError(f"{len(outputs)} outputs, not {len(arrays.outputs)}")
    for index, (output, shared) in enumerate(zip(outputs, arrays.outputs, strict=True)):
        place = shared[:count]
        # Checked, because NumPy would spread a row over the whole batch.
        if np.shape(output) != place.shape:
            raise ShapeError(f"output {index} has the shape {np.shape(output)}, not {place.shape}")
        place[...] = output


def _told(error: Exception) -> tuple[int, str]:
    """Return the status of an exception, and its text."""
    text = " ".join(str(error).split())[:MAX_ERROR_CHARACTERS]
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
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        while message:
            message = message[os.write(answers, message) :]


def _receive(requests: int, size: int) -> bytes | None:
    """Return exactly so many bytes; None when the parent is gone."""
    data = os.read(requests, size)
    while 0 < len(data) < size:
        part = os.read(requests, size - len(data))
        if not part:
            return None
        data += part
    return data or None
