"""Commands that need no real line: the demo, and the simulated line alone."""

from typing import Annotated

import typer

from edgeai.cli.options import LogLevel, log_to_stderr, number


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
    log_level: LogLevel = "info",
) -> None:
    """Publish the sensor values of a simulated line until SIGTERM or Ctrl-C."""
    from edgeai.demo.plant_publisher import run_plant

    log_to_stderr(log_level)
    run_plant(host, port, seed=seed, faults=faults)
