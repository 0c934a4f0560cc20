"""The command `edgeai`. Errors in the user's files: one line each on stderr, exit code 2."""

import contextlib
import gc
import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from edgeai import stop_signals
from edgeai.cli import (
    broker,
    demo,
    doctor,
    inspect,
    logs,
    models,
    onboarding,
    recordings,
    serve,
    signing,
)
from edgeai.errors import ConfigError, EdgeError, ModelError
from edgeai.log_events import event
from edgeai.version import __version__

BAD_INPUT = 2
SERVING = {"run", "demo", "plant", "record", "listen"}
"""Commands that end by themselves after SIGTERM or SIGINT, also if it comes during their start."""
ON_THE_ROAD = {*SERVING, "check", "replay", "report"}
"""Commands through which messages go, or that show how they would."""
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "plant": demo.plant,
    "run": serve.run,
    "check": serve.check,
    "doctor": doctor.doctor,
    "health": serve.health,
    "devices": inspect.devices,
    "presets": inspect.presets,
    "schema": inspect.schema,
    "acl": broker.acl,
    "listen": onboarding.listen,
    "record": onboarding.record,
    "replay": recordings.replay,
    "train": models.train,
    "quantize": models.quantize,
    "evaluate": models.evaluate,
    "export": models.export,
    "report": recordings.report,
    "sign": signing.sign,
    "verify": signing.verify,
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
    if context.invoked_subcommand in ON_THE_ROAD:
        # OpenBLAS, which NumPy loads, starts a thread for each core of the machine. A container may
        # use fewer, windows are too small for more, and live and replayed runs must agree.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


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
    _print_every_name()
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
    except OSError as error:
        _end_with_system_error(error)
    except Exception as error:  # noqa: BLE001  no traceback may reach a user
        _end_with_internal_error(error)


def _end_with_system_error(error: OSError) -> NoReturn:
    """End after a file or the system has failed, which is never a defect of edgeai."""
    if os.environ.get("EDGEAI_DEBUG"):
        raise error
    why = error.strerror or error
    if error.filename is None:
        # It may be standard output. What is still in its buffer must not fail again at the exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _print_error(f"the system refuses: {why}; set EDGEAI_DEBUG=1 to see where")
    else:
        _print_error(f"{os.fsdecode(error.filename)}: cannot be read or written: {why}")
    sys.exit(BAD_INPUT)


def _end_with_internal_error(error: Exception) -> NoReturn:
    if os.environ.get("EDGEAI_DEBUG"):
        raise error
    _print_error(f"internal error: {type(error).__name__}: {error}")
    _print_error("this is a defect in edgeai; set EDGEAI_DEBUG=1 to see the traceback")
    sys.exit(INTERNAL_ERROR)


def _print_every_name() -> None:
    """Print a file name with characters that the terminal does not know, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print_error(text: str) -> None:
    for line in text.splitlines():
        if logs.writes_json():
            logging.getLogger("edgeai").error("%s", line, extra=event("command_failed"))
        else:
            typer.echo(f"edgeai: {line}", err=True)
