"""The supervisor of `workers: N`: starts the processes that share the streams of one node.

It loads no model and reads no message. It publishes the node's status, has one HTTP server for all
workers, and restarts a worker that has ended or hangs. Its workers end with it (`node.heartbeat`).
"""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote, urlencode

from edgeai import stop_signals
from edgeai.config.node import Config
from edgeai.engine.sharding import Shard
from edgeai.errors import ConfigError, Problem
from edgeai.log_events import event
from edgeai.metrics.aggregate import MergedMetrics, WorkerText
from edgeai.metrics.definitions import Metrics, WorkerMetrics
from edgeai.mqtt import Connection, Status
from edgeai.node.beat import BeatSender
from edgeai.node.http_answers import Query, Reply, reply_error
from edgeai.node.http_server import HttpServer
from edgeai.node.page_state import node_state
from edgeai.node.status import HANGUP_IGNORED, node_status
from edgeai.version import __version__
from edgeai.workers.state import merge_events, merge_pipelines, merge_refused
from edgeai.workers.worker import Worker, edgeai_command

log = logging.getLogger("edgeai.workers")

TURN_SECONDS = 0.25  # between two updates of the workers
ALIVE_SECONDS = 10.0  # the supervisor is dead when its last turn is older
FIRST_STATUS_SECONDS = 15.0  # the first status waits for all workers, so that it says `online`
STOP_SECONDS = 4.0  # for the workers to end after SIGTERM
DISCONNECT_SECONDS = 0.5  # to publish the last status
MAX_FOLDER_BYTES = 80  # the path of a Unix socket must be shorter than 108 bytes
FOLDER_NAME_BYTES = 15  # `edgeai-` and eight random characters


def check_in_child(path: Path, variables: Mapping[str, str]) -> int:
    """Run `edgeai check` in a child: it loads libraries that the supervisor does not need.

    Args:
        path: Configuration file.
        variables: Environment variables of the child, beside those of this process.

    Returns:
        The exit code. The child has printed the problems.
    """
    command = edgeai_command("check", str(path))
    # A session of its own: Ctrl-C in a terminal reaches this process, which stops after the check.
    return subprocess.run(
        command,
        stdout=subprocess.DEVNULL,
        check=False,
        start_new_session=True,
        env={**os.environ, **variables},
    ).returncode


