"""Connect a checked configuration to source, engine and sink, and run until a signal."""

import logging
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import msgspec

from edgeai import stop_signals, topics
from edgeai.assembly import memory
from edgeai.assembly.pipelines import (
    build_pipelines,
    close_sessions,
    command_prefixes,
    create_provider_watch,
    events_topic,
    reset_prefix,
)
from edgeai.assembly.plan import Plan
from edgeai.engine.alarm_files import alarms_folder
from edgeai.engine.asset_events import Live
from edgeai.engine.engine import Engine
from edgeai.engine.history import History
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.kept_assets import KeptAssets, assets_folder
from edgeai.engine.monitor import Monitor
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.quarantine import Quarantine
from edgeai.engine.restored_alarms import restore_alarms
from edgeai.engine.restored_answers import answers_folder, end_answers, replace_answers
from edgeai.engine.retained_alarms import RetainedAlarms
from edgeai.engine.sharding import Shard, ShardedSource
from edgeai.log_events import event
from edgeai.messages import MessageSource, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Link, Status
from edgeai.mqtt.kept_filters import kept_filters_path
from edgeai.mqtt.retained_reader import RetainedReader
from edgeai.node.asset_page import AssetPages
from edgeai.node.beat import BeatSender
from edgeai.node.commands import Commands, Faults
from edgeai.node.heartbeat import Report, start_reporting
from edgeai.node.http_server import HttpServer
from edgeai.node.page_state import count_followers, node_state, pipeline_state
from edgeai.node.status import HANGUP_IGNORED, node_status
from edgeai.node.subscriptions import DeliveryHints, interval_seconds, subscriptions_of
from edgeai.paths import state_folder_warning
from edgeai.version import __version__

log = logging.getLogger("edgeai")

TURN_SECONDS = 0.5  # longest wait for messages in one turn
ALIVE_SECONDS = 10.0  # a node is dead when its last turn is older
MIN_STATE_SECONDS = 0.2  # age of an answer to `/api/state` that is given again
STATE_SHARE = (
    0.02  # of the time that these answers may take; with very many machines they are older
)
CLOSE_SECONDS = 3.0  # to send what is still waiting for the broker


class WorkerRole(NamedTuple):
    """Makes a process one of several workers of a node."""

    shard: Shard
    socket: Path
    """Unix socket on which it answers its supervisor."""


def _models(pipelines: list[Pipeline]) -> dict[str, str]:
    """Return the model and its version of each pipeline, by the pipeline's name."""
    return {one.name: f"{one.manifest.name} {one.manifest.version}" for one in pipelines}


def _signers(plan: Plan) -> dict[str, str]:
    """Return the id of the key that signed the package of each pipeline that has a signed one."""
    signatures = {name: package.signature for name, package in plan.packages.items()}
    return {name: found.key_id for name, found in signatures.items() if found is not None}


def _quarantine_name(node: str, role: WorkerRole | None) -> str:
    """Return the name of the file of quarantined messages; each process has its own."""
    return f"quarantine-{node}{f'-w{role.shard.number}' if role else ''}.json"


