"""The package's figures: accuracy, intervals, faults, false alarms, latency; needs no torch.

`package_figures` makes the figures that `edgeai evaluate pinn` prints. It simulates runs that were
not used for fit or calibration, and compares the outputs of the stored package with the hidden
state.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgeai.alarms.alarm import AlarmRule, alarm_rule
from edgeai.config.alarms import AlarmConfig
from edgeai.model.package import load_package
from edgeai.progress import Progress
from edgeai.providers.scorer import Scorer
from edgeai.training.pinn import SECONDS_PER_DAY, Figure

from . import measure, signals
from .manifest import KINDS
from .runs import FAULTS, Runs, simulate_runs

PROBLEM = "moulding-pinn"
CYCLES, FAULT_CYCLES = 14, 18  # per run
HEALTHY_AT_ONCE = 100  # runs simulated together
HEALTHY_CYCLES = 44  # per healthy run; in a short run, most of the time is settling
EVALUATE_SEED, EVALUATE_RUNS, EVALUATE_FAULTS, EVALUATE_HEALTHY = 424242, 200, 50, 60
ALARM_OUTPUTS = ("score", "evidence")
CALLS = 300  # of which the latency is the median


@dataclass(frozen=True)
class Served:
    """A package as the runtime serves it.

    Attributes:
        infer: Function from windows (N, W, 9) to outputs.
        window: Samples in a window.
        hop: Samples from one window to the next.
        rule: Rule of the alarm.
    """

    infer: measure.Infer
    window: int
    hop: int
    rule: AlarmRule


def accuracy_figures(runs: int, seed: int, served: Served) -> dict[str, Any]:
    """Return accuracy and interval coverage over all windows of healthy runs."""
    made = simulate_runs(runs, CYCLES, seed)
    computed = measure.window_outputs(
        made, served.infer, served.window, served.hop, measure.ACCURACY_OUTPUTS
    )
    found = measure.accuracy(made, computed)
    pooled = np.sqrt(found["error_square"].sum() / found["true_square"].sum())

    def digits(value: float) -> float:
        return float(f"{value:.4g}")

    return {
        "runs": runs,
        "windows": len(found["field"]),
        "noise": signals.NOISE,
        "field_relative_l2": digits(float(pooled)),
        "field_relative_l2_median": digits(float(np.median(found["field"]))),
        "field_relative_l2_p95": digits(float(np.quantile(found["field"], 0.95))),
        "part_relative_l2_median": digits(float(np.median(found["part"]))),
        "steel_relative_l2_median": digits(float(np.median(found["steel"]))),
        "core_rms_k": digits(float(np.sqrt(np.square(found["core"]).mean()))),
        "wall_rms_k": digits(float(np.sqrt(np.square(found["wall"]).mean()))),
        "ejection_rms_k": digits(float(np.sqrt(np.square(found["ejection"]).mean()))),
        "coolant_error_median": digits(float(np.median(np.abs(found["coolant"])))),
        "coolant_error_p95": digits(float(np.quantile(np.abs(found["coolant"]), 0.95))),
        "contact_error_median": digits(float(np.median(np.abs(found["contact"])))),
        "coverage_ejection": digits(float(found["ejection_inside"].mean())),
        "coverage_coolant": digits(float(found["coolant_inside"].mean())),
        "coverage_contact": digits(float(found["contact_inside"].mean())),
    }


def healthy_runs(
    runs: int, seed: int, served: Served
) -> Iterator[tuple[Runs, measure.WindowOutputs]]:
    """Yield long healthy runs, some at a time, with their score and evidence."""
    for start in range(0, runs, HEALTHY_AT_ONCE):
        count = min(HEALTHY_AT_ONCE, runs - start)
        made = simulate_runs(count, HEALTHY_CYCLES, seed * 1000 + start, with_field=False)
        yield (
            made,
            measure.window_outputs(made, served.infer, served.window, served.hop, ALARM_OUTPUTS),
        )


def false_alarms(runs: int, seed: int, served: Served) -> dict[str, float]:
    """Return the false alarms of the runtime's alarm on healthy runs."""
    alarms, windows = 0, 0
    highest = 0.0
    for made, computed in healthy_runs(runs, seed, served):
        found = measure.run_results(made, computed, served.rule, [kind for kind, _, _ in KINDS])
        alarms += sum(len(one.alarms) for one in found)
        windows += len(computed.run)
        highest = max(highest, float(computed.outputs["score"].max()))
    seconds = windows * served.hop / signals.RATE_HZ
    return {
        "hours": round(seconds / 3600.0, 2),
        "alarms": alarms,
        "alarms_per_day": round(alarms * SECONDS_PER_DAY / seconds, 3),
        "largest_score": float(f"{highest:.4g}"),
    }


