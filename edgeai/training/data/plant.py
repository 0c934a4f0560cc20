"""Simulate runs of a machine of `edgeai.plant`."""

import json
import zlib
from collections.abc import Iterator

import numpy as np

from edgeai.errors import ConfigError, Problem
from edgeai.model.manifest import SignalSpec, WindowSpec
from edgeai.plant.faults import ScheduledFault
from edgeai.plant.line import make_controller, make_machine
from edgeai.plant.simulate import Recording, simulate
from edgeai.progress import Progress
from edgeai.training.data.runs import Run
from edgeai.training.data.windows import Samples, grid_windows
from edgeai.training.recipe import PlantData

START_SPREAD_SECONDS = 10.0  # fault starts are spread over this time
WARM_UP_SECONDS = 2.0  # the controller repeats unchanged tags every second, so all tags are known


def signals_of(data: PlantData, file: str) -> tuple[tuple[SignalSpec, ...], float]:
    """Return the chosen signals and the model's sample rate, Hz.

    Raises:
        ConfigError: A signal or fault is unknown, or the rate does not divide the machine's.
    """
    machine = make_machine(data.machine, 0)
    known = {signal.name: signal for signal in machine.signals}
    problems = [
        Problem(file, "data.signals", f"unknown signal; known: {', '.join(known)}", name, True)
        for name in data.signals or ()
        if name not in known
    ]
    problems += [
        Problem(
            file,
            "data.faults.names",
            f"unknown fault; known: {', '.join(machine.faults)}",
            name,
            True,
        )
        for name in data.faults.names or ()
        if name not in machine.faults
    ]
    rate = data.sample_rate_hz or machine.rate_hz
    if abs(machine.rate_hz / rate - round(machine.rate_hz / rate)) > 1e-9:
        rule = f"must divide the machine's rate, {machine.rate_hz:g} Hz"
        problems.append(Problem(file, "data.sample_rate_hz", rule, rate, True))
    if problems:
        raise ConfigError(problems)
    chosen = [known[name] for name in data.signals or known]
    specs = tuple(
        SignalSpec(
            name=item.name,
            unit=item.unit,
            range=[float(item.low), float(item.high)],
            meaning=item.description,
        )
        for item in chosen
    )
    return specs, rate


def describe(data: PlantData, rate_hz: float) -> str:
    """Describe the data in one sentence, for manifest and model card."""
    hours = {
        use: getattr(data, use).runs * getattr(data, use).seconds / 3600
        for use in ("fit", "calibrate", "test")
    }
    parts = ", ".join(f"{value:.3g} h to {use}" for use, value in hours.items())
    path = (
        ", as its controller publishes it, tag by tag on change, each value held"
        * data.as_published
    )
    return (
        f"SIMULATED: machine `{data.machine}` of edgeai.plant at {rate_hz:g} Hz{path}; {parts}, "
        "in runs with a seed each; no real machine was measured"
    )


def simulated_runs(
    data: PlantData, window: WindowSpec, seed: int, file: str, progress: Progress
) -> list[Run]:
    """Simulate every run of a recipe; each has its own seed, derived from the recipe's.

    Raises:
        ConfigError: See `signals_of`.
    """
    specs, rate = signals_of(data, file)
    names = [signal.name for signal in make_machine(data.machine, 0).signals]
    columns = [names.index(spec.name) for spec in specs]
    plans = list(_plans(data))
    runs = []
    for done, (name, use, seconds, fault) in enumerate(plans, 1):
        own_seed = zlib.crc32(f"{seed}/{data.machine}/{name}".encode())
        warm_up = WARM_UP_SECONDS if data.as_published else 0.0
        events = []
        if fault is not None:
            start = warm_up + fault.start_seconds
            events = [ScheduledFault(start, fault.duration_seconds, fault.name, fault.severity)]
        recording = simulate(data.machine, warm_up + seconds, own_seed, faults=events)
        values = as_published(recording) if data.as_published else recording.values
        machine_rate = 1e9 / float(recording.times_ns[1] - recording.times_ns[0])
        step = round(machine_rate / rate)
        # The recording starts at the epoch, so every `step`-th sample is on the model's grid.
        values = values[round(warm_up * machine_rate) :: step, columns]
        runs.append(
            Run(
                name=name,
                use=use,
                windows=grid_windows(np.ascontiguousarray(values), window.length, window.hop, rate),
                fault=fault.name if fault else None,
                severity=fault.severity if fault else 0.0,
                fault_seconds=fault.start_seconds if fault else 0.0,
            )
        )
        progress("simulate", done, len(plans), name)
    return runs


def _plans(data: PlantData) -> Iterator[tuple[str, str, float, ScheduledFault | None]]:
    """Yield name, use, length in s, and fault of every run."""
    for use, plan in (("fit", data.fit), ("calibrate", data.calibrate), ("test", data.test)):
        for index in range(plan.runs):
            yield f"{use}-{index}", use, plan.seconds, None
    faults = data.faults
    for fault in faults.names or sorted(make_machine(data.machine, 0).faults):
        for severity in faults.severities:
            for index in range(faults.runs):
                # Spread the starts over the machine's cycle. The fault lasts until after the end
                # of the recording, so that it does not fade out within it.
                start = faults.start_seconds + START_SPREAD_SECONDS * index / faults.runs
                event = ScheduledFault(start, faults.seconds + 1.0, fault, severity)
                seconds = start + faults.seconds
                yield f"{fault}-{severity:g}-{index}", "fault", seconds, event


def as_published(recording: Recording) -> Samples:
    """Return the values that a subscriber holds when the machine's controller publishes.

    Returns:
        (n, C) float32: at each sample the last published value of each signal.
    """
    machine = make_machine(recording.machine, 0)
    controller = make_controller(recording.machine, "asset", machine)
    columns = {signal.name: index for index, signal in enumerate(machine.signals)}
    held = np.full(len(columns), np.nan)
    rows = np.empty_like(recording.values)
    for row, (time_ns, readings) in enumerate(
        zip(recording.times_ns.tolist(), recording.values.astype(np.float64), strict=True)
    ):
        for publication in controller.publish(time_ns, readings):
            payload = json.loads(publication.payload)
            if "values" in payload:
                for name, value in payload["values"].items():
                    held[columns[name]] = value
            else:
                held[columns[publication.topic.rsplit("/", 1)[1]]] = payload["v"]
        rows[row] = held
    return rows
