"""A simulated day of the moulding machine through the shipped configuration with its states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from edgeai.assembly.plan import check
from edgeai.plant.day import PRODUCTION, Day, day_messages
from edgeai.testing import MemoryNode
from tests.support.paths import REPOSITORY

CONFIG = REPOSITORY / "configs" / "moulding-states.yaml"
START_NS = 1_795_800_000 * 10**9
TURN_MESSAGES = 2000
ALARM_ENDS_SECONDS = 60.0
"""After a fault, so long an alarm may still come from it: the machine must recover."""
AFTER_CHANGE_SECONDS = 600.0
"""An alarm within this time after a change of state is blamed on the change."""


@dataclass
class Outcome:
    """What edgeai said about a day."""

    day: Day
    states: dict[str, int] = field(default_factory=dict)
    """Number of windows by state."""
    alarms: list[tuple[float, str]] = field(default_factory=list)
    """Time in seconds since the start, and priority, of each alarm that became active."""
    changes: list[float] = field(default_factory=list)
    """Times at which the machine came into another state."""

    def missed(self) -> list[tuple[str, int]]:
        """Return the faults without an alarm of high priority, each with its product."""
        return [
            (fault.name, self._mode_at(fault.start_seconds))
            for fault in self.day.faults
            if not any(
                fault.start_seconds <= at <= fault.start_seconds + fault.duration_seconds
                for at, priority in self.alarms
                if priority == "high"
            )
        ]

    def false_alarms(self) -> list[tuple[float, str]]:
        """Return the alarms that no fault explains."""
        return [(at, priority) for at, priority in self.alarms if not self._is_of_fault(at)]

    def blamed_on_changes(self) -> list[tuple[float, str]]:
        """Return the false alarms that come soon after a change of state."""
        return [
            (at, priority)
            for at, priority in self.false_alarms()
            if any(0 <= at - change < AFTER_CHANGE_SECONDS for change in self.changes)
        ]

    def _is_of_fault(self, at: float) -> bool:
        return any(
            0 <= at - fault.start_seconds <= fault.duration_seconds + ALARM_ENDS_SECONDS
            for fault in self.day.faults
        )

    def _mode_at(self, at: float) -> int:
        return next(
            part.mode
            for part in self.day.parts
            if part.start_seconds <= at < part.start_seconds + part.seconds
        )


def run_day(day: Day, seed: int) -> Outcome:
    """Simulate a day and run it through the engine, as fast as it goes."""
    outcome = Outcome(day)
    with MemoryNode(check(CONFIG)) as node:
        for messages in _turns(day, seed):
            for publication in node.turn(*messages):
                _note(outcome, publication.topic, json.loads(publication.payload))
        for publication in node.finish():
            _note(outcome, publication.topic, json.loads(publication.payload))
    return outcome


def _turns(day: Day, seed: int) -> Iterator[list[Any]]:
    messages: list[Any] = []
    for time_ns, one in day_messages(day, seed, start_ns=START_NS):
        messages.append((one.topic, one.payload, time_ns, 0))
        if len(messages) == TURN_MESSAGES:
            yield messages
            messages = []
    yield messages


def _note(outcome: Outcome, topic: str, content: dict[str, Any]) -> None:
    at = (content["timestamp"] - START_NS) / 1e9
    if "/predictions/" in topic:
        state = content["state"]
        outcome.states[state] = outcome.states.get(state, 0) + 1
    elif "/states/" in topic:
        outcome.changes.append(at)
    elif "/alarms/" in topic and content["state"] == "active":
        outcome.alarms.append((at, content["priority"]))


def faults_in_each_product(day: Day) -> dict[int, set[str]]:
    """Return the faults that are injected into each product."""
    return {
        product: {
            fault.name
            for fault in day.faults
            for part in day.parts
            if part.mode == product
            and part.start_seconds <= fault.start_seconds < part.start_seconds + part.seconds
        }
        for product in PRODUCTION
    }
