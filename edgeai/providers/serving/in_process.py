"""An accelerator in the engine's own process: a call is faster, but faults are not isolated.

Errors and wrong outputs fail over as with a child process. A crash ends edgeai, a hang stops it, a
late answer is detected only when it arrives, and a restart blocks the turn while it loads.
"""

import contextlib
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.providers.child import compiled, ort_session
from edgeai.providers.child.spec import ChildSpec, Facts, LoadError, ShapeError
from edgeai.providers.child.text import describe_error
from edgeai.providers.serving.accelerator import AcceleratorError

Floats = npt.NDArray[np.float32]


class InProcessAccelerator:
    """An ONNX Runtime session or a compiled model in this process. For use by one thread."""

    def __init__(self, spec: ChildSpec) -> None:
        """Prepare; `start_nonblocking` loads it."""
        self.facts: Facts | None = None
        self._spec = spec
        self._sizes = sorted(set(spec.batch_sizes))
        self._session: Any = None
        self._load_error = ""
        self._answer: list[Floats] | None = None

    @property
    def largest(self) -> int:
        """Largest number of windows in one call."""
        return self._sizes[-1]

    @property
    def is_busy(self) -> bool:
        """Whether a call has begun and its outputs have not been read."""
        return self._answer is not None

    def start_nonblocking(self) -> None:
        """Load the model, which blocks here; `poll_ready` reports the result."""
        build = compiled.build if self._spec.kind == "compiled" else ort_session.build
        try:
            self._session = build(self._spec)
        except LoadError as error:
            self._load_error = str(error)
        except Exception as error:  # noqa: BLE001  a vendor's code may raise anything
            self._load_error = describe_error(error)
        else:
            self.facts = self._session.facts

    def poll_ready(self) -> Facts | None:
        """Return what was loaded. AcceleratorError: "start_failed"."""
        if self._load_error:
            raise AcceleratorError("start_failed", self._load_error)
        return self.facts

    def run(self, windows: Floats, count: int, deadline_seconds: float) -> list[Floats]:
        """Return the outputs of the first `count` windows, as copies.

        Raises:
            AcceleratorError: "exception", "wrong_shape", "out_of_memory", or "deadline" if the
                answer came after it.
        """
        parts = []
        for first in range(0, count, self.largest):
            due = time.monotonic() + deadline_seconds
            parts.append(self._call(windows[first:], min(self.largest, count - first)))
            if time.monotonic() > due:
                raise AcceleratorError("deadline", f"took longer than {deadline_seconds:g} s")
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _call(self, windows: Floats, count: int) -> list[Floats]:
        size = next(size for size in self._sizes if size >= count)
        batch = np.ascontiguousarray(windows[:count])
        if size > count:
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), np.float32)])
        try:
            outputs = self._session.run(batch)
        except ShapeError as error:
            raise AcceleratorError("wrong_shape", str(error)) from error
        except MemoryError as error:
            raise AcceleratorError("out_of_memory", str(error)) from error
        except Exception as error:  # a vendor's code may raise anything
            raise AcceleratorError("exception", describe_error(error)) from error
        # Copied because the next call overwrites bound buffers.
        return [np.array(output[:count], np.float32) for output in outputs]

    def begin(self, windows: Floats, count: int) -> None:
        """Compute at most `largest` windows at once; AcceleratorError: as `run`."""
        self._answer = self._call(windows, count)

    def poll(self) -> list[Floats] | None:
        """Return the outputs of the last call."""
        answer, self._answer = self._answer, None
        return answer

    def finish(self, deadline_seconds: float) -> list[Floats]:  # noqa: ARG002  computed already
        """Return the outputs of the last call."""
        answer = self.poll()
        assert answer is not None
        return answer

    def check(self) -> None:
        """Do nothing: whatever ends it ends this process too."""

    def kill(self) -> None:
        """Close the model."""
        self._answer = None
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception):  # a vendor's code may raise anything
                session.close()

    def is_gone(self) -> bool:
        """Whether the model is closed."""
        return self._session is None

    def close(self) -> bool:
        """Close the model."""
        self.kill()
        return True
