"""Sizing: CPU and memory of edgeai under typical loads, for docs/sizing.md.

The loads with models of the benchmark are checked output by output, as in A to C. Those with the
shipped models get the values of the simulated line, and their predictions are counted.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import yaml
from paho.mqtt.enums import CallbackAPIVersion
from rich.table import Table

from benchmarks.broker import run_broker
from benchmarks.child import Child
from benchmarks.frame_load import Frames
from benchmarks.processes import busy_seconds, cpu_seconds, resident_bytes
from benchmarks.result import Result, Scale
from benchmarks.rig import open_rig
from benchmarks.systems import (
    EDGEAI,
    Options,
    Setting,
    System,
    ask,
    edgeai_command,
    run_system,
    setting_for,
)
from benchmarks.workload import Workload
from edgeai.paths import shipped
from edgeai.plant.line import Line

STEP_NS = 100_000_000
PAST_SECONDS = 18.0  # fills the longest window, 16 s
AHEAD_STEPS = 10
SETTLE_SECONDS = 1.0
TOLERANCE = 0.1  # of the number of predictions, by where the interval begins and ends


@dataclass(frozen=True)
class Usage:
    """What a load costs."""

    title: str
    messages_per_second: float
    predictions_per_second: float
    core_percent: float
    megabytes: float
    others_cores: float
    """Cores used by other programs; above 0.1 the figures are less reliable."""


@dataclass(frozen=True)
class LineLoad:
    """Simulated machines of one kind at 10 Hz, and the shipped models that watch them."""

    title: str
    machine: str
    machines: int
    models: tuple[str, ...]


def _synthetic() -> list[tuple[str, Workload, float]]:
    """Return title, load and samples per second of each load with a model of the benchmark."""
    return [
        ("10 tags at 1 Hz: one machine", Workload(1, hop=4, layout="tag", rate_hz=1.0), 1.0),
        ("100 tags at 10 Hz: 10 machines", Workload(10, hop=4, layout="tag", rate_hz=10.0), 10.0),
        ("50 machines, rows of 10 values at 10 Hz", Workload(50, hop=4, rate_hz=10.0), 10.0),
        ("1 machine, 100 channels at 2 kHz, frames of 0.1 s", Frames(machines=1), 10.0),
        ("10 machines, 100 channels at 2 kHz, frames of 0.1 s", Frames(machines=10), 10.0),
    ]


LINES = (
    LineLoad("50 moulding machines at 10 Hz: PCA", "moulding", 50, ("moulding-pca",)),
    LineLoad(
        "50 moulding machines at 10 Hz: PCA and PINN", "moulding", 50,
        ("moulding-pca", "moulding-pinn"),
    ),
    LineLoad("50 agitators at 10 Hz: autoencoder", "agitator", 50, ("agitator-autoencoder",)),
)  # fmt: skip


def measure_sizing(scale: Scale) -> Result:
    """Measure every load, one after the other."""
    rows = [_of_rig(*one, scale.seconds) for one in _synthetic()]
    rows += [_of_line(load, scale.seconds) for load in LINES]
    table = Table("", "messages/s", "predictions/s", "% of a core", "MB", "cores of others")
    for row in rows:
        table.add_row(
            row.title,
            f"{row.messages_per_second:,.0f}",
            f"{row.predictions_per_second:,.1f}",
            f"{row.core_percent:.1f}",
            f"{row.megabytes:.0f}",
            f"{row.others_cores:.2f}",
        )
    return Result({"rows": [vars(row) for row in rows]}, [table])


def _of_rig(title: str, load: Workload, samples_per_second: float, seconds: float) -> Usage:
    rate = samples_per_second * load.messages_per_sample
    with open_rig(EDGEAI, load) as rig:
        rig.warm_up()
        run = rig.run(rate, rate * seconds)
        megabytes = rig.resident_bytes() / 1e6
    return Usage(
        title,
        rate,
        samples_per_second * load.machines / load.hop,
        run.cpu_us_per_message * rate / 1e4,
        megabytes,
        run.others_cores,
    )


class LinePublisher:
    """Controllers of a simulated line, in a process of their own."""

    def __init__(self, port: int, machine: str, machines: int) -> None:
        """Connect, and publish a past that fills every window."""
        self._line = Line({f"{machine}-{number:03}": machine for number in range(machines)})
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        now_ns = time.time_ns() - round(PAST_SECONDS * 1e9)
        steps = 0
        while now_ns < time.time_ns():
            now_ns += STEP_NS
            steps += 1
            self._publish(now_ns)
            if steps % AHEAD_STEPS == 0:
                time.sleep(0.05)

    def run(self, seconds: float) -> int:
        """Publish for this time; return the number of messages."""
        count = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            count += self._publish(time.time_ns())
            time.sleep(STEP_NS / 1e9)
        return count

    def _publish(self, now_ns: int) -> int:
        publications = [one for one in self._line.step(now_ns) if one.topic.endswith("/sensors")]
        for one in publications:
            self._client.publish(one.topic, one.payload)
        return len(publications)


def _of_line(load: LineLoad, seconds: float) -> Usage:
    with _serving(load) as (pid, http_port, publisher):
        publisher.call("run", SETTLE_SECONDS)
        before = (cpu_seconds(pid), busy_seconds(), _predictions(http_port), time.monotonic())
        ours = cpu_seconds(os.getpid())  # with all its children: edgeai, broker and line
        messages: int = publisher.call("run", seconds)
        elapsed = time.monotonic() - before[3]
        cpu = cpu_seconds(pid) - before[0]
        busy = max(0.0, busy_seconds() - before[1] - (cpu_seconds(os.getpid()) - ours))
        predictions = (_predictions(http_port) - before[2]) / elapsed
        text = ask(http_port, "/metrics")[1]
        megabytes = resident_bytes(pid) / 1e6
    wanted = load.machines * sum(10.0 / _hop(model) for model in load.models)
    if abs(predictions / wanted - 1) > TOLERANCE:
        raise RuntimeError(f"{load.title}: {predictions:.1f} predictions/s, not {wanted:.1f}")
    if _total(text, "edgeai_dropped_total"):
        raise RuntimeError(f"{load.title}: messages were dropped")
    return Usage(
        load.title, messages / elapsed, predictions, 100 * cpu / elapsed, megabytes, busy / elapsed
    )


@contextlib.contextmanager
def _serving(load: LineLoad) -> Iterator[tuple[int, int, Child]]:
    """Run broker, edgeai and line; yield edgeai's process, its port and the publisher."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeai-bench-")))
        broker = stack.enter_context(run_broker(folder))
        setting = setting_for(folder, broker, Workload(), folder / "unused", Options())
        system = System("edgeai", "edgeai", _command(load), is_edgeai=True)
        process = stack.enter_context(run_system(system, setting))
        publisher = Child(LinePublisher, broker.port, load.machine, load.machines)
        stack.callback(publisher.close)
        yield process.pid, setting.http_port, publisher


def _command(load: LineLoad) -> Callable[[Setting], list[str]]:
    def command(setting: Setting) -> list[str]:
        source: dict[str, Any] = {
            "topic": "factory/{asset}/sensors",
            "time": {"path": "timestamp", "unit": "ms"},
            "values_path": "values",
        }
        document = {
            "node": "sizing",
            "broker": {"host": "127.0.0.1", "port": setting.broker.port},
            "http": {"port": setting.http_port},
            "state_folder": str(setting.folder / "state"),
            "pipelines": {model: {"model": model, "source": source} for model in load.models},
        }
        config = setting.folder / "edgeai.yaml"
        config.write_text(yaml.safe_dump(document))
        return edgeai_command(config)

    return command


def _hop(model: str) -> int:
    manifest = yaml.safe_load((shipped("models") / model / "model.yaml").read_text())
    return int(manifest["window"]["hop"])


def _predictions(http_port: int) -> float:
    return _total(ask(http_port, "/metrics")[1], "edgeai_predictions_total")


def _total(text: str, name: str) -> float:
    """Return the sum of a metric over its labels."""
    lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