class Runtime:
    """One node, or one worker of it: engine, broker connection and HTTP server."""

    def __init__(
        self, plan: Plan, role: WorkerRole | None = None, faults: Faults | None = None
    ) -> None:
        """Load the models and start the HTTP server; `run` connects to the broker.

        Args:
            plan: What to serve.
            role: If this process is one of several workers. It serves only its share of the
                streams. Its supervisor publishes the node's status and has the HTTP port.
            faults: Faults of a simulated line, which the page may inject; None: the line is real.

        Raises:
            ConfigError: The HTTP port is in use, or a secret cannot be read.
            ModelError: A model does not reproduce its golden outputs.
        """
        config = plan.config
        self.config = config
        self.role = role
        self._state_folder = plan.state_folder
        self._signed_by = _signers(plan)
        self._keeps_state = state_folder_warning(plan.state_folder) is None
        self.metrics = Metrics()
        self._started = time.time()
        self._stop_signal = ""
        self._hangups = 0
        """SIGHUPs that were not told yet."""
        self._state = b""
        """The last answer to `/api/state`."""
        self._next_state = 0.0
        """When to make the next one, in seconds of the monotonic clock."""
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        if role is None or role.shard.number == 1:
            for note in plan.notes:
                log.info("%s", note, extra=event("config_note"))
            for warning in plan.warnings:
                log.warning("%s", warning, extra=event("config_warning"))
        with ExitStack() as undo:
            undo.callback(self._close_wake_sockets)
            pipelines = build_pipelines(plan, self.metrics, role.shard if role else None)
            undo.callback(close_sessions, pipelines)
            self._wire(pipelines, plan.state_folder, faults)
            undo.pop_all()

    def _wire(self, pipelines: list[Pipeline], state_folder: Path, faults: Faults | None) -> None:
        config, role = self.config, self.role
        resets, prefixes = reset_prefix(config.node), command_prefixes(config.node)
        self._hints = DeliveryHints(pipelines)
        shard = role.shard if role else None
        alarms = alarms_folder(
            self._state_folder, config.node, config.broker.host, config.broker.port
        )
        kept = KeptAlarms(
            alarms,
            shard.number if shard else 1,
            is_told=not self._keeps_state,
        )
        restored = restore_alarms(pipelines, kept, shard)
        known = self._known_assets(pipelines, alarms, shard)
        restored += self._replaced_answers(pipelines, alarms, shard)
        self._beats = self._make_beats()
        has_states = any(pipeline.states is not None for pipeline in pipelines)
        retained = RetainedAlarms(
            pipelines,
            kept,
            config.node,
            shard,
            reads_states=has_states or (known is not None and known.had_states),
        )
        client_id = config.client_id + (f"-w{role.shard.number}" if role else "")
        self.link = Link(
            config.broker,
            client_id,
            subscriptions_of(pipelines, resets),
            config.limits,
            self.metrics,
            status=None if role else self._status(pipelines),
            wake_fd=self._wake_read.fileno(),
            stopping=lambda: bool(self._stop_signal),
            optional=[f"{prefixes.command}#"],
            kept_filters=(
                kept_filters_path(self._state_folder, config.broker, client_id)
                if self._keeps_state
                else None
            ),
            interval_seconds=partial(interval_seconds, pipelines),
            retained=RetainedReader(retained.filters, retained.receive),
            will=None if self._beats is None else self._beats.will,
            keeps_properties=any(one.reads_properties for one in config.read_sources.values()),
        )
        self.metrics.waiting.set_function(lambda: self.link.waiting_to_send)
        self.metrics.ready.set_function(lambda: self._ready()["ready"])
        messages: MessageSource = self.link
        if role:
            messages = ShardedSource(self.link, role.shard, self._keys_of, self.metrics.left.inc)
        history = History(pipelines, config.limits.history_bytes)
        self.engine = Engine(
            pipelines,
            messages,
            self.link,
            self.metrics,
            reset_prefix=resets,
            watch=create_provider_watch(
                pipelines, self.metrics, config.node, events_topic(config.node)
            ),
            quarantine=Quarantine(state_folder / _quarantine_name(config.node, role)),
            monitor=Monitor(
                pipelines,
                self.metrics,
                live=Live(
                    config.node,
                    events_topic(config.node),
                    lambda: self.link.connected,
                    role.shard.number if role else 0,
                ),
                kept=kept,
                assets=known,
                history=history if config.http.enabled or role else None,
                retained=retained,
            ),
            first=restored,
            prefixes=prefixes,
        )
        self.commands = Commands(
            pipelines,
            self.engine.commands,
            self._wake,
            prefix=prefixes.command,
            events=self.engine.monitor.events,
            faults=faults,
        )
        assets = AssetPages(pipelines, history, self.commands.faults_of, self.engine.monitor.events)
        self.http_server: HttpServer | None = None
        if config.http.enabled or role:
            self.http_server = HttpServer(
                role.socket if role else config.http,
                render_metrics=self.metrics.render,
                alive=self._alive,
                ready=self._ready,
                state=self._state_json,
                asset=assets.asset,
                history=assets.history,
                command=self.commands.run,
            )
            if not role:
                url = self.http_server.url
                log.info(
                    "status page, metrics and health at %s", url,
                    extra=event("http_listening", url=url),
                )  # fmt: skip

    def _known_assets(
        self, pipelines: list[Pipeline], alarms: Path, shard: Shard | None
    ) -> KeptAssets | None:
        """Return what keeps the known assets over restarts, with those of before made known."""
        if not self._keeps_state:
            return None
        hours = self.config.limits.forget_assets_after_hours
        folder = assets_folder(self._state_folder, alarms)
        assets = KeptAssets(folder, pipelines, hours, shard)
        assets.restore()
        return assets

    def _replaced_answers(
        self, pipelines: list[Pipeline], alarms: Path, shard: Shard | None
    ) -> list[Publication]:
        """Return what replaces the answers to controllers that the run before has published."""
        if not self._keeps_state:
            return []
        return replace_answers(pipelines, answers_folder(self._state_folder, alarms), shard)

    def _make_beats(self) -> BeatSender | None:
        """Return what sends the heartbeat; of several workers only the last will is used."""
        heartbeat = self.config.heartbeat
        if heartbeat is None:
            return None
        return BeatSender(
            heartbeat,
            self.config.node,
            self._send_beat,
            note=self.metrics.last_heartbeat.set,
        )

    def _send_beat(self, beat: Publication) -> None:
        self.link.publish_newest(beat)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish what has arrived, disconnect and return."""
        log.info(
            "edgeai %s, node %s", __version__, self.config.node,
            extra=event("node_started", version=__version__),
        )  # fmt: skip
        memory.tune_for_serving()
        with self._signals():
            if self.role:
                start_reporting(self._report)
            beats = None if self.role else self._beats  # of workers their supervisor sends them
            while not self._stop_signal:
                if beats is None:
                    self.engine.turn(TURN_SECONDS)
                else:
                    self.engine.turn(beats.wait_seconds(TURN_SECONDS))
                    if beats.is_due:
                        beats.look(self._ready()["reasons"], is_connected=self.link.connected)
                if self._hangups:
                    self._hangups = 0
                    if not self.role:  # its supervisor tells it
                        log.warning(HANGUP_IGNORED, extra=event("hangup_ignored"))
                now = self.engine.last_turn_monotonic
                if now >= self._hints.next_look:
                    left = self.metrics.left.value
                    self._hints.look(now, connected=self.link.connected, left=left)
            log.info(
                "%s: draining", self._stop_signal,
                extra=event("node_stopping", signal=self._stop_signal),
            )  # fmt: skip
            self.engine.turn(0)
            self.engine.finish()
            self.link.publish(end_answers(self.engine.pipelines))
            if beats is not None:
                beats.end()
        close_sessions(self.engine.pipelines)
        if not self.link.close(CLOSE_SECONDS):
            unsent = self.link.waiting_to_send
            log.warning(
                "%d publications were not sent", unsent,
                extra=event("publications_unsent", count=unsent),
            )  # fmt: skip
        if self.http_server is not None:
            self.http_server.close()
        self._close_wake_sockets()
        received, predicted = self.engine.received, self.engine.predicted
        log.info(
            "stopped: %d messages, %d predictions", received, predicted,
            extra=event("node_stopped", messages=received, predictions=predicted),
        )  # fmt: skip

    def _close_wake_sockets(self) -> None:
        self._wake_read.close()
        self._wake_write.close()

    def _wake(self) -> None:
        """End the engine's wait for messages. Any thread may call it."""
        with suppress(OSError):  # it is full, so the wait ends anyway; or the node has stopped
            self._wake_write.send(b"\0")

    def _state_json(self) -> bytes:
        """Return `state` as JSON, made anew at most as often as the pages may cost."""
        now = time.monotonic()
        if now >= self._next_state:
            self._state = msgspec.json.encode(self.state())
            took = time.monotonic() - now
            self._next_state = now + max(MIN_STATE_SECONDS, took / STATE_SHARE)
        return self._state

    def state(self) -> dict[str, Any]:
        """Return what the status page shows."""
        followers = count_followers(self.engine.pipelines)
        return node_state(
            self.config,
            started=self._started,
            received=self.engine.received,
            predicted=self.engine.predicted,
            connected=self.link.connected,
            protocol=self.link.protocol,
            fault=self.link.fault,
            pipelines=[
                pipeline_state(
                    pipeline,
                    self.engine.monitor.fault_of(pipeline),
                    self._hints.hints.get(pipeline.name, ""),
                    followers,
                )
                for pipeline in self.engine.pipelines
            ],
            refused=self.metrics.unrouted_counts(),
            events=self.engine.monitor.events.newest_first(),
            commands=self.commands.names,
        )

    def _keys_of(self, topic: str) -> Iterable[str] | None:
        """Return the stream keys of a topic; None: its messages name the streams, or are of all.

        The topic of a reset or a command has the key of its alarm's stream.
        """
        resets = reset_prefix(self.config.node)
        if topic.startswith(resets):
            return [topic.removeprefix(resets).partition("/")[2]]
        commands = command_prefixes(self.config.node).command
        if topic.startswith(commands):
            return [
                topics.composed(topic.removeprefix(commands).partition("/")[2].partition("/")[2])
            ]
        pipelines = self.engine.pipelines
        if any(one.sources.is_for_all_workers(topic) for one in pipelines):
            return None
        found = [pipeline.find_key(topic) for pipeline in pipelines]
        return [one[0] for one in found if one is not None]

    def _report(self) -> Report:
        ready = self._ready()
        return {
            "alive": self._alive()["alive"],
            "ready": ready["ready"],
            "reasons": ready["reasons"],
            "pipelines": _models(self.engine.pipelines),
            "signed_by": self._signed_by,
        }

    def _status(self, pipelines: list[Pipeline]) -> Status:
        models = _models(pipelines)
        return node_status(self.config.node, self._started, models, signed_by=self._signed_by)

    def _alive(self) -> dict[str, Any]:
        last = max(self.engine.last_turn_monotonic, self.link.served_monotonic)
        age = time.monotonic() - last
        return {"alive": age < ALIVE_SECONDS, "seconds_since_last_turn": round(age, 3)}

    def _ready(self) -> dict[str, Any]:
        # The models are proven before the HTTP server starts.
        fault = self.link.fault
        faults = [*self.engine.faults, *self.engine.monitor.faults]
        reasons = [*([fault] if fault else []), *faults]
        return {"ready": not reasons, "reasons": reasons}

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Make SIGTERM and SIGINT end the loop, even while it waits for the socket.

        SIGHUP, which the end of a terminal sends, is told and otherwise ignored.
        """

        def on_signal(number: int, _frame: FrameType | None) -> None:
            self._stop_signal = signal.Signals(number).name

        def on_hangup(_number: int, _frame: FrameType | None) -> None:
            self._hangups += 1

        previous = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGTERM, on_signal),
                (signal.SIGINT, on_signal),
                (signal.SIGHUP, on_hangup),
            )
        }
        self._stop_signal = self._stop_signal or stop_signals.noted()
        wakeup = signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in previous.items():
                signal.signal(number, handler)
