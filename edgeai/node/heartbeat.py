"""The connection between a worker and its supervisor: a socket pair.

One end is the worker's standard input. The worker sends a report about itself twice a second. The
supervisor sends nothing. When the supervisor's process ends, for whatever reason, its end closes:
the worker reads the end of the stream and stops.
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

from edgeai.log_events import event

log = logging.getLogger("edgeai.heartbeat")

REPORT_SECONDS = 0.5  # between two reports
STOP_SECONDS = 5.0  # for a worker without a supervisor to stop by itself
RECEIVE_BYTES = 65_536


class Report(TypedDict):
    """The state of a worker."""

    alive: bool
    ready: bool
    reasons: list[str]
    """Why it is not ready."""
    pipelines: dict[str, str]
    """Model and version, by the name of the pipeline."""
    signed_by: dict[str, str]
    """Id of the key that signed the model package, by the name of the pipeline."""


class ReportReceiver:
    """The supervisor's end of the connection to one worker."""

    def __init__(self) -> None:
        self._socket, self.worker_end = socket.socketpair()
        self._socket.setblocking(False)
        self._incomplete = b""

    def receive(self) -> Report | None:
        """Return the latest report since the last call; None if there was none. Do not wait."""
        try:
            received = self._socket.recv(RECEIVE_BYTES)
        except OSError:  # nothing has arrived, or the worker has ended
            return None
        *lines, self._incomplete = (self._incomplete + received).split(b"\n")
        for line in reversed(lines):
            # Reports that do not fit into the socket's buffer are cut: skip such a line.
            with contextlib.suppress(ValueError):
                return cast("Report", json.loads(line))
        return None

    def close(self) -> None:
        """Close both ends."""
        self._socket.close()
        self.worker_end.close()


def start_reporting(report: Callable[[], Report]) -> None:
    """Start a thread that reports to the supervisor, and stops the process when that has ended."""
    threading.Thread(target=_send_reports, args=(report,), name="heartbeat", daemon=True).start()


def _send_reports(report: Callable[[], Report]) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(0)) as supervisor:
        supervisor.settimeout(REPORT_SECONDS)
        received = b"-"
        while received:  # recv() returns b"" when the supervisor's end is closed
            with contextlib.suppress(TimeoutError):
                supervisor.sendall(json.dumps(report()).encode() + b"\n")
                received = supervisor.recv(1)
    log.warning("the supervisor has ended: stopping", extra=event("supervisor_lost"))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    # The main loop hangs. This process must not keep the MQTT session that the next worker needs.
    os._exit(1)
