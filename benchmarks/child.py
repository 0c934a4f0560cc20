"""Run an object in another process and call it over a pipe."""

import contextlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

STOP_SECONDS = 5.0


class Child:
    """Calls the methods of an object in another process, one at a time."""

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        """Start the process and create the object there; RuntimeError if that fails."""
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, make, arguments), daemon=True)
        self._process.start()
        there.close()
        self._what = make.__name__
        self.wait()

    @property
    def pid(self) -> int:
        """Id of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def start(self, method: str, *arguments: Any) -> None:
        """Start a call; `wait` returns its result."""
        self._pipe.send((method, arguments))

    def wait(self) -> Any:
        """Wait for the started call and return its result."""
        try:
            failed, result = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"the {self._what} died") from None
        if failed:
            raise RuntimeError(f"the {self._what} failed: {result}")
        return result

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method and return its result."""
        self.start(method, *arguments)
        return self.wait()

    def close(self) -> None:
        """Stop the process."""
        self._pipe.close()
        self._process.join(STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(STOP_SECONDS)


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Answer calls in the child until the pipe closes, which also happens if the parent dies."""
    try:
        target = make(*arguments)
        pipe.send((False, None))
        while True:
            method, values = pipe.recv()
            pipe.send((False, getattr(target, method)(*values)))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:  # noqa: BLE001  passed to the caller
        with contextlib.suppress(OSError):  # the caller may be gone too
            pipe.send((True, f"{type(error).__name__}: {error}"))
