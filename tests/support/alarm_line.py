"""A line whose alarms are handled: a node in memory with clocks that a test turns, and restarts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeai.assembly.plan import Plan, check
from edgeai.engine.asset_events import Live
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.stream_state import StreamState
from tests.support.engine import NS, PREFIXES, Node
from tests.support.packages import write_config, write_package

START = 1_790_000_000  # seconds since 1970
SOURCE = {"topic": "{asset}/row", "time": {"path": "t", "unit": "s"}}
LIMIT = 5.0
"""Threshold of the model, whose score is the sum of `a` and `b`; a window is one sample."""


def line_plan(folder: Path, **pipelines: Any) -> Plan:
    """Return the plan of a line; each pipeline reads `<its name>/{asset}/row`."""
    write_package(folder / "mean", length=1, threshold=LIMIT)
    usual = {
        name: {"model": "mean", "source": {**SOURCE, "topic": f"{name}/{{asset}}/row"}, **one}
        for name, one in pipelines.items()
    }
    return check(write_config(folder / "line.yaml", 1883, usual))


class AlarmLine:
    """A node that is started again and again on one state folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.seconds = 0.0
        """Passed since the start of the test; also the time of samples."""
        self.clock_shift = 0.0
        """How far the clock of the machine is wrong."""
        self.is_connected = True
        self.retained: dict[str, Any] = {}
        """What the broker retains on alarm topics, by topic."""
        self.answers: list[Any] = []
        self.events: list[Any] = []
        self.start()

    def start(self) -> AlarmLine:
        """Start the node; what the one before kept goes on."""
        live = Live("test", "edgeai/test/events", lambda: self.is_connected)
        self.kept = KeptAlarms(
            self.folder / "alarms", clock=self.monotonic, clock_ns=self.wall_ns, is_told=True
        )
        self.node = Node(
            self.plan, now=self.wall_ns, kept=self.kept, live=live,
            clock=self.monotonic, clock_ns=self.wall_ns,
        )  # fmt: skip
        self._read = 0
        return self.turn()

    def monotonic(self) -> float:
        return 1000.0 + self.seconds

    def wall_ns(self) -> int:
        return round((START + self.seconds + self.clock_shift) * NS)

    def turn(self, *messages: tuple[str, bytes]) -> AlarmLine:
        """One turn, and one more that publishes what the monitor and the desk have found."""
        self.node.monitor.next_poll = 0.0
        self.node.monitor._next_scan = 0.0
        now = self.wall_ns()
        self.node.turns([(topic, payload, now, 0) for topic, payload in messages], [])
        self.seconds += 0.001
        for one in self.node.sink.all[self._read :]:
            content = json.loads(one.payload) if one.payload else None
            if "/alarms/" in one.topic:
                assert one.retain
                self.retained[one.topic] = content
            elif "/response/" in one.topic:
                assert not one.retain
                self.answers.append(content)
            elif one.topic.endswith("/events"):
                self.events.append(content)
        self._read = len(self.node.sink.all)
        return self

    def send(self, a: float, asset: str = "m", pipeline: str = "p") -> AlarmLine:
        # Rows far above the model's rate that are equal would be one row from two gateways.
        row = {"t": START + round(self.seconds, 3), "a": a, "b": round(self.seconds * 1e-6, 12)}
        return self.turn((f"{pipeline}/{asset}/row", json.dumps(row).encode()))

    def wait(self, seconds: float) -> AlarmLine:
        self.seconds += seconds
        return self.turn()

    def command(self, name: str, asset: str = "m", pipeline: str = "p", **content: Any) -> Any:
        """Give a command by MQTT; return its answer."""
        before = len(self.answers)
        topic = f"{PREFIXES.command}{name}/{pipeline}/{asset}"
        self.turn((topic, json.dumps(content).encode()))
        (answer,) = self.answers[before:]
        return answer

    def restart(self, away_seconds: float = 0.0) -> AlarmLine:
        """Kill the node, and start it after a while."""
        self.seconds += away_seconds
        return self.start()

    def state(self, asset: str = "m", pipeline: str = "p") -> StreamState:
        by_name = {one.name: one for one in self.node.engine.pipelines}
        return by_name[pipeline].streams[asset]

    def told(self, asset: str = "m", pipeline: str = "p") -> Any:
        """What the retained message of an alarm says."""
        return self.retained[f"edgeai/test/alarms/{pipeline}/{asset}"]

    def announced(self, priority: str = "high", position: str = "line") -> float:
        """How many alarms this run has announced."""
        return self.node.value("alarm_announcements_total", position=position, priority=priority)
