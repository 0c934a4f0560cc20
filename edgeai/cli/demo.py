"""Commands that show edgeai at work: the demo, and the simulated line alone."""

from typing import Annotated

import typer

from edgeai.cli.options import LogLevel, log_to_stderr


def demo(
    seconds: Annotated[float | None, typer.Option(help="Stop after so long.", min=1)] = None,
) -> None:
    """Show everything at work on a simulated line, with nothing to configure."""
    from rich.console import Console

    from edgeai.demo.demo import run_demo

    raise typer.Exit(run_demo(seconds, Console()))


def plant(
    host: Annotated[str, typer.Option(help="The broker's host.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.", min=1, max=65535)] = 1883,
    seed: Annotated[int, typer.Option(help="Of noise, variation and faults.")] = 0,
    faults: Annotated[bool, typer.Option(help="Let faults start on their own.")] = True,
    log_level: LogLevel = "info",
) -> None:
    """Publish the simulated line on a broker, until SIGTERM or Ctrl-C."""
    from edgeai.demo.plant_publisher import run_plant

    log_to_stderr(log_level)
    run_plant(host, port, seed=seed, faults=faults)