class Supervisor:
    """The node's workers, status and HTTP server."""

    def __init__(self, path: Path, config: Config, log_options: Sequence[str]) -> None:
        """Start the HTTP server; `run` starts the workers.

        Args:
            path: Configuration file, which the workers read.
            config: Its content.
            log_options: Options of the workers' command.

        Raises:
            ConfigError: The HTTP port is in use, or a secret cannot be read.
        """
        self._config = config
        self._started, self._started_monotonic = time.time(), time.monotonic()
        self._stop_signal = ""
        self._hangups = 0
        """SIGHUPs that were not told yet."""
        self._metrics = Metrics()
        self._worker_metrics = WorkerMetrics(self._metrics, config.workers)
        self._metrics.ready.set_function(lambda: self._ready()["ready"])
        self._merged_metrics = MergedMetrics(self._metrics.registry)
        self._published_faults: list[str] | None = None
        self._is_started = False
        self._models: dict[str, str] = {}
        self._signed_by: dict[str, str] = {}
        self._last_turn = self._started_monotonic
        self._connection = Connection(
            config.broker, config.client_id, {}, config.limits, self._metrics, status=self._status()
        )
        self._beats: BeatSender | None = None
        if config.heartbeat is not None:
            self._beats = BeatSender(
                config.heartbeat, config.node, self._connection.send_newest,
                note=self._metrics.last_heartbeat.set,
            )  # fmt: skip
        self._folder = _private_folder()
        command = edgeai_command("run", str(path), *log_options)
        self.workers = [
            Worker(Shard(number, config.workers), command, self._folder, restarts.inc)
            for number, restarts in enumerate(self._worker_metrics.restarts, 1)
        ]
        with contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._http_server = self._start_http_server() if config.http.enabled else None
            undo.pop_all()

    def _start_http_server(self) -> HttpServer:
        server = HttpServer(
            self._config.http,
            render_metrics=self._render_metrics,
            alive=self._alive,
            ready=self._ready,
            state=self._state,
            asset=partial(self._of_asset, "/api/asset"),
            history=partial(self._of_asset, "/api/history"),
            command=self._command,
        )
        log.info(
            "status page, metrics and health at %s", server.url,
            extra=event("http_listening", url=server.url),
        )  # fmt: skip
        return server

    def run(self) -> None:
        """Keep the workers running until SIGTERM or SIGINT, then stop them."""
        log.info(
            "edgeai %s, node %s, %d workers", __version__, self._config.node, self._config.workers,
            extra=event("node_started", version=__version__, workers=self._config.workers),
        )  # fmt: skip
        for number in stop_signals.STOPPING:
            signal.signal(number, self._on_signal)
        self._stop_signal = self._stop_signal or stop_signals.noted()
        signal.signal(signal.SIGHUP, self._on_hangup)
        try:
            while not self._stop_signal:
                self._turn()
        finally:
            self._stop()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stop_signal = signal.Signals(number).name
        for worker in self.workers:  # not in the loop, which may be waiting for the broker
            worker.terminate()

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._hangups += 1

    def _turn(self) -> None:
        if self._hangups:
            self._hangups = 0
            log.warning(HANGUP_IGNORED, extra=event("hangup_ignored"))
        now = self._last_turn = time.monotonic()
        for worker in self.workers:
            worker.update(now)
        faults = self._faults()
        self._worker_metrics.ready.set(len(self.workers) - len(faults))
        if not self._is_started:
            waited = now - self._started_monotonic
            self._is_started = not faults or waited > FIRST_STATUS_SECONDS
        if not self._is_started:
            time.sleep(TURN_SECONDS)
            return
        self._publish_faults(faults)
        wait = TURN_SECONDS if self._beats is None else self._beats.wait_seconds(TURN_SECONDS)
        self._connection.receive(wait)
        if self._beats is not None and self._beats.is_due:
            self._beats.look(
                faults,
                is_connected=self._connection.connected,
                is_alive=all(worker.is_alive for worker in self.workers),
            )
        self._metrics.connected.set(self._connection.connected)

    def _publish_faults(self, faults: list[str]) -> None:
        """Log the faults and publish them in the status, if they have changed."""
        if faults == self._published_faults:
            return
        self._published_faults = faults
        count = len(self.workers)
        level = logging.WARNING if faults else logging.INFO
        why = "".join(f": {fault}" for fault in faults[:1])
        log.log(
            level, "%d of %d workers are ready%s", count - len(faults), count, why,
            extra=event(
                "workers_ready", ready=count - len(faults), of=count,
                reason=faults[0] if faults else None,
            ),
        )  # fmt: skip
        for worker in self.workers:
            if worker.report:
                self._models = worker.report["pipelines"]
                self._signed_by = worker.report["signed_by"]
        self._connection.announce(self._status(faults))

    def _stop(self) -> None:
        log.info(
            "%s: stopping the workers", self._stop_signal or "an error",
            extra=event("node_stopping", signal=self._stop_signal),
        )  # fmt: skip
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(deadline)
        if self._beats is not None and self._connection.connected:
            self._beats.end()
        self._connection.close(DISCONNECT_SECONDS)
        if self._http_server is not None:
            self._http_server.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        log.info("stopped", extra=event("node_stopped"))

    # ---------------------------------------------------------------- status and HTTP answers

    def _faults(self) -> list[str]:
        return [fault for worker in self.workers if (fault := worker.fault())]

    def _status(self, faults: list[str] | None = None) -> Status:
        count = self._config.workers
        ready = 0 if faults is None else count - len(faults)
        return node_status(
            self._config.node,
            self._started,
            self._models,
            state="online" if ready == count else "degraded" if ready else "offline",
            reason=faults[0] if faults else "",
            workers={"running": ready, "of": count},
            signed_by=self._signed_by,
        )

    def _render_metrics(self) -> bytes:
        texts = []
        for worker in self.workers:
            start_count = worker.start_count
            text = worker.fetch("/metrics")
            if text is not None:
                texts.append(WorkerText(worker.number, start_count, text.decode()))
        return self._merged_metrics.render(texts)

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
        if self._is_started and self._connection.fault:
            reasons.append(f"status: {self._connection.fault}")
        return {"ready": not reasons, "reasons": reasons}

    def _state(self) -> dict[str, Any]:
        answers = [worker.fetch("/api/state") for worker in self.workers]
        states = [json.loads(answer) for answer in answers if answer is not None]
        reasons = self._ready()["reasons"]
        state = node_state(
            self._config,
            started=self._started,
            received=sum(state["received"] for state in states),
            predicted=sum(state["predicted"] for state in states),
            connected=bool(states) and all(state["broker"]["connected"] for state in states),
            protocol=self._connection.protocol,
            fault=reasons[0] if reasons else None,
            pipelines=merge_pipelines(states),
            refused=merge_refused(states),
            events=merge_events(states),
            commands=states[0]["commands"] if states else (),
        )
        return {**state, "workers": [worker.summary() for worker in self.workers]}

    def _of_asset(self, page: str, query: Query) -> Reply:
        """Ask the worker that serves an asset."""
        return self._forward(query.get("asset", ""), f"{page}?{urlencode(query)}")

    def _command(self, name: str, content: Mapping[str, Any]) -> Reply:
        """Give a command to the worker that serves its asset."""
        command = json.dumps(content).encode()
        return self._forward(str(content.get("asset")), f"/api/commands/{quote(name)}", command)

    def _forward(self, asset: str, page: str, command: bytes | None = None) -> Reply:
        worker = next(one for one in self.workers if one.takes(asset))
        answer = worker.ask(page, command)
        if answer is None:
            return reply_error(
                HTTPStatus.SERVICE_UNAVAILABLE,
                worker.fault() or f"worker {worker.number} does not respond",
            )
        return Reply(HTTPStatus(answer[0]), answer[1])


def _private_folder() -> Path:
    """Create a folder for the workers' sockets to which no other user has access."""
    folder = Path(tempfile.mkdtemp(prefix="edgeai-"))
    if len(bytes(folder)) > MAX_FOLDER_BYTES:
        with contextlib.suppress(OSError):
            folder.rmdir()
        rule = f"must be a path of less than {MAX_FOLDER_BYTES - FOLDER_NAME_BYTES} bytes"
        raise ConfigError([Problem("environment", "TMPDIR", rule, str(folder.parent), True)])
    return folder
