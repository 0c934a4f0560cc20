"""Connect a checked configuration to source, engine and sink, and run until a signal."""

import logging
import time
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from edgeai.assembly import memory
from edgeai.assembly.pipelines import (
    build_pipelines,
    close_sessions,
    command_prefixes,
    create_provider_watch,
    events_topic,
    operated_asset,
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
from edgeai.engine.published_again import PublishedAgain
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
from edgeai.node.heartbeat import start_reporting
from edgeai.node.http_server import HttpServer
from edgeai.node.self_report import SelfReport, models_of
from edgeai.node.status import HANGUP_IGNORED, node_status
from edgeai.node.subscriptions import DeliveryHints, interval_seconds, subscriptions_of
from edgeai.node.wake_up import WakeUp
from edgeai.paths import state_folder_warning
from edgeai.version import __version__

log = logging.getLogger("edgeai")

TURN_SECONDS = 0.5  # longest wait for messages in one turn
CLOSE_SECONDS = 3.0  # to send what is still waiting for the broker


class WorkerRole(NamedTuple):
    """Makes a process one of several workers of a node."""

    shard: Shard
    socket: Path
    """Unix socket on which it answers its supervisor."""


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
        self.wake_up = WakeUp()
        if role is None or role.shard.number == 1:
            for note in plan.notes:
                log.info("%s", note, extra=event("config_note"))
            for warning in plan.warnings:
                log.warning("%s", warning, extra=event("config_warning"))
        with ExitStack() as undo:
            undo.callback(self.wake_up.close)
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
            wake_fd=self.wake_up.fileno(),
            stopping=lambda: bool(self.wake_up.stop_signal),
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
                again=PublishedAgain(pipelines, kept, lambda: self.link.connections, shard),
            ),
            first=restored,
            prefixes=prefixes,
        )
        self.commands = Commands(
            pipelines,
            self.engine.commands,
            self.wake_up.wake,
            prefix=prefixes.command,
            events=self.engine.monitor.events,
            faults=faults,
        )
        self.report = report = SelfReport(
            config, self.engine, self.link, self.metrics, hints=self._hints,
            commands=self.commands, started=self._started, signed_by=self._signed_by,
        )  # fmt: skip
        self.metrics.ready.set_function(lambda: report.ready()["ready"])
        assets = AssetPages(pipelines, history, self.commands.faults_of, self.engine.monitor.events)
        self.http_server: HttpServer | None = None
        if config.http.enabled or role:
            self.http_server = HttpServer(
                role.socket if role else config.http,
                render_metrics=self.metrics.render,
                alive=report.alive,
                ready=report.ready,
                state=report.state_json,
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
        wake_up = self.wake_up
        with wake_up.on_signals():
            if self.role:
                start_reporting(self.report.worker_report)
            beats = None if self.role else self._beats  # of workers their supervisor sends them
            while not wake_up.stop_signal:
                if beats is None:
                    self.engine.turn(TURN_SECONDS)
                else:
                    self.engine.turn(beats.wait_seconds(TURN_SECONDS))
                    if beats.is_due:
                        beats.look(self.report.ready()["reasons"], is_connected=self.link.connected)
                if wake_up.hangups:
                    wake_up.hangups = 0
                    if not self.role:  # its supervisor tells it
                        log.warning(HANGUP_IGNORED, extra=event("hangup_ignored"))
                now = self.engine.last_turn_monotonic
                if now >= self._hints.next_look:
                    left = self.metrics.left.value
                    self._hints.look(now, connected=self.link.connected, left=left)
            log.info(
                "%s: draining", wake_up.stop_signal,
                extra=event("node_stopping", signal=wake_up.stop_signal),
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
        self.wake_up.close()
        received, predicted = self.engine.received, self.engine.predicted
        log.info(
            "stopped: %d messages, %d predictions", received, predicted,
            extra=event("node_stopped", messages=received, predictions=predicted),
        )  # fmt: skip

    def _keys_of(self, topic: str) -> Iterable[str] | None:
        """Return the stream keys of a topic; None: its messages name the streams, or are of all.

        The topic of a reset or a command has the key of its alarm's stream.
        """
        asset = operated_asset(topic, self.config.node)
        if asset is not None:
            return [asset]
        pipelines = self.engine.pipelines
        if any(one.sources.is_for_all_workers(topic) for one in pipelines):
            return None
        found = [pipeline.find_key(topic) for pipeline in pipelines]
        return [one[0] for one in found if one is not None]

    def _status(self, pipelines: list[Pipeline]) -> Status:
        models = models_of(pipelines)
        return node_status(self.config.node, self._started, models, signed_by=self._signed_by)
