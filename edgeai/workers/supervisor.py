"""The supervisor of `workers: N`: starts the processes that share the streams, and speaks for them.

It loads no model and reads no message. It has the node's status on the broker, one web endpoint for
all, and starts a worker anew that has ended or hangs. Its workers end with it (`lifeline.py`).
"""

import contextlib
import json
import logging
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

from edgeai import __version__
from edgeai.config.node import Config
from edgeai.engine.sharding import Shard
from edgeai.errors import ConfigError, Problem
from edgeai.metrics.aggregate import MergedMetrics, Text
from edgeai.metrics.definitions import Metrics, WorkerMetrics
from edgeai.mqtt import Connection, Status
from edgeai.node.http_server import WebServer
from edgeai.node.status import node_status
from edgeai.workers.state import merge_pipelines
from edgeai.workers.worker import Worker, edgeai_command

log = logging.getLogger("edgeai.workers")

TURN_SECONDS = 0.25
ALIVE_SECONDS = 10.0
INTRODUCE_SECONDS = 15.0
"""The status waits so long for all workers, so that a start is one `online`."""
STOP_SECONDS, GOODBYE_SECONDS = 4.0, 0.5
MAX_FOLDER_BYTES = 80
"""The path of a Unix socket must be shorter than 108 bytes."""


def check_in_child(path: Path) -> int:
    """Check a config as `edgeai check`, which loads what we do not want to keep in memory.

    Returns:
        The exit code; the child has told what is wrong.
    """
    command = edgeai_command("check", str(path))
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode


class Supervisor:
    """The node's workers, its status and its web endpoint."""

    def __init__(self, path: Path, config: Config, log_level: str) -> None:
        """Open the web endpoint; `run` starts the workers.

        Args:
            path: The configuration, for the workers.
            config: The same, read.
            log_level: For the workers.

        Raises:
            ConfigError: The web port is taken, or a secret cannot be read.
        """
        self._config = config
        self._since, self._started = time.time(), time.monotonic()
        self._stop_signal = ""
        self._metrics = Metrics()
        self._mine = WorkerMetrics(self._metrics, config.workers)
        self._merged = MergedMetrics(self._metrics.registry)
        self._told: list[str] | None = None
        self._introduced = False
        self._models: dict[str, str] = {}
        self._last_turn = self._started
        self._connection = Connection(
            config.broker, config.client_id, {}, config.limits, self._metrics, status=self._status()
        )
        self._folder = _private_folder()
        command = edgeai_command("run", str(path), f"--log-level={log_level}")
        self.workers = [
            Worker(Shard(number, config.workers), command, self._folder, restarts.inc)
            for number, restarts in enumerate(self._mine.restarts, 1)
        ]
        with contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._web = self._open_web() if config.http.enabled else None
            undo.pop_all()

    def _open_web(self) -> WebServer:
        web = WebServer(
            self._config.http,
            render_metrics=self._render_metrics,
            alive=self._alive,
            ready=self._ready,
            state=self._state,
        )
        log.info("status page, metrics and health at %s", web.url)
        return web

    def run(self) -> None:
        """Keep the workers at work until SIGTERM or SIGINT, then stop them."""
        log.info(
            "edgeai %s, node %s, %d workers", __version__, self._config.node, self._config.workers
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        try:
            while not self._stop_signal:
                self._turn()
        finally:
            self._stop()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._stop_signal = signal.Signals(number).name
        for worker in self.workers:  # at once: the loop may be waiting for a broker
            worker.terminate()

    def _turn(self) -> None:
        now = self._last_turn = time.monotonic()
        for worker in self.workers:
            worker.tend(now)
        faults = self._faults()
        self._mine.ready.set(len(self.workers) - len(faults))
        if not self._introduced:
            self._introduced = not faults or now - self._started > INTRODUCE_SECONDS
        if not self._introduced:
            time.sleep(TURN_SECONDS)
            return
        self._tell(faults)
        self._connection.receive(TURN_SECONDS)
        self._metrics.connected.set(self._connection.connected)

    def _tell(self, faults: list[str]) -> None:
        """Tell of a change: by metric, log and status."""
        if faults == self._told:
            return
        self._told = faults
        count = len(self.workers)
        level = logging.WARNING if faults else logging.INFO
        why = "".join(f": {fault}" for fault in faults[:1])
        log.log(level, "%d of %d workers are ready%s", count - len(faults), count, why)
        for worker in self.workers:
            self._models = worker.report["pipelines"] if worker.report else self._models
        self._connection.announce(self._status(faults))

    def _stop(self) -> None:
        log.info("%s: stopping the workers", self._stop_signal or "an error")
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(deadline)
        self._connection.close(GOODBYE_SECONDS)
        if self._web is not None:
            self._web.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        log.info("stopped")

    # ----------------------------------------------------------------------- seen from outside

    def _faults(self) -> list[str]:
        return [fault for worker in self.workers if (fault := worker.fault())]

    def _status(self, faults: list[str] | None = None) -> Status:
        count = self._config.workers
        ready = 0 if faults is None else count - len(faults)
        return node_status(
            self._config.node,
            self._since,
            self._models,
            state="online" if ready == count else "degraded" if ready else "offline",
            reason=faults[0] if faults else "",
            workers={"running": ready, "of": count},
        )

    def _render_metrics(self) -> bytes:
        texts = []
        for worker in self.workers:
            incarnation = worker.incarnation
            text = worker.ask("/metrics")
            if text is not None:
                texts.append(Text(worker.number, incarnation, text.decode()))
        return self._merged.render(texts)

    def _alive(self) -> dict[str, Any]:
        age = time.monotonic() - self._last_turn
        gone = [worker.number for worker in self.workers if worker.is_gone()]
        return {
            "alive": age < ALIVE_SECONDS and not gone,
            "seconds_since_last_turn": round(age, 3),
            "workers_gone": gone,
        }

    def _ready(self) -> dict[str, Any]:
        reasons = self._faults()
        if self._introduced and self._connection.fault:
            reasons.append(f"status: {self._connection.fault}")
        return {"ready": not reasons, "reasons": reasons}

    def _state(self) -> dict[str, Any]:
        answers = [worker.ask("/api/state") for worker in self.workers]
        states = [json.loads(answer) for answer in answers if answer is not None]
        reasons = self._ready()["reasons"]
        broker = self._config.broker
        return {
            "node": self._config.node,
            "version": __version__,
            "now": time.time(),
            "started": self._since,
            "received": sum(state["received"] for state in states),
            "predicted": sum(state["predicted"] for state in states),
            "broker": {
                "address": f"{broker.host}:{broker.port}",
                "connected": bool(states) and all(one["broker"]["connected"] for one in states),
                "protocol": self._connection.protocol,
                "fault": reasons[0] if reasons else None,
            },
            "pipelines": merge_pipelines(states),
            "workers": [worker.summary() for worker in self.workers],
        }


def _private_folder() -> Path:
    """Make a folder that is ours alone, for the workers' sockets."""
    folder = Path(tempfile.mkdtemp(prefix="edgeai-"))
    if len(bytes(folder)) > MAX_FOLDER_BYTES:
        with contextlib.suppress(OSError):
            folder.rmdir()
        rule = f"must be a path of less than {MAX_FOLDER_BYTES - 15} bytes"
        raise ConfigError([Problem("environment", "TMPDIR", rule, str(folder.parent), True)])
    return folder
