"""Record a simulated machine, and write recordings as CSV or as the published messages."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeai.messages import SECOND_NS
from edgeai.plant.controllers import MILLISECOND_NS
from edgeai.plant.faults import Schedule, ScheduledFault
from edgeai.plant.line import make_controller, make_machine, period_ns
from edgeai.plant.signals import Signal

HEALTHY = 0  # label of a row without a fault


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The readings of a machine over time.

    Attributes:
        machine: Name of the machine.
        times_ns: (n,) int64, multiples of the sample period, ns since the epoch.
        values: (n, C) float32, readings in engineering units.
        signals: The C signals.
        labels: (n,) int16, HEALTHY or 1 + the index in `fault_names`; if several faults are active,
            the first in `fault_names`.
        fault_names: The machine's faults, sorted.
    """

    machine: str
    times_ns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    signals: tuple[Signal, ...]
    labels: npt.NDArray[np.int16]
    fault_names: tuple[str, ...]


def simulate(
    machine: str,
    seconds: float,
    seed: int = 0,
    *,
    faults: Sequence[ScheduledFault] = (),
    start_ns: int = 0,
) -> Recording:
    """Run a machine and record it.

    Args:
        machine: Name in `line.MACHINES`.
        seconds: Simulated time; floor(seconds * rate) samples.
        seed: Random seed; determines every value.
        faults: Faults to inject, in any order.
        start_ns: Time of the first sample, rounded up to a multiple of the period.

    Raises:
        ValueError: If the machine, a fault or a severity is unknown or out of range, or seconds is
            not a positive number.
    """
    if not (math.isfinite(seconds) and seconds > 0.0):
        msg = f"seconds must be a positive number, got {seconds!r}"
        raise ValueError(msg)
    plant = make_machine(machine, seed)
    for event in faults:  # check all names and severities before the long simulation
        plant.inject(event.name, event.severity)
    plant.clear(None)
    schedule = Schedule(sorted(faults, key=lambda event: event.start_seconds))
    period = period_ns(plant)
    # The small term prevents a rounding error from removing a sample.
    count = math.floor(seconds * plant.rate_hz + 1e-6)
    names = tuple(sorted(plant.faults))
    values = np.empty((count, len(plant.signals)), np.float32)
    labels = np.zeros(count, np.int16)
    label = HEALTHY
    for row in range(count):
        if schedule.apply(plant, row * period / SECOND_NS):
            active = plant.active_faults
            label = 1 + min(map(names.index, active)) if active else HEALTHY
        values[row] = plant.step()
        labels[row] = label
    times_ns = (-(-start_ns // period) + np.arange(count, dtype=np.int64)) * period
    return Recording(machine, times_ns, values, plant.signals, labels, names)


def write_csv(recording: Recording, path: Path, *, with_labels: bool = False) -> None:
    """Write a recording as CSV: `timestamp` in ms since the epoch, then one column per signal.

    Args:
        recording: Recording to write.
        path: File to write; replaced if it exists.
        with_labels: Whether to add the column `fault` with the fault's name, empty when healthy.
    """
    formats = [f".{signal.decimals}f" for signal in recording.signals]
    names = ("", *recording.fault_names)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = ["timestamp", *(signal.name for signal in recording.signals)]
        writer.writerow(header + ["fault"] * with_labels)
        stamps, labels = recording.times_ns.tolist(), recording.labels.tolist()
        for time_ns, values, label in zip(stamps, recording.values.tolist(), labels, strict=True):
            row = [str(time_ns // MILLISECOND_NS)]
            row += [format(value, spec) for value, spec in zip(values, formats, strict=True)]
            writer.writerow(row + [names[label]] * with_labels)


def write_jsonl(recording: Recording, path: Path, asset: str) -> int:
    """Write the messages that the machine's controller would publish, one per line.

    A line is {"topic": ..., "payload": ...} with the payload as the JSON object published.

    Args:
        recording: Recording to write.
        path: File to write; replaced if it exists.
        asset: Name of the asset in the topics.

    Returns:
        Number of messages.
    """
    controller = make_controller(recording.machine, asset, make_machine(recording.machine, 0))
    messages = 0
    with path.open("w", encoding="utf-8") as file:
        for time_ns, values in zip(recording.times_ns.tolist(), recording.values, strict=True):
            for publication in controller.publish(time_ns, values.astype(np.float64)):
                topic = json.dumps(publication.topic)
                file.write(f'{{"topic":{topic},"payload":{publication.payload.decode()}}}\n')
                messages += 1
    return messages
