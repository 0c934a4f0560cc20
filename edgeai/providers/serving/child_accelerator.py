"""An accelerator in a child process, seen from the parent: start, call with a deadline, end.

Windows and outputs pass through shared memory; nothing is pickled.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeai.providers.child.protocol import (
    ANSWER,
    DONE,
    EXCEPTION,
    LENGTH,
    MAX_SHARED_BYTES,
    MAX_TEXT_BYTES,
    NOT_LOADED,
    OUT_OF_MEMORY,
    REQUEST,
    WRONG_SHAPE,
    Arrays,
    arrays_in,
    shared_bytes,
)  # fmt: skip
from edgeai.providers.child.spec import ChildSpec, Facts
from edgeai.providers.serving.accelerator import AcceleratorError, Cause
from edgeai.providers.serving.process import ChildProcess

Floats = npt.NDArray[np.float32]

CAUSES: dict[int, Cause] = {
    EXCEPTION: "exception",
    WRONG_SHAPE: "wrong_shape",
    OUT_OF_MEMORY: "out_of_memory",
    NOT_LOADED: "start_failed",
}
START_POLL_SECONDS = 0.05
CLOSE_SECONDS = 2.0


class ChildAccelerator:
    """An ONNX Runtime session or a compiled model in a child process. For use by one thread.

    The kernel kills the child when the *thread* that started it ends.
    """

    def __init__(
        self,
        spec: ChildSpec,
        python: str | Path | None = None,
        start_timeout_seconds: float = 120.0,
        memory_limit_bytes: int | None = None,
    ) -> None:
        """Prepare; `start` or `start_nonblocking` starts the child.

        Args:
            spec: What to load.
            python: Interpreter of the environment with the runtime; None: edgeai's own.
            start_timeout_seconds: Limit for starting the interpreter, loading the model and the
                first call with every batch size.
            memory_limit_bytes: Resident memory above which the child is killed; None: no limit.
                Checked by reading /proc: CUDA does not work under a limit of the address space.
        """
        self.spec = spec
        self.facts: Facts | None = None
        """What was loaded; None before."""
        self._python = str(python or sys.executable)
        self._start_timeout_seconds = start_timeout_seconds
        self._memory_limit_bytes = memory_limit_bytes
        self._largest = max(spec.batch_sizes)
        self._sizes = sorted(set(spec.batch_sizes))
        self._child: ChildProcess | None = None
        self._arrays: Arrays | None = None
        self._number = 0
        self._pending = 0
        """Windows in the call in progress; 0: there is none."""
        self._answer = b""
        self._start_due = 0.0
        self._start_error = ""
        """Why the operating system did not start the process."""

    @property
    def pid(self) -> int | None:
        """Process id of the child; None before the start."""
        return self._child.pid if self._child else None

    @property
    def largest(self) -> int:
        """Largest number of windows in one call."""
        return self._largest

    # ---------------------------------------------------------------------------------------- start

    def start(self) -> Facts:
        """Start the child, wait until it has loaded the model, and return what was loaded.

        Raises:
            AcceleratorError: "start_failed", "start_timeout", "out_of_memory" or "protocol"; the
                child is killed.
        """
        self.start_nonblocking()
        while True:
            facts = self.poll_ready()
            if facts is not None:
                return facts
            if self._child is not None:
                self._child.wait(START_POLL_SECONDS)

    def start_nonblocking(self) -> None:
        """Start the child; `poll_ready` reports when the model is loaded, or the failure."""
        self._start_due = time.monotonic() + self._start_timeout_seconds
        try:
            self._child = ChildProcess(self._python)
        except OSError as error:  # no such interpreter, no more processes or descriptors
            self._start_error = f"{self._python} cannot be started: {error.strerror}"
            return
        text = self.spec.to_json().encode()
        with contextlib.suppress(BrokenPipeError):  # it has ended: `poll_ready` reports it
            self._child.send(LENGTH.pack(len(text)) + text)

    def poll_ready(self) -> Facts | None:
        """Return what was loaded, or None while the child still loads. Never waits.

        Raises:
            AcceleratorError: As `start`.
        """
        if self.facts is None:
            try:
                self._advance_start()
            except AcceleratorError as error:
                self.kill()
                if error.cause == "crashed":
                    raise AcceleratorError("start_failed", error.text) from None
                raise
        return self.facts

    def _advance_start(self) -> None:
        if self._start_error:
            raise AcceleratorError("start_failed", self._start_error)
        found = self._read_answer()
        if found is not None:
            self._finish_start(*found)
            return
        self.check()
        if time.monotonic() > self._start_due:
            output = self._child.last_lines() if self._child else ""
            text = f"not loaded within {self._start_timeout_seconds:g} s{output}"
            raise AcceleratorError("start_timeout", text)

    def _finish_start(self, status: int, text: str) -> None:
        """Read the child's answer to the load, and create the shared memory."""
        if status != DONE:
            raise AcceleratorError(CAUSES.get(status, "protocol"), text)
        spec = self.spec
        try:
            facts = Facts.from_json(json.loads(text))
            size = shared_bytes(spec, self._largest, facts.outputs)
        except (ValueError, TypeError, KeyError) as error:
            raise AcceleratorError(
                "protocol", f"unreadable description of the loaded model: {error!r}"
            ) from error
        if size > MAX_SHARED_BYTES:
            limit = f"the limit is {MAX_SHARED_BYTES} bytes; use smaller batch_sizes"
            raise AcceleratorError("start_failed", f"its arrays take {size} bytes, {limit}")
        assert self._child is not None
        try:
            mapped = self._child.share(size)
        except OSError as error:
            text = f"cannot share {size} bytes of memory: {error.strerror}"
            raise AcceleratorError("start_failed", text) from error
        self._arrays = arrays_in(mapped, spec, self._largest, facts.outputs)
        self.facts = facts

    # ----------------------------------------------------------------------------------------- call

    def run(self, windows: Floats, count: int, deadline_seconds: float) -> list[Floats]:
        """Return the outputs of the first `count` windows, as copies.

        Args:
            windows: (>= count, W, C).
            count: At least 1; above the largest batch size it takes several calls.
            deadline_seconds: Limit for each call: a large batch on a slow device is no failure.

        Raises:
            AcceleratorError: "crashed", "deadline", "exception", "wrong_shape", "out_of_memory" or
                "protocol".
        """
        if count <= self._largest:
            self.begin(windows, count)
            return self.finish(deadline_seconds)
        parts = []
        for first in range(0, count, self._largest):
            self.begin(windows[first:], min(self._largest, count - first))
            parts.append(self.finish(deadline_seconds))
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def begin(self, windows: Floats, count: int) -> None:
        """Begin a call with at most `largest` windows; `poll` or `finish` returns the outputs."""
        arrays = self._arrays
        assert arrays is not None
        assert self._child is not None
        assert not self._pending
        size = next(size for size in self._sizes if size >= count)
        shared = arrays.windows
        shared[:count] = windows[:count]
        if size > count:
            shared[count:size] = 0.0
        self._number += 1
        self._pending = count
        try:
            self._child.send(REQUEST.pack(self._number, size))
        except BrokenPipeError:
            raise self._crashed() from None

    @property
    def is_busy(self) -> bool:
        """Whether a call has begun and its outputs have not been read."""
        return self._pending != 0

    def poll(self) -> list[Floats] | None:
        """Return the outputs of the call in progress, or None while it runs. Never waits.

        Raises:
            AcceleratorError: As `run`, but never "deadline".
        """
        found = self._read_answer()
        return None if found is None else self._read_outputs(*found)

    def finish(self, deadline_seconds: float) -> list[Floats]:
        """Wait for the outputs of the call in progress. AcceleratorError: as `run`."""
        assert self._child is not None
        due = time.monotonic() + deadline_seconds
        while True:
            left = due - time.monotonic()
            self._child.wait(left)
            found = self._read_answer()
            if found is not None:
                return self._read_outputs(*found)
            if left <= 0:
                raise AcceleratorError("deadline", f"no answer within {deadline_seconds:g} s")

    def _read_outputs(self, status: int, text: str) -> list[Floats]:
        count, self._pending = self._pending, 0
        if status != DONE:
            raise AcceleratorError(CAUSES.get(status, "protocol"), text)
        arrays = self._arrays
        assert arrays is not None
        return [output[:count].copy() for output in arrays.outputs]

    def _read_answer(self) -> tuple[int, str] | None:
        """Return status and text of the answer, or None until it is complete. Never waits."""
        assert self._child is not None
        while True:
            wanted = ANSWER.size
            if len(self._answer) >= wanted:
                number, status, length = ANSWER.unpack_from(self._answer)
                if number != self._number or length > MAX_TEXT_BYTES:
                    raise AcceleratorError("protocol", f"answer {number} to call {self._number}")
                wanted += length
                if len(self._answer) == wanted:
                    text = self._answer[ANSWER.size :].decode(errors="replace")
                    self._answer = b""
                    return status, text
            part = self._child.receive(wanted - len(self._answer))
            if part is None:
                return None
            if not part:
                raise self._crashed()
            self._answer += part

    # ------------------------------------------------------------------------------- health and end

    def check(self) -> None:
        """Check that the child runs and keeps its memory limit. Never waits.

        Raises:
            AcceleratorError: "crashed" or "out_of_memory".
        """
        if self._child is None or self._child.is_gone():
            raise self._crashed()
        resident, limit = self._child.resident_bytes(), self._memory_limit_bytes
        if limit is not None and resident > limit:
            text = f"{resident // 2**20} MiB resident, the limit is {limit // 2**20} MiB"
            raise AcceleratorError("out_of_memory", text)

    def kill(self) -> None:
        """Kill the child. Never waits: `is_gone` reports when it has ended."""
        self._arrays = None
        if self._child is not None:
            self._child.kill()

    def is_gone(self) -> bool:
        """Whether the child has ended; a process blocked in a driver ends late."""
        return self._child is None or self._child.is_gone()

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Ask the child to end, then kill it; return False if it still exists."""
        self._arrays = None
        return self._child is None or self._child.close(seconds)

    def _crashed(self) -> AcceleratorError:
        text = self._child.describe_end() if self._child else "never started"
        return AcceleratorError("crashed", text)
