"""The verdict on a trained model: what it detects, its false alarms, what was not used, and why.

A model is of no use if one of these holds:

- faults were given, and it detects none of them;
- no healthy data was left to count false alarms;
- the lower end of the confidence interval of its false alarms is above `MAX_TIMES_PROMISED` times
  the number that the recipe accepts;
- its alarm is active for more than `MAX_SHARE_IN_ALARM` of the healthy time: one alarm that never
  ends is one alarm, but tells nobody anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeai.model.threshold_spec import HeldValuesSpec
from edgeai.training.data.dataset import Dataset
from edgeai.training.data.runs import Run
from edgeai.training.false_alarms import duration, poisson_interval

MAX_TIMES_PROMISED = 10.0
MAX_SHARE_IN_ALARM = 0.25
HOURS_PER_DAY = 24.0
MAX_NAMED_FAULTS = 10  # of those that were missed
USES = {
    "fit": "to fit the model",
    "calibrate": "to set the threshold",
    "test": "to count false alarms",
    "fault": "to measure detection",
}


@dataclass(frozen=True)
class Verdict:
    """What a user must know about a trained model.

    Attributes:
        lines: The figures in plain words.
        faults: Why the model is of no use; empty if it is of use.
    """

    lines: tuple[str, ...]
    faults: tuple[str, ...]

    def with_line(self, line: str) -> "Verdict":
        """Return the verdict with one line more."""
        return replace(self, lines=(*self.lines, line))

    @property
    def is_of_use(self) -> bool:
        """Whether nothing speaks against serving the model."""
        return not self.faults


def verdict_of(data: Dataset, figures: dict[str, Any], on_delay_seconds: float) -> Verdict:
    """Return the verdict on a model.

    Args:
        data: The training data.
        figures: `training.figures` of the manifest.
        on_delay_seconds: On delay of the alarm, s.
    """
    lines = [*data.notes, *data.findings.lines()]
    lines += unused_lines(data, on_delay_seconds)
    lines += [detection_line(figures["detection"])]
    measured = figures["false_alarms"]
    lines.append(f"false alarms: {measured['statement']}; {_promise(measured)}")
    share = measured.get("share_in_alarm", 0.0)
    if share:
        lines.append(f"the alarm was active for {share:.1%} of the healthy time")
    return Verdict(tuple(lines), tuple(_faults(figures)))


def _promise(measured: dict[str, Any]) -> str:
    """Compare the measured false alarms with the number that the recipe accepts."""
    promised = measured["promised_per_day"]
    accepted = f"the recipe accepts {promised:g} a day"
    if "high_per_day" not in measured:
        return accepted
    if measured["low_per_day"] > promised:
        return f"{accepted}, so these are more"
    if measured["alarms"] == 0 and measured["high_per_day"] > promised:
        needed = duration(poisson_interval(0)[1] / promised * HOURS_PER_DAY)
        return f"{accepted}, and to show that takes {needed} of healthy test data without an alarm"
    return accepted


def _faults(figures: dict[str, Any]) -> list[str]:
    measured = figures["false_alarms"]
    given, detected = count_detected(figures["detection"])
    faults = []
    if given and not detected:
        faults.append(f"it detects none of the {given} given faults")
    if "high_per_day" not in measured:
        faults.append(f"its false alarms were {measured['statement']}")
        return faults
    promised, least = measured["promised_per_day"], measured["low_per_day"]
    if least > MAX_TIMES_PROMISED * promised:
        faults.append(
            f"it gives at least {least:g} false alarms a day, more than {MAX_TIMES_PROMISED:g} "
            f"times the {promised:g} that the recipe accepts"
        )
    share = measured.get("share_in_alarm", 0.0)
    if share > MAX_SHARE_IN_ALARM:
        faults.append(
            f"its alarm is active for {share:.0%} of the healthy time, more than "
            f"{MAX_SHARE_IN_ALARM:.0%}"
        )
    return faults


def count_detected(table: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Return how many faulty runs were given and how many of them were detected."""
    given = sum(row["runs"] for row in table)
    return given, sum(round(row["runs"] * row["detected"]) for row in table)


def detection_line(table: Sequence[dict[str, Any]]) -> str:
    """Say how many of the given faults were detected, and name those that were not."""
    given, detected = count_detected(table)
    if not given:
        return "detection: not measured, because the recipe gives no faulty run"
    line = f"detection: {detected} of {given} given faults detected"
    missed = [_missed(row) for row in table if row["detected"] < 1.0]
    if len(missed) > MAX_NAMED_FAULTS:
        missed[MAX_NAMED_FAULTS:] = [f"{len(missed) - MAX_NAMED_FAULTS} more"]
    if missed:
        line += f"; missed: {', '.join(missed)}"
    if active := sum(row.get("active_before", 0) for row in table):
        line += f"; in {active} of the runs the alarm was active before the fault started"
    return line


def _missed(row: dict[str, Any]) -> str:
    """Name a fault, and how many of its runs were missed if it has several."""
    runs = row["runs"]
    missed = runs - round(runs * row["detected"])
    return str(row["fault"]) if runs == 1 else f"{row['fault']} ({missed} of {runs} runs)"


def held_line(held: HeldValuesSpec, values: int) -> str:
    """Say how many held values a window bears.

    Args:
        held: As measured.
        values: Number of values in a window, W * C.
    """
    bad = "" if held.bad is None else f", and is `bad` from {held.bad} on"
    return f"a window is `good` with up to {held.good} held values of {values}{bad}"


def unused_lines(data: Dataset, on_delay_seconds: float) -> list[str]:
    """Say which windows were not used, and why."""
    lines = []
    for use, runs in (
        ("fit", data.fit),
        ("calibrate", data.calibrate),
        ("test", data.test),
        ("fault", data.faults),
    ):
        total = sum(len(run.windows) for run in runs)
        strict = use in {"fit", "calibrate"}
        used = sum(int((run.windows.clean if strict else run.windows.judged).sum()) for run in runs)
        if used < total:
            why = (
                "with values that are held or outside their range, or with another rate"
                if strict
                else "whose quality is bad"
            )
            lines.append(
                f"{used} of {total} windows used {USES[use]}; not used: {total - used} {why}"
            )
        lines += _empty_runs(use, runs)
    if on_delay_seconds > 0:
        for run in data.calibrate:
            longest = _longest_seconds(run)
            if len(run.windows) and longest < on_delay_seconds:
                lines.append(
                    f"{run.name}: not used to set the threshold, because no part without an "
                    f"interruption is as long as the alarm's on delay, {on_delay_seconds:g} s"
                )
    return lines


def _empty_runs(use: str, runs: Sequence[Run]) -> list[str]:
    return [
        f"{run.name}: not used {USES[use]}, because no part of it without an interruption is as "
        f"long as a window, {run.windows.length / run.windows.rate_hz:g} s"
        for run in runs
        if not len(run.windows)
    ]


def _longest_seconds(run: Run) -> float:
    """Return the longest time from one clean window to a later one without an interruption, s."""
    windows = run.windows
    cuts = windows.broken | ~windows.clean
    parts = np.split(np.arange(len(windows)), np.flatnonzero(cuts))
    return max(
        (
            float(windows.seconds[part[-1]] - windows.seconds[part[0]])
            for part in parts
            if len(part)
        ),
        default=0.0,
    )