def fault_figures(runs: int, seed: int, served: Served) -> list[dict[str, Any]]:
    """Return detection and diagnosis of each fault over `runs` runs of it."""
    made = simulate_runs(runs * len(FAULTS), FAULT_CYCLES, seed, faults=FAULTS, with_field=False)
    computed = measure.window_outputs(made, served.infer, served.window, served.hop, ALARM_OUTPUTS)
    found = measure.run_results(made, computed, served.rule, [kind for kind, _, _ in KINDS])
    rows = []
    for fault in FAULTS:
        mine = [one for one in found if one.fault == fault]
        delays = [one.delay_seconds for one in mine if one.detected]
        row: dict[str, Any] = {
            "fault": fault,
            "runs": len(mine),
            "detected": round(sum(one.detected for one in mine) / len(mine), 4),
            "kind_right": round(sum(one.detected and one.right for one in mine) / len(mine), 4),
            "told_as": dict(Counter(one.kind or "none" for one in mine)),
        }
        if delays:
            row["delay_median_seconds"] = round(float(np.median(delays)), 1)
            row["delay_worst_seconds"] = round(max(delays), 1)
        rows.append(row)
    return rows


def latency_seconds(graph: bytes, window: int, outputs: list[str]) -> float:
    """Return the median time of one window on one core, s."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    channels = len(signals.SIGNALS)
    feed = {"window": np.full((1, window, channels), 30.0, np.float32)}
    for _ in range(20):
        session.run(outputs, feed)
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        session.run(outputs, feed)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def without_residual(graph: bytes) -> bytes:
    """Return the graph with the field as its only output, to compare the cost."""
    model = onnx.load_from_string(graph)
    wanted = [output for output in model.graph.output if output.name in {"field", "field_time"}]
    del model.graph.output[:]
    model.graph.output.extend(wanted)
    return bytes(model.SerializeToString())


def package_figures(folder: Path, progress: Progress) -> list[Figure]:
    """Measure all figures of the stored package on simulated runs that were not used before.

    Args:
        folder: Folder of the package.
        progress: Called after every step.

    Raises:
        ConfigError: The package's manifest breaks a rule.
        ModelError: A file is missing, or its hash is not the one in the manifest.
    """
    package = load_package(folder)
    stored = package.manifest
    graph = package.graph.read_bytes()
    window = stored.window.length
    rule = alarm_rule(stored.threshold.value, stored.alarm, AlarmConfig())
    served = Served(Scorer(graph).outputs, window, stored.window.hop, rule)
    measured = accuracy_figures(EVALUATE_RUNS, EVALUATE_SEED, served)
    progress(PROBLEM, 1, 3, "accuracy")
    faults = fault_figures(EVALUATE_FAULTS, EVALUATE_SEED + 1, served)
    progress(PROBLEM, 2, 3, "faults")
    healthy = false_alarms(EVALUATE_HEALTHY, EVALUATE_SEED + 2, served)
    progress(PROBLEM, 3, 3, "healthy runs")
    whole = latency_seconds(graph, window, [output.name for output in stored.outputs])
    plain = latency_seconds(without_residual(graph), window, ["field", "field_time"])
    runs = f"{measured['runs']} runs, {measured['windows']} windows, 1 % noise"
    figures = [
        Figure(
            PROBLEM, "hidden field, relative L2", "1", measured["field_relative_l2"], None, None,
            0.01, 0.003, f"in degC, {runs}",
        ),
        Figure(
            PROBLEM, "coolant coefficient, median error", "1", measured["coolant_error_median"],
            None, None, 0.03, None, runs,
        ),
        Figure(
            PROBLEM, "contact coefficient, median error", "1", measured["contact_error_median"],
            note="hardly identifiable: healthy values differ by 10 % only",
        ),
    ]  # fmt: skip
    figures += [
        Figure(PROBLEM, f"coverage of the {name} interval", "1", measured[f"coverage_{name}"], 0.9,
               0.87, 0.93, None, runs)
        for name in ("ejection", "coolant", "contact")
    ]  # fmt: skip
    for row in faults:
        note = f"{row['runs']} runs, diagnosed as {row['told_as']}"
        figures += [
            Figure(PROBLEM, f"{row['fault']}: detected", "1", row["detected"], None, 0.99, None,
                   None, note),
            Figure(PROBLEM, f"{row['fault']}: kind right", "1", row["kind_right"], None, 0.9),
        ]  # fmt: skip
    curve = stored.training["figures"]["learning_curve"]
    fewest = curve[0]
    figures += [
        Figure(PROBLEM, "false alarms a day", "1", healthy["alarms_per_day"], None, None, 1.0, None,
               f"{healthy['hours']} h of healthy runs"),
        Figure(PROBLEM, "error without physics over error with", "1", fewest["ratio"], None, 5.0,
               None, None, f"{fewest['labels']} labelled runs, as trained; see the card"),
        Figure(PROBLEM, "latency of a window", "s", whole, None, None, 1e-3, None,
               "one core, batch 1, all outputs"),
        Figure(PROBLEM, "cost over the plain forward", "1", whole / plain,
               note="all outputs and residual over the field alone"),
    ]  # fmt: skip
    return figures
