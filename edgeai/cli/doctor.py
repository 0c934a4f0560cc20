"""The command that looks for what hinders a node, and says what to do."""

import json
from typing import Annotated

import typer

from edgeai.cli.logs import LogStyle, log_to_stderr
from edgeai.cli.options import ConfigArgument, number

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}


def doctor(
    config: ConfigArgument,
    seconds: Annotated[
        float,
        typer.Option(
            help="How long to wait for messages on the subscriptions; it ends earlier if each "
            "has delivered.",
            metavar="SECONDS",
            parser=number(float, "a number of seconds", 0, 3600),
        ),
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check config, machine and broker, and say what to do; exit code 1 if something fails.

    Nothing is changed: no file is written beside temporary ones, and no message reaches anybody.
    """
    from edgeai.doctor.examine import examine
    from edgeai.doctor.report import as_json as report_as_json
    from edgeai.doctor.report import as_lines

    log_to_stderr(LogStyle("critical", "text"))  # what is logged is also found
    done = examine(config, seconds)
    if as_json:
        typer.echo(json.dumps(report_as_json(done), indent=2, ensure_ascii=False))
    else:
        for status, text in as_lines(done):
            typer.secho(text, fg=COLOURS.get(status))
    if done.status == "fail":
        raise typer.Exit(1)
