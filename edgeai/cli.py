"""The command `edgeai`. Errors of the user's files go to stderr, one a line, with exit code 2."""

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeai import __version__
from edgeai.errors import ConfigError, EdgeError, ModelError

BAD_INPUT = 2
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h

app = typer.Typer(
    name="edgeai",
    help="Anomaly and physics-informed models as a service on a factory line.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of a shipped config.")
]


def main() -> None:
    """Run the command; no error of the user's input ends in a traceback."""
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


def _log_to_stderr(level: str, who: str = "") -> None:
    names = logging.getLevelNamesMapping()
    if level.upper() not in names:
        raise typer.BadParameter(f"must be one of {', '.join(sorted(names))}")
    logging.basicConfig(
        level=names[level.upper()],
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)-7s {who}%(name)s: %(message)s",
    )


LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"edgeai {__version__}")
        raise typer.Exit


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(help="Stop after so long.", min=1)] = None,
) -> None:
    """Show everything at work on a simulated line, with nothing to configure."""
    from rich.console import Console

    from edgeai.demo import run_demo

    raise typer.Exit(run_demo(seconds, Console()))


@app.command()
def plant(
    host: Annotated[str, typer.Option(help="The broker's host.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.", min=1, max=65535)] = 1883,
    seed: Annotated[int, typer.Option(help="Of noise, variation and faults.")] = 0,
    faults: Annotated[bool, typer.Option(help="Let faults start on their own.")] = True,
    log_level: LogLevel = "info",
) -> None:
    """Publish the simulated line on a broker, until SIGTERM or Ctrl-C."""
    from edgeai.plantrunner import run_plant

    _log_to_stderr(log_level)
    run_plant(host, port, seed=seed, faults=faults)


@app.command()
def run(
    config: ConfigArgument,
    log_level: LogLevel = "info",
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
    worker_socket: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve a configuration until SIGTERM or Ctrl-C."""
    from edgeai.config import find_config, load_config

    path = find_config(config)
    if worker is not None:
        if worker_socket is None:
            raise typer.BadParameter("--worker is for the supervisor, with --worker-socket")
        _run_worker(path, worker, worker_socket, log_level)
        return
    _log_to_stderr(log_level)
    if (known := load_config(path)).workers > 1:
        # Not imported here: the models' libraries, which the supervisor has no use for.
        from edgeai.workers import Supervisor, check_in_child

        if code := check_in_child(path):
            raise typer.Exit(code)
        Supervisor(path, known, log_level).run()
        return
    from edgeai.check import check
    from edgeai.runtime import Runtime

    Runtime(check(path)).run()


def _run_worker(path: Path, worker: str, socket: Path, log_level: str) -> None:
    """Serve one worker's share; its supervisor is at the other end of standard input."""
    from edgeai.check import check
    from edgeai.runtime import Runtime
    from edgeai.share import Place, Share

    try:
        share = Share.parse(worker)
    except ValueError as error:
        raise typer.BadParameter(f"--worker {error}") from error
    _log_to_stderr(log_level, f"w{share.number} ")
    Runtime(check(path), Place(share, socket)).run()
    with suppress(OSError):  # without a supervisor the last one to go clears up
        socket.parent.rmdir()


@app.command("check")
def check_command(config: ConfigArgument) -> None:
    """Validate config, device, models and how they fit; no network. Exit code 2 on a problem."""
    from edgeai.check import check
    from edgeai.config import find_config
    from edgeai.metrics import Metrics
    from edgeai.runtime import ALONE, build_pipelines

    plan = check(find_config(config))
    for pipeline in build_pipelines(plan, Metrics()):
        manifest = pipeline.manifest
        typer.echo(
            f"{pipeline.name}: {manifest.name} {manifest.version} on {pipeline.session.provider}, "
            f"{pipeline.template.filter} (QoS {pipeline.config.source.qos}), "
            f"{len(pipeline.signals)} signals, window {pipeline.settings.length}, "
            f"hop {pipeline.settings.hop}, threshold {pipeline.rule.threshold:g}"
        )
        if pipeline.session.batch_multiple is None:
            typer.echo(f"{pipeline.name}: note: {ALONE}")
        if plan.config.workers > 1 and not pipeline.template.fields:
            rule = "captures nothing, so it is one stream, and one worker's"
            typer.echo(f"{pipeline.name}: note: {pipeline.template.filter} {rule}")
    typer.echo(f"{plan.path}: ok")


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="config, device or model.")] = "config",
) -> None:
    """Print the JSON Schema of a file, with which an editor completes and checks it."""
    from pydantic import BaseModel

    from edgeai.config import Config, Device
    from edgeai.package import Manifest

    models: dict[str, type[BaseModel]] = {
        "config": Config,
        "device": Device,
        "model": Manifest,
    }
    if what not in models:
        raise typer.BadParameter(f"must be one of {', '.join(models)}")
    typer.echo(json.dumps(models[what].model_json_schema(), indent=2))


