"""Scrape: CPU time, size and series of an answer to `/metrics` with 1,000 streams."""

import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from rich.table import Table

from benchmarks.result import Result, Scale
from edgeai.metrics.aggregate import MergedMetrics, WorkerText
from edgeai.paths import shipped
from edgeai.plant.line import make_machine, period_ns
from edgeai.testing import MemoryNode, write_config

MACHINES = 500
MODELS = ("moulding-pca", "moulding-pinn")  # one stream of each for each machine
REPEATS = 15
WORKERS = 2
SOURCE = {
    "topic": "factory/{asset}/sensors", "layout": "row", "values_path": "values",
    "time": {"path": "timestamp", "unit": "ms"},
}  # fmt: skip


def measure_scrape(scale: Scale) -> Result:
    """Measure with no stream, with all streams, and merged from workers."""
    machines = 10 if scale.quick else MACHINES
    with tempfile.TemporaryDirectory(prefix="edgeai-bench-") as folder:
        config = Path(folder) / "config.yaml"
        models = shipped("models")
        pipelines = {name: {"model": str(models / name), "source": SOURCE} for name in MODELS}
        write_config(config, pipelines)
        with MemoryNode(config) as node:
            empty = _measure(node.metrics.render)
            _serve(node, machines)
            full = _measure(node.metrics.render)
            text = node.metrics.render().decode()
            details = sum(
                line.startswith(("edgeai_output{", "edgeai_contribution{"))
                for line in text.splitlines()
            )
    merged = MergedMetrics(CollectorRegistry())
    texts = [
        WorkerText(number, 1, text.replace('asset="machine', f'asset="machine-{number}'))
        for number in range(1, WORKERS + 1)
    ]
    merging = _measure(lambda: merged.render(texts))
    rows = {"no stream": empty, f"{machines * len(MODELS)} streams": full,
            f"merged from {WORKERS} workers with as many each": merging}  # fmt: skip
    table = Table("", "series", "kB", "ms of CPU")
    for title, row in rows.items():
        table.add_row(
            title,
            f"{row['series']:,}",
            f"{row['kilobytes']:,.0f}",
            f"{row['cpu_milliseconds']:.1f}",
        )
    figures = {"streams": machines * len(MODELS), "detail_series": details, "rows": rows}
    return Result(figures, [table])


def _serve(node: MemoryNode, machines: int) -> None:
    """Give every machine the same samples, until each of its streams was judged."""
    machine = make_machine("moulding", 1)
    names = [signal.name for signal in machine.signals]
    settings = [pipeline.settings for pipeline in node.pipelines]
    samples = max(one.length + one.hop for one in settings)
    step_ns = period_ns(machine)
    now_ns = time.time_ns()
    for number in range(samples):
        time_ns = now_ns - (samples - number) * step_ns
        values = dict(zip(names, machine.step().tolist(), strict=True))
        payload = json.dumps({"timestamp": time_ns // 1_000_000, "values": values})
        node.turn(*[(f"factory/machine-{n:04}/sensors", payload) for n in range(machines)])
        node.sink.publications.clear()


def _measure(render: Any) -> dict[str, float]:
    """Render in a thread, as the HTTP server does; return medians."""
    seconds: list[float] = []
    text = b""

    def work() -> None:
        nonlocal text
        for _ in range(REPEATS):
            before = time.thread_time()
            text = render()
            seconds.append(time.thread_time() - before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    return {
        "series": series,
        "kilobytes": len(text) / 1000,
        "cpu_milliseconds": statistics.median(seconds) * 1000,
    }
