"""Evaluate a calibrated monitor: false alarms on healthy runs, detection of faults."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeai.alarms.alarm import Alarm, AlarmRule
from edgeai.messages import SECOND_NS
from edgeai.training.calibrate import SECONDS_PER_DAY
from edgeai.training.data.windows import Floats


@dataclass(frozen=True)
class ScoredRun:
    """The scores of one run, one every hop.

    Attributes:
        scores: (n,), one per window.
        seconds: (n,), time of each window's last sample, s since the run's start.
        fault: Name of the fault, or None for a healthy run.
        severity: Severity of the fault, 0 to 1.
        fault_seconds: Start of the fault, s since the run's start.
    """

    scores: Floats
    seconds: Floats
    fault: str | None = None
    severity: float = 0.0
    fault_seconds: float = 0.0


def find_activations(run: ScoredRun, rule: AlarmRule) -> list[float]:
    """Return the times at which the runtime's alarm becomes active, s since the run's start."""
    alarm = Alarm(rule)
    times = []
    for score, at in zip(run.scores.tolist(), run.seconds.tolist(), strict=True):
        if alarm.update(score, round(at * SECOND_NS)) and alarm.state == "active":
            times.append(at)
    return times


def count_false_alarms(runs: Sequence[ScoredRun], rule: AlarmRule) -> dict[str, float]:
    """Count the alarms on healthy runs.

    Returns:
        `hours` of operation, `alarms`, and `alarms_per_day`.
    """
    alarms = sum(len(find_activations(run, rule)) for run in runs)
    seconds = sum(float(run.seconds[-1] - run.seconds[0]) for run in runs if len(run.seconds))
    per_day = alarms * SECONDS_PER_DAY / seconds if seconds else 0.0
    return {
        "hours": round(seconds / 3600, 2),
        "alarms": alarms,
        "alarms_per_day": round(per_day, 3),
    }


def evaluate_detection(runs: Sequence[ScoredRun], rule: AlarmRule) -> list[dict[str, object]]:
    """Evaluate the detection of each fault at each severity.

    A run counts as missed if its alarm is already active when the fault starts.

    Returns:
        Per fault and severity: `runs`, `detected` (share), and for the detected runs
        `delay_median_seconds` and `delay_worst_seconds`, from the fault's start to the alarm.
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
        if delays:
            row["delay_median_seconds"] = round(float(np.median(delays)), 2)
            row["delay_worst_seconds"] = round(max(delays), 2)
        table.append(row)
    return table


def _delay(run: ScoredRun, rule: AlarmRule) -> float | None:
    times = find_activations(run, rule)
    after = [at - run.fault_seconds for at in times if at >= run.fault_seconds]
    return min(after) if after else None