@app.command()
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
    from edgeai.check import check
    from edgeai.config import find_config
    from edgeai.engine import Engine
    from edgeai.metrics import Metrics
    from edgeai.replay import FileSink, FileSource, TableOptions
    from edgeai.runtime import build_pipelines, reset_prefix

    _log_to_stderr(log_level)
    if time_unit not in {None, "s", "ms", "us", "ns", "iso"}:
        raise typer.BadParameter("--time-unit must be one of s, ms, us, ns, iso")
    if len(delimiter) != 1:
        raise typer.BadParameter("--delimiter must be one character")
    plan = check(find_config(config))
    metrics = Metrics()
    pipelines = build_pipelines(plan, metrics)
    _keep_inputs(files, [output, alarms])
    options = TableOptions(pipeline, asset, asset_column, time_column, time_unit, delimiter)
    source = FileSource(files, pipelines, plan.config.limits, metrics, options)
    with ExitStack() as stack:
        target = _open(stack, output)
        sink = FileSink(target, _open(stack, alarms) if alarms is not None else None)
        prefix = reset_prefix(plan.config.node)
        engine = Engine(pipelines, source, sink, metrics, reset_prefix=prefix, clock_ns=None)
        advance = _progress(stack, source.total_bytes)
        while not source.exhausted:
            engine.turn(0)
            advance(source.read_bytes)
        engine.finish()
    typer.echo(f"{engine.received} messages, {engine.predicted} predictions in {output}", err=True)
    for line in _dropped(metrics):
        typer.echo(line, err=True)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(metavar="TRAIN.YAML", help="The recipe.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the package; default: the recipe's.")
    ] = None,
) -> None:
    """Train a model package from its recipe (needs the extra `train`)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from edgeai.training import train as train_package

    console = Console(stderr=True)
    columns = TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total, note=note)
            bar.update(tasks[stage], completed=done, total=total, note=note)

        report = train_package(recipe, output, show)
    manifest = report.package.manifest
    typer.echo(
        f"{manifest.name} {manifest.version}: threshold {manifest.threshold.value:g}, "
        f"{report.seconds:.0f} s, in {report.package.folder}"
    )


def _keep_inputs(inputs: list[Path], outputs: list[Path | None]) -> None:
    """Refuse an output that is an input: opening it would empty a recording."""
    from edgeai.errors import Problem

    read = {path.resolve() for path in inputs}
    written: set[Path] = set()
    for path in outputs:
        if path is None:
            continue
        if path.resolve() in read:
            raise ConfigError([Problem(str(path), "", "the output must not be an input")])
        if path.resolve() in written:
            rule = "predictions and alarms must be two files"
            raise ConfigError([Problem(str(path), "", rule)])
        written.add(path.resolve())


def _open(stack: ExitStack, path: Path) -> Any:
    try:
        return stack.enter_context(path.open("wb"))
    except OSError as error:
        from edgeai.errors import Problem

        problem = Problem(str(path), "", f"cannot be written: {error.strerror}")
        raise ConfigError([problem]) from error


def _progress(stack: ExitStack, total: int) -> Callable[[int], None]:
    """Show a progress bar on a terminal; return the function that moves it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        return lambda _position: None
    bar = stack.enter_context(Progress(console=console))
    task = bar.add_task("replay", total=total)
    return lambda position: bar.update(task, completed=position)


def _dropped(metrics: Any) -> list[str]:
    """Return a line for each reason for which something was dropped or could not be used."""
    lines = []
    names = {
        "edgeai_dropped": "dropped",
        "edgeai_messages_unrouted": "dropped",
        "edgeai_invalid_values": "invalid values",
        "edgeai_window_resets": "windows emptied",
    }
    for family in metrics.registry.collect():
        for sample in family.samples:
            if family.name in names and sample.name.endswith("_total") and sample.value:
                who = sample.labels.get("pipeline", "no pipeline")
                lines.append(
                    f"{who}: {sample.value:.0f} {names[family.name]}, {sample.labels['reason']}"
                )
    return lines
