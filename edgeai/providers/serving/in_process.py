"""An accelerator in the engine's own process: some microseconds less, and no walls around it.

Errors and wrong answers fail over as those of a child do. A crash ends edgeai, a hang stops it, and
what is late is noticed only when it is there; loading it again stops the turn while it lasts.
"""

import contextlib
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.providers.child import compiled, ort_session
from edgeai.providers.child.spec import ChildSpec, Facts, LoadError, ShapeError
from edgeai.providers.serving.accelerator import AcceleratorError

Floats = npt.NDArray[np.float32]


class InProcess:
    """A session or compiled artefact here, with the methods of `channel.Accelerator`."""

    def __init__(self, spec: ChildSpec) -> None:
        """Prepare; `start_nonblocking` loads it."""
        self.facts: Facts | None = None
        self._spec = spec
        self._sizes = sorted(set(spec.batch_sizes))
        self._session: Any = None
        self._refused = ""
        self._answer: list[Floats] | None = None

    @property
    def largest(self) -> int:
        """The most windows of one call."""
        return self._sizes[-1]

    @property
    def is_busy(self) -> bool:
        """Whether a call was begun and its outputs were not taken yet."""
        return self._answer is not None

    def start_nonblocking(self) -> None:
        """Load it: here this waits. `poll_ready` says whether it could be."""
        build = compiled.build if self._spec.kind == "compiled" else ort_session.build
        try:
            self._session = build(self._spec)
        except LoadError as error:
            self._refused = str(error)
        except Exception as error:  # noqa: BLE001  a vendor's, of any kind
            self._refused = _one_line(error)
        else:
            self.facts = self._session.facts

    def poll_ready(self) -> Facts | None:
        """Return what was loaded. AcceleratorError: "start_failed"."""
        if self._refused:
            raise AcceleratorError("start_failed", self._refused)
        return self.facts

    def run(self, windows: Floats, count: int, deadline_seconds: float) -> list[Floats]:
        """Return the outputs of the first `count` windows, in arrays of their own.

        Raises:
            AcceleratorError: "exception", "wrong_shape", "out_of_memory", or "deadline", once it is
                passed and the answer there.
        """
        parts = []
        for first in range(0, count, self.largest):
            due = time.monotonic() + deadline_seconds
            parts.append(self._call(windows[first:], min(self.largest, count - first)))
            if time.monotonic() > due:
                raise AcceleratorError("deadline", f"longer than {deadline_seconds:g} s")
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
        except Exception as error:  # a vendor's, of any kind
            raise AcceleratorError("exception", _one_line(error)) from error
        # Copied: bound buffers are overwritten by the next call.
        return [np.array(output[:count], np.float32) for output in outputs]

    def begin(self, windows: Floats, count: int) -> None:
        """Compute at most `largest` windows; AcceleratorError: as `run`."""
        self._answer = self._call(windows, count)

    def poll(self) -> list[Floats] | None:
        """Return the outputs of the call that was begun."""
        answer, self._answer = self._answer, None
        return answer

    def finish(self, deadline_seconds: float) -> list[Floats]:  # noqa: ARG002  it is there
        """Return the outputs of the call that was begun."""
        answer = self.poll()
        assert answer is not None
        return answer

    def check(self) -> None:
        """Nothing: what ends it ends us."""

    def kill(self) -> None:
        """Let it go."""
        self._answer = None
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception):  # a vendor's, of any kind: it is let go anyway
                session.close()

    def is_gone(self) -> bool:
        """Whether nothing is left of it."""
        return self._session is None

    def close(self) -> bool:
        """Let it go."""
        self.kill()
        return True


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
