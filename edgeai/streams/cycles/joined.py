"""Cycles of several sources: they are joined sample by sample, and the samples are cut into cycles.

A joined sample lies at the times of the leading source, or on the grid if none leads. So a flag of
the controller can start a cycle of a waveform.
"""

from collections import deque
from dataclasses import replace

import numpy as np

from edgeai.streams.cycles.ring import CycleRing
from edgeai.streams.cycles.windows import CycleWindows
from edgeai.streams.holes import HOLE_PERIODS
from edgeai.streams.joined import JoinedStream
from edgeai.streams.settings import NEVER_NS, Emit, JoinPlan, StreamSettings
from edgeai.streams.side import Mark
from edgeai.streams.tracks import Times


class JoinedCycleStream(JoinedStream):
    """The sources of one asset, joined into samples that are cut into cycles."""

    __slots__ = ("_last_context", "_noted", "_room")

    def __init__(
        self,
        settings: StreamSettings,
        drops: dict[str, int],
        resets: dict[str, int],
        counts: dict[str, int],
        emit: Emit,
        *,
        plan: JoinPlan,
    ) -> None:
        """Start empty, as `JoinedStream` does; `settings` has `cycle`."""
        assert settings.cycle is not None
        single = replace(settings, length=1, hop=1, cycle=None, joined=None)
        super().__init__(single, drops, resets, counts, emit, plan=plan)
        cycles = self.cycles = CycleWindows(settings.cycle)
        self.ring = CycleRing(replace(settings, joined=None), emit, cycles)
        self._noted: deque[tuple[int, dict[int, Mark]]] = deque()
        """The marks of the last samples that have some, by their times."""
        self._room = settings.length
        self._last_context = self.context.copy()

    def flush(self) -> None:
        """Release what waits, and end the open cycle."""
        super().flush()
        self.ring.flush()

    def recover(self, after_ns: int | None, *, everything: bool) -> None:
        """Empty the stream as `Stream.recover` says."""
        super().recover(after_ns, everything=everything)
        self._noted.clear()

    def _hand_over(
        self, times: Times, substituted: int, uncertain: bool, _next_number: int
    ) -> None:
        """Append a joined sample to the ring of cycles.

        If a cycle ends with it, its marks and its context are those of the samples before it.
        """
        ring, last_ns = self.ring, int(times[-1])
        settings, newest_ns = self._settings, self.ring.last_ns
        step_ns = 0 if newest_ns == NEVER_NS else last_ns - newest_ns
        if settings.max_gap_ns is not None and step_ns > settings.max_gap_ns:
            ring.clear()
        # Nothing stands for samples that are missing: the lines between the others go over them.
        if settings.period_ns and step_ns >= HOLE_PERIODS * settings.period_ns:
            uncertain = True
        marks, context = self.marks, self._context.values.copy()
        self.marks, self.context = self._marks_of_cycle(), self._last_context
        ring.push(np.array([last_ns], np.int64), self._window, [substituted], [uncertain])
        self._last_context = context
        if marks:
            self._noted.append((last_ns, marks))
            if len(self._noted) > self._room:
                self._noted.popleft()

    def _marks_of_cycle(self) -> dict[int, Mark]:
        """Return the marks of the samples since the open cycle started; forget those before it."""
        assert self.cycles is not None
        since_ns = self.cycles.open_since_ns
        while self._noted and (since_ns is None or self._noted[0][0] < since_ns):
            self._noted.popleft()
        found: dict[int, Mark] = {}
        for _, marks in self._noted:
            found |= marks
        return found
