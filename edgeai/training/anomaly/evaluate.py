"""Evaluate a calibrated monitor: false alarms on healthy runs, detection of faults."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.alarms.alarm import Alarm, AlarmRule
from edgeai.messages import SECOND_NS
from edgeai.training.data.windows import Floats
from edgeai.training.false_alarms import false_alarm_figures

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ScoredRun:
    """The scores of one run.

    Attributes:
        scores: (n,), one per window that may change the alarm.
        seconds: (n,), time of each window's last sample, s since the run's start.
        fault: Name of the fault, or None for a healthy run.
        severity: Severity of the fault, 0 to 1.
        fault_seconds: Start of the fault, s since the run's start.
        broken: (n,) whether the samples were interrupted before the window; None: nowhere.
        clean: (n,) whether all values of the window were measured; None: of all.
    """

    scores: Floats
    seconds: Floats
    fault: str | None = None
    severity: float = 0.0
    fault_seconds: float = 0.0
    broken: Flags | None = None
    clean: Flags | None = None

    def pieces(self) -> Iterator[slice]:
        """Yield the parts of the run between interruptions, in order."""
        n = len(self.scores)
        cuts = [] if self.broken is None else np.flatnonzero(self.broken).tolist()
        for start, end in zip([0, *cuts], [*cuts, n], strict=True):
            if start < end:
                yield slice(start, end)

    def clean_scores(self) -> list[Floats]:
        """Return the scores of consecutive clean windows, one array for each such part."""
        found = []
        for piece in self.pieces():
            scores = self.scores[piece]
            if self.clean is None:
                found.append(scores)
                continue
            clean = self.clean[piece]
            edges = np.flatnonzero(np.diff(clean)) + 1
            parts = np.split(np.arange(len(scores)), edges)
            found += [scores[part] for part in parts if len(part) and clean[part[0]]]
        return found


def alarm_states(run: ScoredRun, rule: AlarmRule) -> list[bool]:
    """Return whether the runtime's alarm is active after each window, (n,)."""
    alarm = Alarm(rule)
    broken = [False] * len(run.scores) if run.broken is None else run.broken.tolist()
    states = []
    for score, at, interrupted in zip(
        run.scores.tolist(), run.seconds.tolist(), broken, strict=True
    ):
        if interrupted:
            alarm.interrupt()
        alarm.update(score, round(at * SECOND_NS))
        states.append(alarm.state == "active")
    return states


def find_activations(run: ScoredRun, rule: AlarmRule) -> list[float]:
    """Return the times at which the runtime's alarm becomes active, s since the run's start."""
    states = alarm_states(run, rule)
    before = [False, *states[:-1]]
    return [
        at
        for at, now, earlier in zip(run.seconds.tolist(), states, before, strict=True)
        if now and not earlier
    ]


def count_false_alarms(
    runs: Sequence[ScoredRun], rule: AlarmRule, promised_per_day: float
) -> dict[str, Any]:
    """Count the alarms on healthy runs; the result is that of `false_alarm_figures`.

    Only the time between interruptions counts as observed.
    """
    alarms = 0
    seconds = active = 0.0
    for run in runs:
        states = np.array(alarm_states(run, rule), bool)
        alarms += int(np.sum(states & ~np.concatenate([[False], states[:-1]])))
        for piece in run.pieces():
            at = run.seconds[piece]
            seconds += float(at[-1] - at[0])
            active += float(np.sum(np.diff(at)[states[piece][:-1]]))
    return false_alarm_figures(
        alarms, seconds, seconds_in_alarm=active, promised_per_day=promised_per_day
    )


def evaluate_detection(runs: Sequence[ScoredRun], rule: AlarmRule) -> list[dict[str, object]]:
    """Evaluate the detection of each fault at each severity.

    A run counts as missed if its alarm is already active when the fault starts.

    Returns:
        Per fault and severity: `runs`, `detected` (share), and for the detected runs
        `delay_median_seconds` and `delay_worst_seconds`, from the fault's start to the alarm.
        `active_before`: number of runs whose alarm was active when the fault started, if any.
    """
    table: list[dict[str, object]] = []
    for fault, severity in sorted({(str(run.fault), run.severity) for run in runs}):
        chosen = [run for run in runs if (run.fault, run.severity) == (fault, severity)]
        delays = [delay for delay in (_delay(run, rule) for run in chosen) if delay is not None]
        row: dict[str, object] = {
            "fault": fault,
            "severity": severity,
            "runs": len(chosen),
            "detected": round(len(delays) / len(chosen), 3),
        }
        if active := sum(_active_before(run, rule) for run in chosen):
            row["active_before"] = active
        if delays:
            row["delay_median_seconds"] = round(float(np.median(delays)), 2)
            row["delay_worst_seconds"] = round(max(delays), 2)
        table.append(row)
    return table


def _active_before(run: ScoredRun, rule: AlarmRule) -> bool:
    before = np.flatnonzero(run.seconds < run.fault_seconds)
    return bool(before.size) and alarm_states(run, rule)[int(before[-1])]


def _delay(run: ScoredRun, rule: AlarmRule) -> float | None:
    times = find_activations(run, rule)
    after = [at - run.fault_seconds for at in times if at >= run.fault_seconds]
    return min(after) if after else None
