"""What a node says of itself over HTTP and to its supervisor: alive, ready, models, the page."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from edgeai.config.node import Config
from edgeai.engine.engine import Engine
from edgeai.engine.pipeline import Pipeline
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Link
from edgeai.node.commands import Commands
from edgeai.node.heartbeat import Report
from edgeai.node.page_state import count_followers, node_state, pipeline_state
from edgeai.node.subscriptions import DeliveryHints

ALIVE_SECONDS = 10.0  # a node is dead when its last turn is older
MIN_STATE_SECONDS = 0.2  # age of an answer to `/api/state` that is given again
STATE_SHARE = (
    0.02  # of the time that these answers may take; with very many machines they are older
)


def models_of(pipelines: Sequence[Pipeline]) -> dict[str, str]:
    """Return the model and its version of each pipeline, by the pipeline's name."""
    return {one.name: f"{one.manifest.name} {one.manifest.version}" for one in pipelines}


class SelfReport:
    """Answers what others ask a node about itself. Threads of the HTTP server call it."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        link: Link,
        metrics: Metrics,
        *,
        hints: DeliveryHints,
        commands: Commands,
        started: float,
        signed_by: dict[str, str],
    ) -> None:
        """Keep what is asked.

        Args:
            config: The node's.
            engine: The node's.
            link: Its connection to the broker.
            metrics: The node's.
            hints: Why pipelines get no messages.
            commands: Those that the page may give.
            started: When the node started, seconds since 1970.
            signed_by: Id of the key that signed the package of a pipeline, by its name.
        """
        self._config, self._engine, self._link, self._metrics = config, engine, link, metrics
        self._hints, self._commands = hints, commands
        self._started, self._signed_by = started, signed_by
        self._state = b""
        """The last answer to `/api/state`."""
        self._next_state = 0.0
        """When to make the next one, in seconds of the monotonic clock."""

    def state_json(self) -> bytes:
        """Return `state` as JSON, made anew at most as often as the pages may cost."""
        now = time.monotonic()
        if now >= self._next_state:
            self._state = msgspec.json.encode(self.state())
            took = time.monotonic() - now
            self._next_state = now + max(MIN_STATE_SECONDS, took / STATE_SHARE)
        return self._state

    def state(self) -> dict[str, Any]:
        """Return what the status page shows."""
        followers = count_followers(self._engine.pipelines)
        return node_state(
            self._config,
            started=self._started,
            received=self._engine.received,
            predicted=self._engine.predicted,
            connected=self._link.connected,
            protocol=self._link.protocol,
            fault=self._link.fault,
            pipelines=[
                pipeline_state(
                    pipeline,
                    self._engine.monitor.fault_of(pipeline),
                    self._hints.hints.get(pipeline.name, ""),
                    followers,
                )
                for pipeline in self._engine.pipelines
            ],
            refused=self._metrics.unrouted_counts(),
            events=self._engine.monitor.events.newest_first(),
            commands=self._commands.names,
        )

    def worker_report(self) -> Report:
        """Return what a worker says to its supervisor."""
        ready = self.ready()
        return {
            "alive": self.alive()["alive"],
            "ready": ready["ready"],
            "reasons": ready["reasons"],
            "pipelines": models_of(self._engine.pipelines),
            "signed_by": self._signed_by,
        }

    def alive(self) -> dict[str, Any]:
        """Return whether the engine takes turns, and how old the last one is."""
        last = max(self._engine.last_turn_monotonic, self._link.served_monotonic)
        age = time.monotonic() - last
        return {"alive": age < ALIVE_SECONDS, "seconds_since_last_turn": round(age, 3)}

    def ready(self) -> dict[str, Any]:
        """Return whether all pipelines serve, and why not."""
        # The models are proven before the HTTP server starts.
        fault = self._link.fault
        faults = [*self._engine.faults, *self._engine.monitor.faults]
        reasons = [*([fault] if fault else []), *faults]
        return {"ready": not reasons, "reasons": reasons}
