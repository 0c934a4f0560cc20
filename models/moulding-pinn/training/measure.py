"""Compare the package's outputs on simulated runs with the hidden state; needs no torch."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeai.alarms.alarm import Alarm, AlarmRule
from edgeai.training.pinn import Floats, Samples

from . import signals
from .runs import FINE, SETTLE_SECONDS, Runs

Outputs = Mapping[str, npt.NDArray[Any]]
Infer = Callable[[Samples], Outputs]
KIND_SECONDS = 15.0  # the diagnosis of an alarm is the most frequent one in this time after it
EXPECTED = {
    "coolant_blocked": ("coolant_blocked",),
    "melt_too_hot": ("melt_too_hot",),
    "contact_lost": ("contact_lost",),
    "thermocouple_drift": ("near_thermocouple_drift", "deep_thermocouple_drift"),
}
"""Correct diagnoses of each fault; for a drift, that of the thermocouple that drifts."""


@dataclass(frozen=True, eq=False)
class WindowOutputs:
    """Windows of runs and the package's outputs for them.

    Attributes:
        run: (M,) run of each window.
        end: (M,) last sample of each window.
        outputs: Outputs by name, (M, ...).
    """

    run: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    outputs: dict[str, npt.NDArray[Any]]


def window_outputs(
    runs: Runs, infer: Infer, window: int, hop: int, names: Sequence[str], *,
    first_seconds: float = SETTLE_SECONDS, chosen: npt.NDArray[np.int64] | None = None,
) -> WindowOutputs:  # fmt: skip
    """Compute the outputs for the windows of all runs, or for one window per run.

    Args:
        runs: Simulated runs.
        infer: Function from windows (N, W, 9) to outputs.
        window: Samples in a window.
        hop: Samples from one window to the next.
        names: Outputs to keep.
        first_seconds: Time of the first window's last sample.
        chosen: (R,) last sample of the one window of each run; None: all windows.
    """
    count, length = runs.values.shape[:2]
    if chosen is None:
        first = max(window, round(first_seconds * signals.RATE_HZ)) - 1
        ends = np.arange(first, length, hop)
        run = np.repeat(np.arange(count), len(ends))
        end = np.tile(ends, count)
    else:
        run, end = np.arange(count), chosen
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names}
    for start in range(0, len(run), 1024):
        batch = np.stack(
            [
                runs.values[r, e - window + 1 : e + 1]
                for r, e in zip(run[start : start + 1024], end[start : start + 1024], strict=True)
            ]
        )
        found = infer(batch)
        for name in names:
            parts[name].append(np.asarray(found[name]))
    return WindowOutputs(run, end, {name: np.concatenate(values) for name, values in parts.items()})


def cycle_at(runs: Runs, run: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return the cycle at each window's last sample.

    Returns:
        `cycle` (M,); `start` (M,), fine sample at the start of filling; `whole` (M,) bool, whether
        the run contains the ejection; `eject_seconds` (M,).
    """
    dt = 1.0 / (signals.RATE_HZ * FINE)
    lengths = np.rint(runs.cycles.cycle_seconds / dt).astype(np.int64)
    starts = np.concatenate([np.zeros((len(lengths), 1), np.int64), lengths.cumsum(1)], axis=1)
    cycle = runs.truth.cycle[run, end * FINE]
    start = starts[run, cycle]
    eject = runs.cycles.eject_seconds[run, cycle]
    whole = start + np.ceil(eject / dt) < runs.truth.cycle.shape[1]
    return {"cycle": cycle, "start": start, "eject_seconds": eject, "whole": whole}


def true_field(
    runs: Runs, run: npt.NDArray[np.int64], start: npt.NDArray[np.int64], times: Floats
) -> Floats:
    """Return temperatures (M, T, P) at `times` (M, T) since the start of filling of each cycle."""
    at = times * signals.RATE_HZ * FINE
    low = np.minimum(np.floor(at).astype(np.int64), runs.truth.cycle.shape[1] - start[:, None] - 2)
    share = (at - low)[..., None]
    index = start[:, None] + low
    field = runs.truth.field_degc
    before, after = field[run[:, None], index], field[run[:, None], index + 1]
    return np.asarray(before * (1.0 - share) + after * share, np.float64)


def mean_contact(runs: Runs, run: npt.NDArray[np.int64], cycle: npt.NDArray[np.int64]) -> Floats:
    """Return the mean contact coefficient from the end of filling to ejection, (M,) W/(m2 K)."""
    plan = runs.cycles
    fill, lost, eject = (
        getattr(plan, name)[run, cycle]
        for name in ("fill_seconds", "lost_seconds", "eject_seconds")
    )
    held, gone = plan.contact_pack_w_m2_k[run, cycle], plan.contact_lost_w_m2_k[run, cycle]
    return np.asarray((held * (lost - fill) + gone * (eject - lost)) / (eject - fill))


