"""What several commands share: arguments, the log, progress bars, output files."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of a shipped config.")
]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]


def log_to_stderr(level: str, who: str = "") -> None:
    """Log at a level (a name, such as `info`); `who` stands before the logger's name."""
    names = logging.getLevelNamesMapping()
    if level.upper() not in names:
        raise typer.BadParameter(f"must be one of {', '.join(sorted(names))}")
    logging.basicConfig(
        level=names[level.upper()],
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)-7s {who}%(name)s: %(message)s",
    )


@contextmanager
def stages(console: Any) -> Iterator[Callable[..., None]]:
    """Show a progress bar for each stage; give the function that moves them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn()
    bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=console)
    tasks: dict[str, Any] = {}

    def show(stage: str, done: int, total: int, note: str = "") -> None:
        bar.start()  # not before there is something to show: a refusal is lines of its own
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
    """Show a progress bar on a terminal; give the function that moves it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _position: None
        return
    with Progress(console=console) as bar:
        task = bar.add_task(name, total=total)
        yield lambda position: bar.update(task, completed=position)
