"""The command `edgeai`. Errors in the user's files: one line each on stderr, exit code 2."""

import gc
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from edgeai import stop_signals
from edgeai.cli import demo, inspect, models, serve
from edgeai.errors import ConfigError, EdgeError, ModelError
from edgeai.version import __version__

BAD_INPUT = 2
SERVING = {"run", "demo", "plant"}
"""Commands that end by themselves after SIGTERM or SIGINT, also if it comes during their start."""
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
"""Commands by name, in the order of `edgeai --help`."""


def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"edgeai {__version__}")
        raise typer.Exit
    if context.invoked_subcommand not in SERVING:
        stop_signals.end_on_signals()


def _make_app() -> typer.Typer:
    built = typer.Typer(
        name="edgeai",
        help="Run anomaly and physics-informed models on a factory line: MQTT in, predictions out.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    built.callback(invoke_without_command=True)(_top)
    for name, command in COMMANDS.items():
        built.command(name)(command)
    return built


app = _make_app()


def main() -> None:
    """Run the command line. An error in the user's input is printed without a traceback."""
    # Imports allocate many objects and little garbage: collect less often, to start faster.
    gc.set_threshold(50_000, 20, 100)
    try:
        app()
    except (ConfigError, ModelError) as error:
        _print_error(str(error))
        sys.exit(BAD_INPUT)
    except EdgeError as error:
        _print_error(str(error))
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if os.environ.get("EDGEAI_DEBUG"):
            raise
        _print_error(f"internal error: {type(error).__name__}: {error}")
        _print_error("this is a defect in edgeai; set EDGEAI_DEBUG=1 to see the traceback")
        sys.exit(INTERNAL_ERROR)


def _print_error(text: str) -> None:
    for line in text.splitlines():
        typer.echo(f"edgeai: {line}", err=True)
