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
    latency,
    plots,
    serving,
    startup,
    throughput,
    workers,
)
from benchmarks.broker import BrokerMissingError
from benchmarks.result import Result, Scale, target_table, write_result
from benchmarks.rig import OutputFaultError
from benchmarks.systems import OUT, ROOT

BENCHMARKS: dict[str, tuple[str, Callable[[Scale], Result]]] = {
    "A": ("JSON rows of 10 values, window 64, hop 16, autoencoder", throughput.rows),
    "B": ("frames of 100 channels at 2 kHz, window 200, hop 200, spectral model", frames.frames),
    "C": ("one value a message, held on a grid; the model of A", throughput.tags),
    "D": ("latency of a prediction", latency.latency),
    "E": ("memory and CPU when idle", idle.idle),
    "F": ("start to ready", startup.startup),
    "G": ("what each feature costs", features.features),
    "H": ("an accelerator in a child process", serving.serving),
    "growth": ("by streams, models, window, channels and rate", growth.growth),
    "workers": ("one and two workers at saturation", workers.workers),
}
LETTERS = "".join(name for name in BENCHMARKS if len(name) == 1)
SECONDS = 5.0
QUICK_SECONDS = 1.0


def main() -> int:
    """Measure; 1: an output was lost, doubled, out of order or wrong, or a system did not run."""
    arguments = _parse()
    console = Console()
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    scale = Scale(seconds, arguments.quick)
    # End as by Ctrl-C, so that every process that was started is stopped.
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
        except RuntimeError as error:  # a system that does not start, an output that is wrong
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
    """Return the benchmarks that a text names: letters, together or apart, and words.

    Raises:
        ValueError: It names one that there is not.
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
    parser.add_argument("--only", default=LETTERS, help=f"of {known}; default: {LETTERS}")
    parser.add_argument("--seconds", type=float, help=f"of one run; default: {SECONDS:g}")
    parser.add_argument("--quick", action="store_true", help="only see that it works")
    parser.add_argument("--plots", type=Path, help="folder for the plots of `growth`")
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
