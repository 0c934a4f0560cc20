"""Shared by several commands: arguments, logging, progress bars."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigArgument = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="YAML file, or name of a shipped config such as demo."),
]
LogLevel = Annotated[str, typer.Option(help="Lowest level printed: debug, info, warning or error.")]


class UtcFormatter(logging.Formatter):
    """Formats times as 2026-11-27T13:00:00.123Z, as predictions and recordings count them."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    @staticmethod
    def converter(seconds: float | None) -> time.struct_time:
        """Return a time in UTC; the base class uses local time."""
        return time.gmtime(seconds)


def number(
    kind: type[int] | type[float], what: str, low: float | None = None, high: float | None = None
) -> Callable[[str], Any]:
    """Return the parser of an option, which says in plain words what the option takes.

    Args:
        kind: int or float.
        what: What the option holds, such as "a number of seconds".
        low: Lowest value; None: none.
        high: Highest value; None: none.
    """
    bounds = [] if low is None else [f"at least {low:g}"]
    bounds += [] if high is None else [f"at most {high:g}"]
    rule = f"must be {', '.join([what, *bounds])}"

    def parse(text: str) -> Any:
        try:
            value: float | None = kind(text)
        except ValueError:
            value = None
        if value is not None and math.isnan(value):
            value = None
        if (
            value is None
            or not (low is None or value >= low)
            or (high is not None and value > high)
        ):
            raise typer.BadParameter(f"{rule} (found {text!r})")
        return value

    return parse


def log_to_stderr(level: str, prefix: str = "") -> None:
    """Log to stderr, with times in UTC, from a level such as `info` upwards.

    Args:
        level: Name of the lowest level printed.
        prefix: Text before the logger's name, such as `w1 ` for worker 1.
    """
    names = logging.getLevelNamesMapping()
    if level.upper() not in names:
        raise typer.BadParameter(f"must be one of {', '.join(sorted(names))}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(UtcFormatter(f"%(asctime)s %(levelname)-7s {prefix}%(name)s: %(message)s"))
    logging.basicConfig(level=names[level.upper()], handlers=[handler])


def warn_without_state(folder: Path) -> None:
    """Say on stderr if nothing can be kept in the state folder."""
    from edgeai.paths import state_folder_warning

    warning = state_folder_warning(folder)
    if warning is not None:
        typer.echo(f"edgeai: warning: {warning}", err=True)


@contextmanager
def stage_bars(console: Any) -> Iterator[Callable[..., None]]:
    """Show a progress bar for each stage; yield the function that moves the bars."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn()
    bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=console)
    tasks: dict[str, Any] = {}

    def show(stage: str, done: int, total: int, note: str = "") -> None:
        bar.start()  # only now: an early error message must not stand between the bars
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total, note=note)
        bar.update(tasks[stage], completed=done, total=total, note=note)

    try:
        yield show
    finally:
        if tasks:
            bar.stop()


@contextmanager
def progress_bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if stderr is a terminal; yield the function that moves it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _position: None
        return
    with Progress(console=console) as bar:
        task = bar.add_task(name, total=total)
        yield lambda position: bar.update(task, completed=position)
