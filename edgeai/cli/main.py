"""The command `edgeai`. Errors of the user's files go to stderr, one a line, with exit code 2."""

import gc
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from edgeai import __version__
from edgeai.cli import demo, inspect, models, serve
from edgeai.errors import ConfigError, EdgeError, ModelError

BAD_INPUT = 2
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "plant": demo.plant,
    "run": serve.run,
    "check": serve.check,
    "devices": inspect.devices,
    "schema": inspect.schema,
    "replay": serve.replay,
    "train": models.train,
    "quantize": models.quantize,
    "evaluate": models.evaluate,
    "export": models.export,
    "report": models.report,
}
"""In the order in which `edgeai --help` lists them."""


def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"edgeai {__version__}")
        raise typer.Exit


def _make_app() -> typer.Typer:
    made = typer.Typer(
        name="edgeai",
        help="Anomaly and physics-informed models as a service on a factory line.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    made.callback(invoke_without_command=True)(_top)
    for name, command in COMMANDS.items():
        made.command(name)(command)
    return made


app = _make_app()


def main() -> None:
    """Run the command; no error of the user's input ends in a traceback."""
    # Imports make many objects and no garbage: looking for it took a tenth of the start.
    gc.set_threshold(50_000, 20, 100)
    try:
        app()
    except (ConfigError, ModelError) as error:
        _complain(str(error))
        sys.exit(BAD_INPUT)
    except EdgeError as error:
        _complain(str(error))
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if os.environ.get("EDGEAI_DEBUG"):
            raise
        _complain(f"internal error: {type(error).__name__}: {error}")
        _complain("this is a defect of edgeai; EDGEAI_DEBUG=1 shows where")
        sys.exit(INTERNAL_ERROR)


def _complain(text: str) -> None:
    for line in text.splitlines():
        typer.echo(f"edgeai: {line}", err=True)
