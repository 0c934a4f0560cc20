"""One worker as its supervisor sees it: a process, what it last said, when it is started anew."""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeai.backoff import Backoff
from edgeai.engine.sharding import Shard
from edgeai.node.heartbeat import Line, Report
from edgeai.node.http_server import get_unix

log = logging.getLogger("edgeai.workers")

SIGNALS = {one.value: one.name for one in signal.Signals}
ASK_SECONDS = 2.0
SILENT_SECONDS = 3.0
"""Without a report a worker is not ready, and not asked for its metrics."""
HANG_SECONDS = 30.0
"""Not alive for so long, a worker is killed."""
START_SECONDS = 300.0
"""For its first report: models are loaded and proven before it."""
GRACE_SECONDS = 60.0
"""A worker gone for so long makes the node dead, not only unready."""
BACKOFF = Backoff(first_seconds=1.0, max_seconds=30.0)
STEADY_SECONDS = 60.0
"""Up for so long, a worker is started anew without having to wait longer than the first time."""


def edgeai_command(*arguments: str) -> list[str]:
    """Return the command line of another process of our own kind."""
    return [sys.executable, "-m", "edgeai", *arguments]


class Worker:
    """One worker: its process, what it last said, and when it is started anew."""

    def __init__(
        self, shard: Shard, command: list[str], folder: Path, count_restart: Callable[[], None]
    ) -> None:
        """Prepare; `tend` starts it.

        Args:
            shard: What it takes.
            command: To run it, but for its place.
            folder: Where its socket is to be, out of others' reach.
            count_restart: Called at each restart.
        """
        self.number = shard.number
        self.incarnation = 0
        self.report: Report | None = None
        """The last; None while it starts or is gone."""
        self.process: subprocess.Popen[bytes] | None = None
        self._shard, self._command, self._folder = shard, command, folder
        self._count_restart = count_restart
        self._line = Line()
        self._ended = "starting"
        self._failures = 0
        """Ends in a row, each soon after its start."""
        self._start_due = 0.0
        self._tended = self._started = self._heard = self._well = time.monotonic()

    @property
    def _is_silent(self) -> bool:
        # By when we last listened, not by now: the supervisor may be waiting for the broker.
        return self._tended - self._heard > SILENT_SECONDS

    @property
    def _socket(self) -> Path:
        return self._folder / f"{self.number}-{self.incarnation}"

    def tend(self, now: float) -> None:
        """Hear what it says; start it when it is gone, end it when it hangs."""
        self._tended = now
        if self.process is None:
            if now >= self._start_due:
                self._start(now)
            return
        report = self._line.hear()
        if report is not None:
            self.report, self._heard = report, now
            if report["alive"]:
                self._well = now
        code = self.process.poll()
        if code is not None:
            self._bury(now, SIGNALS.get(-code, f"exit code {code}"))
        elif now - max(self._well, self._started) > (
            HANG_SECONDS if self.report else START_SECONDS
        ):
            log.error("worker %d hangs: killed", self.number)
            self.process.kill()

    def terminate(self) -> None:
        """Ask it to stop."""
        if self.process is not None:
            self.process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait until it has stopped, and kill it when it does not: the end of it."""
        if self.process is not None:
            try:
                self.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker %d does not stop: killed", self.number)
                self.process.kill()
                self.process.wait()
        self._line.close()

    def fault(self) -> str | None:
        """Say why it is not ready; None when it is."""
        why: str | None = None
        report = self.report  # another thread may ask while the worker ends
        if report is None:
            why = self._ended
        elif self._is_silent:
            why = "does not answer"
        elif not report["alive"]:
            why = "its loop stands still"
        elif not report["ready"]:
            why = report["reasons"][0]
        return why and f"worker {self.number}: {why}"

    def is_gone(self) -> bool:
        """Whether it has not been alive for longer than a restart takes."""
        limit = GRACE_SECONDS if self.report or self.incarnation > 1 else START_SECONDS
        return self._tended - self._well > limit

    def ask(self, route: str) -> bytes | None:
        """Return what its web endpoint says; None when it does not answer."""
        if self.report is None or self._is_silent:
            return None
        return get_unix(self._socket, route, ASK_SECONDS)

    def summary(self) -> dict[str, Any]:
        """Return what `/api/state` says of it."""
        fault = self.fault()
        return {
            "worker": self.number,
            "process": None if self.process is None else self.process.pid,
            "ready": fault is None,
            "fault": fault,
            "restarts": max(0, self.incarnation - 1),
        }

    def _start(self, now: float) -> None:
        self.incarnation += 1
        if self.incarnation > 1:
            self._count_restart()
        place = [f"--worker={self.number}/{self._shard.of}", f"--worker-socket={self._socket}"]
        self._line.close()
        self._line = Line()
        self._started, self._ended = now, "starting"
        try:
            # Its output and errors are ours; its input is the line that tells it of our end.
            self.process = subprocess.Popen([*self._command, *place], stdin=self._line.far.fileno())
        except OSError as error:  # no memory, no more processes
            self._bury(now, f"cannot be started: {error.strerror}")
        self._line.far.close()

    def _bury(self, now: float, ended: str) -> None:
        self.process = self.report = None
        self._socket.unlink(missing_ok=True)
        steady = now - self._started >= STEADY_SECONDS
        self._failures = 1 if steady else self._failures + 1
        delay = BACKOFF.wait_seconds(self._failures)
        self._start_due = now + delay
        self._ended = f"ended ({ended}), is started anew"
        log.error("worker %d ended (%s); started anew in %.0f s", self.number, ended, delay)
