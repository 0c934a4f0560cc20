"""Shared by several commands: arguments, progress bars."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigArgument = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="YAML file, or name of a shipped config such as demo."),
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        help="Lowest level of the log: debug, info, warning or error. Default: EDGEAI_LOG_LEVEL, "
        "else `log.level` of the config."
    ),
]
LogFormat = Annotated[
    str | None,
    typer.Option(
        help="Lines of the log: text, json, or auto (text, coloured on a terminal). Default: "
        "EDGEAI_LOG_FORMAT, else `log.format` of the config."
    ),
]


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