def accuracy(runs: Runs, computed: WindowOutputs) -> dict[str, Floats]:
    """Return the errors of each window whose cycle is complete in the run.

    Returns:
        `field`, `part`, `steel`: relative L2 error of the hidden field, in degC, and of its parts;
        `error_square`, `true_square`: sums of squares for a pooled error; `coolant`, `contact`:
        relative errors; `ejection`: error of the ejection temperature in K; `core`, `wall`: root
        mean square error of the field's mid-plane and wall in K; `*_inside`: whether the interval
        contains the true value.
    """
    shot = cycle_at(runs, computed.run, computed.end)
    keep = shot["whole"]
    run, cycle = computed.run[keep], shot["cycle"][keep]
    out = {name: values[keep].astype(np.float64) for name, values in computed.outputs.items()}
    true = true_field(runs, run, shot["start"][keep], out["field_time"])
    wrong = out["field"] - true
    parts = len(signals.PART_DEPTHS)
    ejected = true_field(
        runs, run, shot["start"][keep], shot["eject_seconds"][keep][:, None] - 1e-6
    )[:, 0, 0]
    coolant = runs.cycles.coolant_w_m2_k[run, cycle]
    contact = mean_contact(runs, run, cycle)

    def relative(columns: slice) -> Floats:
        top = np.square(wrong[..., columns]).sum((1, 2))
        return np.asarray(np.sqrt(top / np.square(true[..., columns]).sum((1, 2))))

    def inside(name: str, truth: Floats) -> Floats:
        interval = out[f"{name}_interval"]
        return np.asarray((interval[:, 0] <= truth) & (truth <= interval[:, 1]), np.float64)

    return {
        "run": run.astype(np.float64),
        "field": relative(slice(None)),
        "part": relative(slice(0, parts)),
        "steel": relative(slice(parts, None)),
        "error_square": np.square(wrong).sum((1, 2)),
        "true_square": np.square(true).sum((1, 2)),
        "coolant": out["coolant_coefficient"] / coolant - 1.0,
        "contact": out["contact_coefficient"] / contact - 1.0,
        "ejection": out["ejection_temperature"] - ejected,
        "core": np.sqrt(np.square(wrong[..., 0]).mean(1)),
        "wall": np.sqrt(np.square(wrong[..., parts]).mean(1)),
        "ejection_inside": inside("ejection_temperature", ejected),
        "coolant_inside": inside("coolant_coefficient", coolant),
        "contact_inside": inside("contact_coefficient", contact),
    }


ACCURACY_OUTPUTS = (
    "field", "field_time", "coolant_coefficient", "contact_coefficient", "ejection_temperature",
    "ejection_temperature_interval", "coolant_coefficient_interval",
    "contact_coefficient_interval",
)  # fmt: skip


@dataclass(frozen=True)
class RunResult:
    """Alarms and diagnosis of one run.

    Attributes:
        fault: Name of the fault, "" if healthy.
        alarms: Times at which the alarm became active, s.
        fault_seconds: Start of the fault, s.
        kind: Most frequent diagnosis after the first alarm, "" without an alarm.
        right: Whether the diagnosis is correct.
    """

    fault: str
    alarms: tuple[float, ...]
    fault_seconds: float
    kind: str
    right: bool

    @property
    def detected(self) -> bool:
        """Whether the first alarm came after the start of the fault."""
        return bool(self.alarms) and self.alarms[0] >= self.fault_seconds

    @property
    def delay_seconds(self) -> float:
        """Time from the start of the fault to the alarm, s; infinite without detection."""
        return self.alarms[0] - self.fault_seconds if self.detected else np.inf


def run_results(
    runs: Runs, computed: WindowOutputs, rule: AlarmRule, kinds: Sequence[str]
) -> list[RunResult]:
    """Apply the runtime's alarm and diagnosis to every run."""
    found = []
    for number, fault in enumerate(runs.faults):
        mine = computed.run == number
        seconds = (computed.end[mine] + 1) / signals.RATE_HZ
        scores = computed.outputs["score"][mine]
        evidence = computed.outputs["evidence"][mine]
        alarm, alarms = Alarm(rule), []
        for at, score in zip(seconds.tolist(), scores.tolist(), strict=True):
            if alarm.update(score, round(at * 1e9)) and alarm.state == "active":
                alarms.append(at)
        kind = ""
        if alarms:
            near = (seconds >= alarms[0]) & (seconds <= alarms[0] + KIND_SECONDS)
            diagnoses = [
                kinds[column] for column in evidence[near & (scores > rule.threshold)].argmax(1)
            ]
            kind = Counter(diagnoses).most_common(1)[0][0]
        right = kind in EXPECTED.get(fault, ())
        if fault == "thermocouple_drift":
            right = kind == EXPECTED[fault][runs.sensor[number]]
        found.append(
            RunResult(fault, tuple(alarms), float(runs.fault_seconds[number]), kind, right)
        )
    return found


def interval_ratios(runs: Runs, computed: WindowOutputs) -> dict[str, Floats]:
    """Return errors of ejection, coolant and contact over half the interval's width, (M,) each.

    The coefficients are compared in logarithms, in which their intervals are symmetric.
    """
    shot = cycle_at(runs, computed.run, computed.end)
    keep = shot["whole"]
    run, cycle = computed.run[keep], shot["cycle"][keep]
    out = {name: values[keep].astype(np.float64) for name, values in computed.outputs.items()}
    ejected = true_field(
        runs, run, shot["start"][keep], shot["eject_seconds"][keep][:, None] - 1e-6
    )[:, 0, 0]

    def ratio(name: str, truth: Floats, scale: Callable[[Floats], Floats]) -> Floats:
        low, high = scale(out[f"{name}_interval"]).T
        return np.asarray(np.abs(scale(out[name]) - scale(truth)) / ((high - low) / 2.0))

    return {
        "ejection": ratio("ejection_temperature", ejected, np.asarray),
        "coolant": ratio("coolant_coefficient", runs.cycles.coolant_w_m2_k[run, cycle], np.log),
        "contact": ratio("contact_coefficient", mean_contact(runs, run, cycle), np.log),
    }
