"""Commands that serve a configuration, check it, or replay recordings through it."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from edgeai.cli.options import ConfigArgument, LogLevel, log_to_stderr, progress_bar


def run(
    config: ConfigArgument,
    log_level: LogLevel = "info",
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
    worker_socket: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve a configuration until SIGTERM or Ctrl-C."""
    from edgeai.config.node import find_config, load_config

    path = find_config(config)
    if worker is not None:
        if worker_socket is None:
            raise typer.BadParameter("--worker is for the supervisor, with --worker-socket")
        _run_worker(path, worker, worker_socket, log_level)
        return
    log_to_stderr(log_level)
    if (known := load_config(path)).workers > 1:
        # Not imported here: the models' libraries, which the supervisor has no use for.
        from edgeai.workers.supervisor import Supervisor, check_in_child

        if code := check_in_child(path):
            raise typer.Exit(code)
        Supervisor(path, known, log_level).run()
        return
    from edgeai.assembly.plan import check as make_plan
    from edgeai.node.runtime import Runtime

    Runtime(make_plan(path)).run()


def _run_worker(path: Path, worker: str, socket: Path, log_level: str) -> None:
    """Serve one worker's share; its supervisor is at the other end of standard input."""
    from edgeai.assembly.plan import check as make_plan
    from edgeai.engine.sharding import Share
    from edgeai.node.runtime import Runtime, WorkerRole

    try:
        share = Share.parse(worker)
    except ValueError as error:
        raise typer.BadParameter(f"--worker {error}") from error
    log_to_stderr(log_level, f"w{share.number} ")
    Runtime(make_plan(path), WorkerRole(share, socket)).run()
    with suppress(OSError):  # without a supervisor the last one to go clears up
        socket.parent.rmdir()


def check(config: ConfigArgument) -> None:
    """Validate config, device, models and how they fit; no network. Exit code 2 on a problem."""
    from edgeai.assembly.plan import check as make_plan
    from edgeai.assembly.report import describe_plan
    from edgeai.config.node import find_config

    log_to_stderr("error")  # what is less is printed below
    for line in describe_plan(make_plan(find_config(config))):
        typer.echo(line)


def replay(
    config: ConfigArgument,
    files: Annotated[
        list[Path], typer.Option("--input", help="CSV, JSONL or Parquet; may be given again.")
    ],
    output: Annotated[Path, typer.Option(help="Predictions, as JSON lines.")],
    alarms: Annotated[Path | None, typer.Option(help="Alarm transitions, as JSON lines.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Whose mapping reads a table.")] = None,
    asset: Annotated[str | None, typer.Option(help="Of a table; default: the file's name.")] = None,
    asset_column: Annotated[str | None, typer.Option()] = None,
    time_column: Annotated[str | None, typer.Option()] = None,
    time_unit: Annotated[str | None, typer.Option(help="s, ms, us, ns or iso.")] = None,
    delimiter: Annotated[str, typer.Option(help="Of a CSV file.")] = ",",
    log_level: LogLevel = "warning",
) -> None:
    """Run recorded data through the same turn as live, as fast as it can."""
    from edgeai.assembly.plan import check as make_plan
    from edgeai.config.node import find_config
    from edgeai.replay.run import replay_files
    from edgeai.replay.tables import TableOptions

    log_to_stderr(log_level)
    if time_unit not in {None, "s", "ms", "us", "ns", "iso"}:
        raise typer.BadParameter("--time-unit must be one of s, ms, us, ns, iso")
    if len(delimiter) != 1:
        raise typer.BadParameter("--delimiter must be one character")
    plan = make_plan(find_config(config))
    options = TableOptions(pipeline, asset, asset_column, time_column, time_unit, delimiter)
    total_bytes = sum(file.stat().st_size for file in files if file.is_file())
    with progress_bar("replay", total_bytes) as advance:
        summary = replay_files(plan, files, output, alarms, options=options, advance=advance)
    counted = f"{summary.messages} messages, {summary.predictions} predictions in {output}"
    for line in [counted, *summary.dropped]:
        typer.echo(line, err=True)
