"""Streams of cycles for tests: conditions on columns by name, and what became of each cycle."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from edgeai.conditions.condition import compile_condition, needs_sample_before
from edgeai.streams.cycles.edges import ConditionEdge, ConditionEdges
from edgeai.streams.cycles.settings import Cycle, CycleSettings
from edgeai.streams.factory import open_stream
from edgeai.streams.settings import StreamSettings

SECOND = 1_000_000_000
FLAG = {"signal": "flag", "rises_above": 0.5}
FLAG_FALLS = {"signal": "flag", "falls_below": 0.5}


def cycle_settings(
    start: dict[str, Any] | None = FLAG,
    end: dict[str, Any] | None = FLAG_FALLS,
    *,
    length: int = 8,
    columns: tuple[str, ...] = ("x", "flag"),
    channels: int = 1,
    min_seconds: float = 0.0,
    max_seconds: float = 100.0,
    max_samples: int = 400,
    fit: Any = "resample",
    **more: Any,
) -> CycleSettings:
    """The settings of cycles that a flag marks, one second a sample."""
    places = {name: index for index, name in enumerate(columns)}

    def edge(spec: dict[str, Any]) -> ConditionEdge:
        return ConditionEdge(compile_condition(spec, places), is_step=needs_sample_before(spec))

    def new_edges() -> ConditionEdges:
        assert start is not None
        return ConditionEdges(edge(start), None if end is None else edge(end))

    return CycleSettings(
        length=length,
        channels=channels,
        new_edges=None if start is None else new_edges,
        has_end=end is not None,
        min_ns=round(min_seconds * SECOND),
        max_ns=round(max_seconds * SECOND),
        max_samples=max_samples,
        fit=fit,
        **more,
    )


class CycleStream:
    """One stream of cycles, its windows, and what became of its cycles."""

    def __init__(self, cycle: CycleSettings, **changes: Any) -> None:
        names: dict[str, Any] = {
            "length": cycle.reach, "hop": 1, "channels": 2, "period_ns": SECOND,
            "max_gap_ns": 5 * SECOND, "lateness_ns": 0, "invalid": "hold", "missing": "linear",
            "extras": 1,
        }  # fmt: skip
        settings = StreamSettings(**{**names, **changes}, cycle=cycle)
        self.drops: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.windows: list[tuple[Cycle, np.ndarray, int, int, bool]] = []
        self.ended: list[Cycle] = []
        self.stream = open_stream(settings, self.drops, self.resets, self.counts, self._emit)
        assert self.stream.cycles is not None
        self.cycles = self.stream.cycles
        self.cycles.on_cycle = self.ended.append

    def _emit(self, window: np.ndarray, time_ns: int, substituted: int, uncertain: bool) -> None:
        facts = self.cycles.facts.pop(time_ns)
        self.windows.append((facts, window.copy(), time_ns, substituted, uncertain))

    def push(self, seconds: float, *values: float) -> None:
        """Push one sample."""
        time_ns = round(seconds * SECOND)
        if self.stream.push_one(time_ns, values):
            self.stream.ring.arrived_ns = time_ns
            return
        rows = np.array([values], np.float32)
        invalid = np.isnan(rows)
        invalid[:, 1:] = False
        self.stream.push_rows([time_ns], rows, invalid if invalid.any() else None, None)

    @property
    def outcomes(self) -> list[tuple[str, float, float]]:
        """Outcome, start and end in seconds of each cycle that has ended."""
        return [(one.outcome, one.start_ns / SECOND, one.end_ns / SECOND) for one in self.ended]
