"""One worker as its supervisor sees it: its process, its last report, and its restarts."""

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
from edgeai.log_events import event
from edgeai.node.heartbeat import Report, ReportReceiver
from edgeai.workers.unix_http import ask, fetch_page

log = logging.getLogger("edgeai.workers")

SIGNALS = {one.value: one.name for one in signal.Signals}
FETCH_SECONDS = 2.0  # timeout of a request to the worker's HTTP server
SILENT_SECONDS = 3.0  # without a report a worker is not ready, and its pages are not fetched
HANG_SECONDS = 30.0  # a worker whose loop has not turned for this long is killed
START_SECONDS = 300.0  # limit for the first report: the models are loaded and proven before it
GONE_SECONDS = 60.0  # a worker not alive for this long makes /healthz fail, not only /readyz
BACKOFF = Backoff(first_seconds=1.0, max_seconds=30.0)  # from the end to the restart
STEADY_SECONDS = 60.0  # after running for this long, the next delay is the first one again


def edgeai_command(*arguments: str) -> list[str]:
    """Return the command line that runs edgeai with this interpreter."""
    return [sys.executable, "-m", "edgeai", *arguments]


class Worker:
    """One worker: its process, its last report, and when it is restarted."""

    def __init__(
        self, shard: Shard, command: list[str], folder: Path, count_restart: Callable[[], None]
    ) -> None:
        """Prepare; the first `update` starts the process.

        Args:
            shard: The streams that it serves.
            command: Command line, without the options that name its share and socket.
            folder: For its Unix socket; no other user may have access.
            count_restart: Called at each restart.
        """
        self.number = shard.number
        self.start_count = 0
        self.report: Report | None = None
        """The latest; None while the worker starts or has ended."""
        self.process: subprocess.Popen[bytes] | None = None
        self._shard, self._command, self._folder = shard, command, folder
        self._count_restart = count_restart
        self._reports = ReportReceiver()
        self._why_no_report = "starting"
        self._failures = 0
        """Ends in a row, each soon after its start."""
        self._start_due = 0.0
        now = time.monotonic()
        self._last_update = self._last_start = self._last_report = self._last_alive = now

    @property
    def _is_silent(self) -> bool:
        # Compared with the last update, not with the clock: while the supervisor waits for the
        # broker it reads no reports.
        return self._last_update - self._last_report > SILENT_SECONDS

    @property
    def _socket_path(self) -> Path:
        return self._folder / f"{self.number}-{self.start_count}"

    def update(self, now: float) -> None:
        """Read the reports; start the process if it has ended, kill it if it hangs.

        Args:
            now: From `time.monotonic`.
        """
        self._last_update = now
        if self.process is None:
            if now >= self._start_due:
                self._start(now)
            return
        report = self._reports.receive()
        if report is not None:
            self.report, self._last_report = report, now
            if report["alive"]:
                self._last_alive = now
        code = self.process.poll()
        if code is not None:
            self._schedule_restart(now, SIGNALS.get(-code, f"exit code {code}"))
        elif now - max(self._last_alive, self._last_start) > (
            HANG_SECONDS if self.report else START_SECONDS
        ):
            log.error(
                "worker %d hangs: killed", self.number,
                extra=event("worker_killed", worker=self.number),
            )  # fmt: skip
            self.process.kill()

    def terminate(self) -> None:
        """Send SIGTERM to the process."""
        if self.process is not None:
            self.process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait until the process has ended; kill it at the deadline. Not to be used afterwards."""
        if self.process is not None:
            try:
                self.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning(
                    "worker %d does not stop: killed", self.number,
                    extra=event("worker_killed", worker=self.number),
                )  # fmt: skip
                self.process.kill()
                self.process.wait()
        self._reports.close()

    @property
    def is_alive(self) -> bool:
        """Whether it has reported lately that it runs its turns."""
        report = self.report
        return report is not None and not self._is_silent and report["alive"]

    def fault(self) -> str | None:
        """Return why the worker is not ready; None if it is."""
        why: str | None = None
        report = self.report  # read once: another thread may call this while the worker ends
        if report is None:
            why = self._why_no_report
        elif self._is_silent:
            why = "does not respond"
        elif not report["alive"]:
            why = "its loop has stopped"
        elif not report["ready"]:
            why = report["reasons"][0]
        return why and f"worker {self.number}: {why}"

    def is_gone(self) -> bool:
        """Return whether it has not been alive for longer than a restart takes."""
        limit = GONE_SECONDS if self.report or self.start_count > 1 else START_SECONDS
        return self._last_update - self._last_alive > limit

    def fetch(self, page: str) -> bytes | None:
        """Return a page of the worker's HTTP server; None if the worker does not respond."""
        if self.report is None or self._is_silent:
            return None
        return fetch_page(self._socket_path, page, FETCH_SECONDS)

    def takes(self, asset: str) -> bool:
        """Return whether it serves the streams of an asset."""
        return self._shard.takes(asset)

    def ask(self, page: str, command: bytes | None = None) -> tuple[int, bytes] | None:
        """Return status and body of the worker's answer; None if it does not respond.

        Args:
            page: Path and parameters.
            command: The JSON of a command; None: the page is only read.
        """
        if self.report is None or self._is_silent:
            return None
        return ask(self._socket_path, page, FETCH_SECONDS, command)

    def summary(self) -> dict[str, Any]:
        """Return the worker's entry in `/api/state`."""
        fault = self.fault()
        return {
            "worker": self.number,
            "process": None if self.process is None else self.process.pid,
            "ready": fault is None,
            "fault": fault,
            "restarts": max(0, self.start_count - 1),
        }

    def _start(self, now: float) -> None:
        self.start_count += 1
        if self.start_count > 1:
            self._count_restart()
        role = [f"--worker={self.number}/{self._shard.of}", f"--worker-socket={self._socket_path}"]
        self._reports.close()
        self._reports = ReportReceiver()
        self._last_start, self._why_no_report = now, "starting"
        try:
            # Standard output and error are the supervisor's; standard input is the heartbeat.
            self.process = subprocess.Popen(
                [*self._command, *role], stdin=self._reports.worker_end.fileno()
            )
        except OSError as error:  # out of memory or processes
            self._schedule_restart(now, f"cannot be started: {error.strerror}")
        self._reports.worker_end.close()

    def _schedule_restart(self, now: float, ended: str) -> None:
        self.process = self.report = None
        self._socket_path.unlink(missing_ok=True)
        steady = now - self._last_start >= STEADY_SECONDS
        self._failures = 1 if steady else self._failures + 1
        delay = BACKOFF.wait_seconds(self._failures)
        self._start_due = now + delay
        self._why_no_report = f"ended ({ended}), will be restarted"
        log.error(
            "worker %d ended (%s); restart in %.0f s", self.number, ended, delay,
            extra=event("worker_ended", worker=self.number, reason=ended, seconds=delay),
        )  # fmt: skip
