"""Note SIGTERM and SIGINT from the start of a process, before the slow imports.

A process without handlers is killed by SIGTERM while it starts, ignores SIGTERM if it is process 1
of a container, and prints a traceback for Ctrl-C during an import. The commands that serve load
their models in `interruptible`, because that may take minutes; they replace these handlers when
they have started, and then look at `noted`.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
_previous: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}
_noted: list[str] = []
_interruptible: list[bool] = []
"""Not empty while `interruptible` runs its block."""


class StoppedError(BaseException):
    """A signal came during the start; the text is its name."""


def noted() -> str:
    """Return the name of the first signal that was noted, such as SIGTERM; empty if none was."""
    return _noted[0] if _noted else ""


def note_signals() -> None:
    """Note SIGTERM and SIGINT instead of ending. A second SIGINT ends as Ctrl-C usually does."""
    _noted.clear()
    for number in STOPPING:
        _previous[number] = signal.signal(number, _note)


@contextmanager
def interruptible() -> Iterator[None]:
    """Run a block that a signal ends at once, also one that was noted before it.

    Raises:
        StoppedError: A signal was noted.
    """
    _interruptible.append(True)
    try:
        _raise_if_noted()
        yield
    finally:
        _interruptible.pop()
    _raise_if_noted()  # where the exception was swallowed, as in a callback of a library


@contextmanager
def collected(*numbers: signal.Signals) -> Iterator[list[str]]:
    """Yield a list to which each of these signals adds its name; one that was noted is in it."""
    names: list[str] = []

    def note(number: int, _frame: FrameType | None) -> None:
        names.append(signal.Signals(number).name)

    previous = {number: signal.signal(number, note) for number in numbers}
    names += _noted[:1]
    try:
        yield names
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_on_signals() -> None:
    """Restore the earlier handlers, for a command that does not serve; end if one was noted.

    Raises:
        SystemExit: A signal was noted. The exit code is 128 and the signal's number, as in a shell.
    """
    while _previous:
        signal.signal(*_previous.popitem())
    if _noted:
        raise SystemExit(128 + signal.Signals[_noted[0]].value)


def _note(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and _noted:  # a start may take minutes if an engine is compiled
        signal.default_int_handler(number, frame)
    name = signal.Signals(number).name
    _noted.append(name)
    text = f"edgeai: {name} during the start: stops; a second Ctrl-C ends at once\n"
    os.write(2, text.encode())  # sys.stderr may be in use by the code that was interrupted
    if _interruptible:
        _raise_if_noted()


def _raise_if_noted() -> None:
    if _noted:
        raise StoppedError(_noted[0])
