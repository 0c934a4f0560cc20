"""F: time from process start until `/readyz` reports ready, without and with caches."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.table import Table

from benchmarks.broker import run_broker
from benchmarks.models import write_model
from benchmarks.processes import start_program
from benchmarks.result import Result, Scale, Target, shown
from benchmarks.systems import EDGEAI, ROOT, Options, is_ready, setting_for, stop
from benchmarks.workload import Workload

LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.005
LIBRARIES = (
    "import msgspec, numpy, onnxruntime, paho.mqtt.client, prometheus_client, pydantic, yaml"
)


def measure_startup(scale: Scale) -> Result:
    """Start once with empty caches, then several times with caches."""
    load = Workload()
    with tempfile.TemporaryDirectory(prefix="edgeai-bench-") as name:
        folder = Path(name)
        package = write_model(folder / load.pipelines[0], load).parent
        with run_broker(folder) as broker:
            setting = setting_for(folder, broker, load, package, Options())
            command = EDGEAI.command(setting)
            log = folder / "edgeai.log"
            cold = _seconds_to_ready(command, setting.http_port, log)
            warm = [
                _seconds_to_ready(command, setting.http_port, log)
                for _ in range(2 * scale.rounds + 1)
            ]
    bare = median(_seconds_of("pass") for _ in range(scale.rounds))
    libraries = median(_seconds_of(LIBRARIES) for _ in range(scale.rounds))
    figures = {
        "seconds_to_ready": round(median(warm), 3),
        "seconds_to_ready_worst": round(max(warm), 3),
        "seconds_to_ready_cold": round(cold, 3),
        "bare_python_seconds": round(bare, 3),
        "python_and_libraries_seconds": round(libraries, 3),
    }
    table = Table("", "median s", "worst s", "first s", "bare Python s", "with the libraries s")
    seconds = (median(warm), max(warm), cold, bare, libraries)
    table.add_row(EDGEAI.title, *(shown(value, 3) for value in seconds))
    targets = [Target("F: seconds to ready, caches warm", median(warm), 1.0)]
    return Result(figures, [table], targets)


def _seconds_to_ready(command: list[str], http_port: int, log: Path) -> float:
    started = time.monotonic()
    process = start_program(command, log, cwd=ROOT)
    try:
        while not is_ready(http_port):
            if process.poll() is not None or time.monotonic() - started > LIMIT_SECONDS:
                output = log.read_text(errors="replace")[-500:]
                raise RuntimeError(f"edgeai does not become ready: {output}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - started
    finally:
        stop(process)


def _seconds_of(statement: str) -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", statement], check=True, cwd=ROOT)
    return time.monotonic() - started
