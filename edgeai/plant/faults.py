"""Faults of machines: descriptions, active faults, and schedules."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that a machine can have.

    Attributes:
        name: Name in commands and labels.
        description: What breaks, and its effect.
        severity: Meaning of severity 1 in physical units; smaller severities scale it.
        onset_seconds: Time from injection to the full severity; the level grows linearly.
    """

    name: str
    description: str
    severity: str
    onset_seconds: float


class ActiveFaults:
    """The active faults of one machine; the level of each grows to its severity.

    Args:
        machine: Name of the machine, for error messages.
        known: Faults of the machine, by name.
    """

    def __init__(self, machine: str, known: Mapping[str, Fault]) -> None:
        self._machine = machine
        self._known = known
        self._severity: dict[str, float] = {}
        self._level: dict[str, float] = {}

    @property
    def severities(self) -> dict[str, float]:
        """A copy of the severities of the active faults, by name."""
        return dict(self._severity)

    def level(self, name: str) -> float:
        """Return the present level of a fault, from 0 (absent) to its severity."""
        return self._level.get(name, 0.0)

    def inject(self, name: str, severity: float) -> None:
        """Start a fault, or change its severity.

        Raises:
            ValueError: If the fault is unknown or the severity is not in (0, 1].
        """
        self._check(name)
        if not (math.isfinite(severity) and 0.0 < severity <= 1.0):
            msg = f"{self._machine}: severity of {name} must be in (0, 1], got {severity!r}"
            raise ValueError(msg)
        self._severity[name] = float(severity)
        self._level.setdefault(name, 0.0)

    def clear(self, name: str | None) -> None:
        """End a fault at once, or all (None). Ending an inactive fault has no effect.

        Raises:
            ValueError: If the fault is unknown.
        """
        if name is None:
            self._severity.clear()
            self._level.clear()
            return
        self._check(name)
        self._severity.pop(name, None)
        self._level.pop(name, None)

    def advance(self, dt_seconds: float) -> None:
        """Increase the level of every active fault by dt_seconds of its onset."""
        for name, severity in self._severity.items():
            grown = self._level[name] + severity * dt_seconds / self._known[name].onset_seconds
            self._level[name] = min(severity, grown)

    def _check(self, name: str) -> None:
        if name not in self._known:
            choices = ", ".join(sorted(self._known))
            msg = f"{self._machine}: unknown fault {name!r}; choose from {choices}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class ScheduledFault:
    """A fault with its start and duration, in simulated time since the machine's start."""

    start_seconds: float
    duration_seconds: float
    name: str
    severity: float = 1.0


def spontaneous_faults(
    names: Sequence[str],
    seed: int,
    *,
    mean_gap_seconds: float = 120.0,
    duration_seconds: tuple[float, float] = (20.0, 60.0),
) -> Iterator[ScheduledFault]:
    """Generate an endless schedule of random faults that do not overlap.

    The healthy times between faults have an exponential distribution (Poisson process); names,
    durations and severities (0.5 to 1) have uniform distributions.

    Args:
        names: Faults to choose from; must not be empty.
        seed: Random seed; determines the whole schedule.
        mean_gap_seconds: Mean healthy time between two faults.
        duration_seconds: Shortest and longest fault.

    Yields:
        Scheduled faults in order of their start.
    """
    rng = np.random.default_rng(seed)
    now_seconds = 0.0
    while True:
        now_seconds += rng.exponential(mean_gap_seconds)
        duration = rng.uniform(*duration_seconds)
        name = names[int(rng.integers(len(names)))]
        severity = round(rng.uniform(0.5, 1.0), 2)
        yield ScheduledFault(now_seconds, duration, name, severity)
        now_seconds += duration


class _Faulty(Protocol):
    def inject(self, fault: str, severity: float = 1.0) -> None: ...
    def clear(self, fault: str | None) -> None: ...


class Schedule:
    """Starts and ends scheduled faults of a machine.

    Args:
        events: Faults in order of their start; may be endless. Faults with different names may
            overlap.
    """

    def __init__(self, events: Iterable[ScheduledFault]) -> None:
        self._events = iter(events)
        self._next = next(self._events, None)
        self._running: list[ScheduledFault] = []

    def apply(self, machine: _Faulty, seconds: float) -> list[str]:
        """Start and end the faults that are due at `seconds` of simulated time.

        Returns:
            One sentence per change.

        Raises:
            ValueError: If an event names an unknown fault or a bad severity.
        """
        changes: list[str] = []
        for event in [e for e in self._running if e.start_seconds + e.duration_seconds <= seconds]:
            self._running.remove(event)
            machine.clear(event.name)
            changes.append(f"scheduled fault {event.name} ended")
        while self._next is not None and self._next.start_seconds <= seconds:
            event, self._next = self._next, next(self._events, None)
            if event.start_seconds + event.duration_seconds > seconds:
                machine.inject(event.name, event.severity)
                self._running.append(event)
                changes.append(f"scheduled fault {event.name} started")
        return changes
