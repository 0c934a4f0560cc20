"""Run benchmarks, print tables, and write benchmarks/out/<letter>.json.

python -m benchmarks [--only AD | --only growth,workers] [--seconds 5] [--quick] [--plots DIR]
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import (
    features,
    frames,
    growth,
    idle,
    joins,
    latency,
    page,
    plots,
    scrape,
    serving,
    sizing,
    startup,
    throughput,
    workers,
)
from benchmarks.broker import BrokerMissingError
from benchmarks.result import Result, Scale, target_table, write_result
from benchmarks.rig import OutputFaultError
from benchmarks.systems import OUT, ROOT

BENCHMARKS: dict[str, tuple[str, Callable[[Scale], Result]]] = {
    "A": ("JSON rows of 10 values, window 64, hop 16, autoencoder", throughput.measure_rows),
    "B": (
        "frames of 100 channels at 2 kHz, window 200, hop 200, spectral model",
        frames.measure_frames,
    ),
    "C": ("one value per message, held on a grid; the model of A", throughput.measure_tags),
    "D": ("latency of a prediction", latency.measure_latency),
    "E": ("memory, and CPU without load", idle.measure_idle),
    "F": ("process start to ready", startup.measure_startup),
    "G": ("cost of each feature", features.measure_features),
    "H": ("an accelerator in a child process", serving.measure_serving),
    "growth": ("growth over streams, models, window, channels and rate", growth.measure_growth),
    "joins": ("a waveform joined with rows and tags of one machine", joins.measure_joins),
    "page": ("the page on the turn: latency and CPU with open pages", page.measure_page),
    "scrape": ("an answer to /metrics with 1,000 streams", scrape.measure_scrape),
    "sizing": ("CPU and memory of typical loads", sizing.measure_sizing),
    "workers": ("one and two workers at full speed", workers.measure_workers),
}
LETTERS = "".join(name for name in BENCHMARKS if len(name) == 1)
SECONDS = 5.0
QUICK_SECONDS = 1.0


def main() -> int:
    """Run the benchmarks and return the exit code.

    1: an output was lost, duplicated, out of order or wrong, or a system did not run.
    2: there is no broker.
    """
    arguments = _parse()
    console = Console()
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    scale = Scale(seconds, arguments.quick)
    # Exit as after Ctrl-C, so that all child processes are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = []
    targets = []
    for letter in chosen(arguments.only):
        title, measure = BENCHMARKS[letter]
        started = time.monotonic()
        console.print(f"[bold]{letter}[/]  {title}, runs of {seconds:g} s")
        try:
            result = measure(scale)
        except BrokerMissingError as error:
            console.print(f"[red]{error}[/]")
            return 2
        except RuntimeError as error:  # a system did not start, or an output was wrong
            runs = {"faulty": [error.run]} if isinstance(error, OutputFaultError) else {}
            result = Result({}, [], faults=[str(error)], runs=runs)
        for table in result.tables:
            console.print(table)
        path = write_result(letter, title, scale, result)
        console.print(f"{path.relative_to(ROOT)}, {time.monotonic() - started:.0f} s\n")
        targets += result.targets
        if result.faults:
            failed.append(letter)
        for fault in result.faults:
            console.print(f"[red]{fault}[/]")
        if letter == "growth" and arguments.plots:
            for path in plots.draw_all(OUT / "growth.json", arguments.plots):
                console.print(str(path))
    if targets:
        console.print(target_table(targets))
    if failed:
        console.print(f"[red]no valid result: {', '.join(failed)}[/]")
    return 1 if failed else 0


def chosen(only: str) -> list[str]:
    """Return the benchmarks named in a text, such as `AD`, `A D` or `growth,workers`.

    Raises:
        ValueError: A name is unknown.
    """
    found = []
    for word in only.replace(",", " ").split():
        parts = [word.lower()] if word.lower() in BENCHMARKS else list(word.upper())
        unknown = [part for part in parts if part not in BENCHMARKS]
        if unknown:
            raise ValueError(f"unknown benchmark {word}; known: {', '.join(BENCHMARKS)}")
        found += parts
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = ", ".join(BENCHMARKS)
    parser.add_argument(
        "--only", default=LETTERS, help=f"benchmarks to run, of {known}; default: {LETTERS}"
    )
    parser.add_argument(
        "--seconds", type=float, help=f"duration of one run in s; default: {SECONDS:g}"
    )
    parser.add_argument("--quick", action="store_true", help="only check that the benchmarks run")
    parser.add_argument("--plots", type=Path, help="folder for the plots of growth")
    arguments = parser.parse_args()
    try:
        chosen(arguments.only)
    except ValueError as error:
        parser.error(f"--only: {error}")
    if arguments.seconds is not None and not 0.2 <= arguments.seconds <= 600:
        parser.error("--seconds: from 0.2 to 600")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
