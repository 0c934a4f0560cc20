"""Wire a checked configuration into source, engine and sink, and run it until told to stop."""

import logging
import math
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from edgeai import __version__
from edgeai.assembly import memory
from edgeai.assembly.pipelines import (
    build_pipelines,
    close_sessions,
    create_provider_watch,
    events_topic,
    reset_prefix,
)
from edgeai.assembly.plan import Plan
from edgeai.engine.engine import Engine
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.sharding import Place, ShardedSource
from edgeai.messages import MessageSource
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Link
from edgeai.node.heartbeat import Report, report_for_ever
from edgeai.node.http_server import MAX_SHOWN_ASSETS, WebServer
from edgeai.node.status import node_status

log = logging.getLogger("edgeai")

TURN_SECONDS = 0.5
ALIVE_SECONDS = 10.0
CLOSE_SECONDS = 3.0


def _models(pipelines: list[Pipeline]) -> dict[str, str]:
    """Return model and version by pipeline."""
    return {one.name: f"{one.manifest.name} {one.manifest.version}" for one in pipelines}


class Runtime:
    """One node: its engine, its connection, its web endpoint."""

    def __init__(self, plan: Plan, place: Place | None = None) -> None:
        """Load the models and open the web endpoint; the broker is connected to by `run`.

        Args:
            plan: What to serve.
            place: Given to one of several workers: it serves its shard and answers its supervisor,
                who speaks for all on the broker and the net.

        Raises:
            ConfigError: The web port is taken, or a secret cannot be read.
            ModelError: A model does not reproduce its golden outputs.
        """
        config = plan.config
        self.config = config
        self.place = place
        self.metrics = Metrics()
        self._started = time.time()
        self._stop_signal = ""
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        with ExitStack() as undo:
            undo.callback(self._close_wake)
            pipelines = build_pipelines(plan, self.metrics, place.shard if place else None)
            undo.callback(close_sessions, pipelines)
            self._wire(pipelines)
            undo.pop_all()

    def _wire(self, pipelines: list[Pipeline]) -> None:
        config, place = self.config, self.place
        resets = reset_prefix(config.node)
        subscriptions: dict[str, int] = {}
        for pipeline in pipelines:
            source = pipeline.config.source
            known = subscriptions.get(pipeline.template.filter, 0)
            subscriptions[pipeline.template.filter] = max(known, source.qos)
        if any(pipeline.rule.latch for pipeline in pipelines):
            subscriptions[f"{resets}#"] = 1 if any(subscriptions.values()) else 0
        self.link = Link(
            config.broker,
            config.client_id + (f"-w{place.shard.number}" if place else ""),
            subscriptions,
            config.limits,
            self.metrics,
            status=None if place else node_status(config.node, self._started, _models(pipelines)),
            wake_fd=self._wake_read.fileno(),
            stopping=lambda: bool(self._stop_signal),
        )
        self.metrics.waiting.set_function(lambda: self.link.waiting_to_send)
        messages: MessageSource = self.link
        if place:
            messages = ShardedSource(self.link, place.shard, self._keys_of, self.metrics.left.inc)
        self.engine = Engine(
            pipelines,
            messages,
            self.link,
            self.metrics,
            reset_prefix=resets,
            watch=create_provider_watch(
                pipelines, self.metrics, config.node, events_topic(config.node)
            ),
        )
        self.web: WebServer | None = None
        if config.http.enabled or place:
            self.web = WebServer(
                place.socket if place else config.http,
                render_metrics=self.metrics.render,
                alive=self._alive,
                ready=self._ready,
                state=self.state,
            )
            if not place:
                log.info("status page, metrics and health at %s", self.web.url)

    def run(self) -> None:
        """Turn until SIGTERM or SIGINT, then drain, say goodbye and return."""
        log.info("edgeai %s, node %s", __version__, self.config.node)
        memory.tune_for_serving()
        with self._signals():
            if self.place:
                report_for_ever(self._report)
            while not self._stop_signal:
                self.engine.turn(TURN_SECONDS)
            log.info("%s: draining", self._stop_signal)
            self.engine.turn(0)
            self.engine.finish()
        close_sessions(self.engine.pipelines)
        if not self.link.close(CLOSE_SECONDS):
            log.warning("%d publications were not sent", self.link.waiting_to_send)
        if self.web is not None:
            self.web.close()
        self._close_wake()
        log.info(
            "stopped: %d messages, %d predictions", self.engine.received, self.engine.predicted
        )

    def _close_wake(self) -> None:
        self._wake_read.close()
        self._wake_write.close()

    def state(self) -> dict[str, Any]:
        """Return what the status page shows."""
        pipelines = []
        for pipeline in self.engine.pipelines:
            states = list(pipeline.streams.values())
            assets = [
                {
                    "asset": state.key,
                    "score": state.score if math.isfinite(state.score) else None,
                    "alarm": state.alarm.state,
                    "quality": state.quality,
                    "time": None if state.time_ns is None else state.time_ns / 1e9,
                    "waiting_for": [pipeline.signals[i] for i in state.stream.waiting_for()][:10]
                    if state.time_ns is None
                    else [],
                }
                for state in states[:MAX_SHOWN_ASSETS]
            ]
            pipelines.append(
                {
                    "name": pipeline.name,
                    "model": pipeline.manifest.name,
                    "version": pipeline.manifest.version,
                    "provider": pipeline.session.provider,
                    "requested": pipeline.session.requested,
                    "reason": pipeline.session.reason,
                    "topic": pipeline.config.source.topic,
                    "threshold": pipeline.rule.threshold,
                    "streams": len(states),
                    "assets": assets,
                }
            )
        return {
            "node": self.config.node,
            "version": __version__,
            "now": time.time(),
            "started": self._started,
            "received": self.engine.received,
            "predicted": self.engine.predicted,
            "broker": {
                "address": f"{self.config.broker.host}:{self.config.broker.port}",
                "connected": self.link.connected,
                "protocol": self.link.protocol,
                "fault": self.link.fault,
            },
            "pipelines": pipelines,
        }

    def _keys_of(self, topic: str) -> Iterable[str]:
        """Return the stream keys of a topic; of a reset, that of the alarm's stream."""
        resets = reset_prefix(self.config.node)
        if topic.startswith(resets):
            return [topic.removeprefix(resets).partition("/")[2]]
        found = [pipeline.find_key(topic) for pipeline in self.engine.pipelines]
        return [one[0] for one in found if one is not None]

    def _report(self) -> Report:
        ready = self._ready()
        return {
            "alive": self._alive()["alive"],
            "ready": ready["ready"],
            "reasons": ready["reasons"],
            "pipelines": _models(self.engine.pipelines),
        }

    def _alive(self) -> dict[str, Any]:
        last = max(self.engine.last_turn_monotonic, self.link.served_monotonic)
        age = time.monotonic() - last
        return {"alive": age < ALIVE_SECONDS, "seconds_since_last_turn": round(age, 3)}

    def _ready(self) -> dict[str, Any]:
        # The models are proven before this endpoint opens.
        fault = self.link.fault
        return {"ready": fault is None, "reasons": [fault] if fault else []}

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT end the loop, also while it waits for the socket."""

        def note(number: int, _frame: FrameType | None) -> None:
            self._stop_signal = signal.Signals(number).name

        previous = {
            number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)
        }
        wakeup = signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in previous.items():
                signal.signal(number, handler)
