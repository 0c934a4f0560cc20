"""An engine between a source and a sink in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edgeai.assembly.pipelines import build_pipelines
from edgeai.assembly.plan import Plan
from edgeai.engine.alarm_commands import Prefixes
from edgeai.engine.engine import Engine
from edgeai.engine.kept_assets import KeptAssets
from edgeai.engine.monitor import Monitor
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.quarantine import Quarantine
from edgeai.engine.restored_alarms import restore_alarms
from edgeai.messages import AT_ONCE, Due, Message, Publication
from edgeai.metrics.definitions import Metrics

NS = 10**9
RESET = "edgeai/test/reset/"
PREFIXES = Prefixes("edgeai/test/command/", "edgeai/test/response/")
SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


class Turns:
    """A source that has what each turn is to receive, and notes what was acknowledged."""

    def __init__(self, log: list[str]) -> None:
        self.waiting: list[list[Message]] = []
        self.log = log
        self.due: list[Due] = []
        """What the engine said, turn by turn."""

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        self.due.append(due)
        return self.waiting.pop(0) if self.waiting else []

    def commit(self) -> None:
        self.log.append("commit")


class Published:
    """A sink that keeps what was published."""

    def __init__(self, log: list[str]) -> None:
        self.all: list[Publication] = []
        self.log = log

    def publish(self, publications: list[Publication]) -> None:
        assert publications
        self.all += publications
        self.log.append("publish")


class Node:
    """An engine with all that is around it."""

    def __init__(
        self,
        plan: Plan,
        now_ns: int = 0,
        *,
        now: Callable[[], int] | None = None,
        quarantine: Quarantine | None = None,
        assets_of: Callable[[list[Pipeline]], KeptAssets] | None = None,
        **monitoring: Any,
    ) -> None:
        """Build the pipelines.

        Args:
            plan: What to serve.
            now_ns: The time of all turns.
            now: Returns the time of a turn, in place of that.
            quarantine: The engine's.
            assets_of: Makes what keeps the known assets.
            monitoring: The monitor's.
        """
        self.metrics = Metrics()
        self.log: list[str] = []
        self.source, self.sink = Turns(self.log), Published(self.log)
        pipelines = build_pipelines(plan, self.metrics)
        kept = monitoring.get("kept")
        first = restore_alarms(pipelines, kept) if kept is not None else []
        assets = assets_of(pipelines) if assets_of is not None else None
        if assets is not None:
            assets.restore()
        if now_ns or now:  # a node has one clock
            monitoring.setdefault("clock_ns", now or (lambda: now_ns))
        self.monitor = Monitor(pipelines, self.metrics, assets=assets, **monitoring)
        self.engine = Engine(
            pipelines, self.source, self.sink, self.metrics,
            reset_prefix=RESET, clock_ns=now or (lambda: now_ns), monitor=self.monitor, first=first,
            quarantine=quarantine, prefixes=PREFIXES,
        )  # fmt: skip

    def turns(self, *turns: list[Message]) -> Node:
        self.source.waiting += turns
        for messages in turns:
            assert self.engine.turn(0) == len(messages)
        return self

    def finish(self) -> Node:
        self.engine.finish()
        return self

    def under(self, kind: str, pipeline: str = "p", asset: str = "m") -> list[Any]:
        topic = f"edgeai/test/{kind}/{pipeline}/{asset}"
        return [json.loads(one.payload) for one in self.sink.all if one.topic == topic]

    def predictions(self, pipeline: str = "p", asset: str = "m") -> list[Any]:
        return self.under("predictions", pipeline, asset)

    def transitions(self, pipeline: str = "p", asset: str = "m") -> list[tuple[Any, ...]]:
        found = self.under("alarms", pipeline, asset)
        return [(one["timestamp"] // NS, one["previous"], one["state"]) for one in found]

    def value(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(f"edgeai_{name}", labels)
        assert found is not None, (name, labels)
        return found

    def counts(self, name: str, label: str, pipeline: str | None = "p") -> dict[str, float]:
        """The series of a counter that are not zero, by one of their labels."""
        return {
            sample.labels[label]: sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == f"edgeai_{name}_total" and sample.value
            and sample.labels.get("pipeline") in {pipeline, None}
        }  # fmt: skip


def totals(node: Node) -> dict[Any, float]:
    """Every counter that counts messages, samples and predictions."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for metric in node.metrics.registry.collect()
        for sample in metric.samples
        if sample.name.startswith("edgeai_") and sample.name.endswith("_total")
    }
