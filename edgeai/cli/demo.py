"""Commands that need no real line: the demo, and the simulated line alone."""

from pathlib import Path
from typing import Annotated

import typer

from edgeai.cli.logs import choose_style, log_to_stderr
from edgeai.cli.options import LogFormat, LogLevel, number


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Stop after this many seconds. Default: run until Ctrl-C.",
            metavar="SECONDS",
            parser=number(float, "a number of seconds", 1),
        ),
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the status page in your browser.")
    ] = False,
) -> None:
    """Start a broker, a simulated line and the runtime, and show predictions in a live table."""
    from rich.console import Console

    from edgeai.demo.demo import run_demo

    raise typer.Exit(run_demo(seconds, Console(), open_page=open_page))


def plant(
    host: Annotated[
        str, typer.Option(help="Host name or address of the MQTT broker.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            help="TCP port of the MQTT broker.",
            metavar="PORT",
            parser=number(int, "a TCP port", 1, 65535),
        ),
    ] = 1883,
    seed: Annotated[
        int,
        typer.Option(
            help="Random seed of noise, variation and faults.",
            metavar="NUMBER",
            parser=number(int, "a whole number"),
        ),
    ] = 0,
    faults: Annotated[bool, typer.Option(help="Start faults at random times.")] = True,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="CA certificate (PEM) of the broker; turns TLS on. Default: no TLS."),
    ] = None,
    username: Annotated[str | None, typer.Option(help="User name at the broker.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="File that holds the password at the broker.")
    ] = None,
    machines: Annotated[
        str, typer.Option(help="Machines, joined by commas. Default: all of the line.")
    ] = "",
    sensors_only: Annotated[
        bool,
        typer.Option(
            "--sensors-only",
            help="Publish sensor values only, and take no commands, as a controller does.",
        ),
    ] = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Publish the sensor values of a simulated line until SIGTERM or Ctrl-C."""
    from edgeai.config.broker import Broker, Secret, Tls
    from edgeai.demo.plant_publisher import choose_machines, run_plant

    try:
        chosen = choose_machines(machines)
    except ValueError as error:
        raise typer.BadParameter(f"--machines: {error}") from error
    if (username is None) != (password_file is None):
        raise typer.BadParameter("--username and --password-file belong together")
    broker = Broker(
        host=host,
        port=port,
        username=username,
        password=None if password_file is None else Secret(file=str(password_file)),
        tls=None if ca_file is None else Tls(ca_file=str(ca_file)),
    )
    log_to_stderr(choose_style(log_level, log_format))
    run_plant(broker, seed=seed, faults=faults, assets=chosen, sensors_only=sensors_only)
