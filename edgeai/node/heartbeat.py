"""The line between a worker and its supervisor: a socket, the worker's standard input.

The worker reports how it is, twice a second. The supervisor never says anything: when its end
closes, by whatever death, the worker knows that it is alone and stops.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TypedDict, cast

log = logging.getLogger("edgeai.lifeline")

REPORT_SECONDS = 0.5
STOP_SECONDS = 5.0
RECEIVE_BYTES = 65_536


class Report(TypedDict):
    """How a worker is."""

    alive: bool
    ready: bool
    reasons: list[str]
    """Why it is not ready."""
    pipelines: dict[str, str]
    """Model and version by pipeline."""


class Line:
    """The supervisor's end."""

    def __init__(self) -> None:
        self._near, self.far = socket.socketpair()
        self._near.setblocking(False)
        self._tail = b""

    def hear(self) -> Report | None:
        """Return the last report that has come since the last call; None: nothing has."""
        try:
            heard = self._near.recv(RECEIVE_BYTES)
        except OSError:  # nothing new, or the worker is gone
            return None
        *lines, self._tail = (self._tail + heard).split(b"\n")
        for line in reversed(lines):
            # One that was cut, because we did not listen for long, is no report.
            with contextlib.suppress(ValueError):
                return cast("Report", json.loads(line))
        return None

    def close(self) -> None:
        """Let go of both ends."""
        self._near.close()
        self.far.close()


def report_for_ever(report: Callable[[], Report]) -> None:
    """Tell the supervisor how we are, in a thread; stop the process when there is none."""
    threading.Thread(target=_report, args=(report,), name="lifeline", daemon=True).start()


def _report(report: Callable[[], Report]) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(0)) as line:
        line.settimeout(REPORT_SECONDS)
        heard = b"-"
        while heard:
            with contextlib.suppress(TimeoutError):
                line.sendall(json.dumps(report()).encode() + b"\n")
                heard = line.recv(1)
    log.warning("the supervisor is gone: stopping")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(1)  # the loop does not hear signals; an orphan would take its successor's session
