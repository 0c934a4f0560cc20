"""The command `edgeai`. Errors of the user's files go to stderr, one a line, with exit code 2."""

import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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

    from edgeai.demo.demo import run_demo

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
    from edgeai.demo.plant_publisher import run_plant

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
    from edgeai.config.node import find_config, load_config

    path = find_config(config)
    if worker is not None:
        if worker_socket is None:
            raise typer.BadParameter("--worker is for the supervisor, with --worker-socket")
        _run_worker(path, worker, worker_socket, log_level)
        return
    _log_to_stderr(log_level)
    if (known := load_config(path)).workers > 1:
        # Not imported here: the models' libraries, which the supervisor has no use for.
        from edgeai.workers.supervisor import Supervisor, check_in_child

        if code := check_in_child(path):
            raise typer.Exit(code)
        Supervisor(path, known, log_level).run()
        return
    from edgeai.assembly.plan import check
    from edgeai.node.runtime import Runtime

    Runtime(check(path)).run()


def _run_worker(path: Path, worker: str, socket: Path, log_level: str) -> None:
    """Serve one worker's share; its supervisor is at the other end of standard input."""
    from edgeai.assembly.plan import check
    from edgeai.engine.sharding import Place, Share
    from edgeai.node.runtime import Runtime

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
    from edgeai.assembly.plan import check
    from edgeai.config.node import find_config
    from edgeai.metrics.definitions import Metrics
    from edgeai.node.runtime import ALONE, build_pipelines, close_sessions, settle

    _log_to_stderr("error")  # what is less is printed below
    plan = check(find_config(config))
    pipelines = build_pipelines(plan, Metrics())
    try:
        settle(pipelines)
        providers = {one.name: one.session.provider for one in pipelines}
        reasons = {one.name: one.session.reason for one in pipelines}
    finally:
        close_sessions(pipelines)
    for pipeline in pipelines:
        manifest = pipeline.manifest
        typer.echo(
            f"{pipeline.name}: {manifest.name} {manifest.version} on {providers[pipeline.name]}, "
            f"{pipeline.template.filter} (QoS {pipeline.config.source.qos}), "
            f"{len(pipeline.signals)} signals, window {pipeline.settings.length}, "
            f"hop {pipeline.settings.hop}, threshold {pipeline.rule.threshold:g}"
        )
        if reasons[pipeline.name]:
            why = f"{pipeline.session.requested} was asked for; {reasons[pipeline.name]}"
            typer.echo(f"{pipeline.name}: note: {why}")
        if pipeline.session.batch_multiple is None:
            typer.echo(f"{pipeline.name}: note: {ALONE}")
        if plan.config.workers > 1 and not pipeline.template.fields:
            rule = "captures nothing, so it is one stream, and one worker's"
            typer.echo(f"{pipeline.name}: note: {pipeline.template.filter} {rule}")
    typer.echo(f"{plan.path}: ok")


@app.command()
def devices(
    config: Annotated[
        str | None,
        typer.Argument(metavar="[CONFIG]", help="Whose models and device; default: the shipped."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="FILE", help="Another device: a name, or a YAML file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
    fresh: Annotated[bool, typer.Option(help="Prove again what has been proven.")] = False,
) -> None:
    """Prove and measure every execution provider for every model, and say which is chosen."""
    from rich.console import Console

    from edgeai.assembly.plan import check, check_installation, load_profile, load_shipped_packages
    from edgeai.config.node import find_config
    from edgeai.paths import default_state_folder
    from edgeai.providers.selection import survey

    if config is not None:
        plan = check(find_config(config))
        packages = list({one.folder: one for one in plan.packages.values()}.values())
        profile, state_folder = plan.device, plan.state_folder
    else:
        check_installation()
        state_folder = default_state_folder()
        packages = load_shipped_packages(state_folder)
        profile = load_profile(device or "auto", Path("--device"))
    if device is not None:
        profile = load_profile(device, Path("--device"))
    console = Console(stderr=True)
    with console.status("") as status:
        result = survey.survey(packages, profile, state_folder, fresh=fresh, note=status.update)
    if as_json:
        typer.echo(json.dumps(survey.as_json(result), indent=2))
        return
    for line in survey.summary(result):
        typer.echo(line)
    typer.echo("p50/p99 of a call in µs, with the way to its process")
    out = Console()
    for table in survey.as_tables(result):
        out.print(table)


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="config, device or model.")] = "config",
) -> None:
    """Print the JSON Schema of a file, with which an editor completes and checks it."""
    from pydantic import BaseModel

    from edgeai.config.device import Device
    from edgeai.config.node import Config
    from edgeai.model.manifest import Manifest

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
    from edgeai.assembly.plan import check
    from edgeai.config.node import find_config
    from edgeai.engine.engine import Engine
    from edgeai.metrics.definitions import Metrics
    from edgeai.node.runtime import (
        build_pipelines,
        close_sessions,
        reset_prefix,
        settle,
        watch_over,
    )
    from edgeai.replay.source import FileSink, FileSource, TableOptions

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
        stack.callback(close_sessions, pipelines)
        settle(pipelines)
        target = _open(stack, output)
        sink = FileSink(target, _open(stack, alarms) if alarms is not None else None)
        prefix = reset_prefix(plan.config.node)
        watch = watch_over(pipelines, metrics, plan.config.node, topic="")
        engine = Engine(
            pipelines, source, sink, metrics, reset_prefix=prefix, clock_ns=None, watch=watch
        )
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
    """Train what a recipe asks for: a package, or a reference problem (extra `train`)."""
    from rich.console import Console

    from edgeai.training.dispatch import train_recipe

    with _stages(Console(stderr=True)) as show:
        made = train_recipe(recipe, output, show)
    typer.echo(made)


@contextmanager
def _stages(console: Any) -> Iterator[Callable[..., None]]:
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


@app.command("quantize")
def quantize_command(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of a model package.")],
    to: Annotated[str, typer.Option(help="fp16 or int8.")] = "int8",
    windows: Annotated[
        str, typer.Option(help="An .npz file with `window` (N, W, C), or golden.")
    ] = "golden",
    output: Annotated[
        Path | None, typer.Option(help="Folder of a new package; default: into PACKAGE.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Relative; default 0.005 for fp16, 0.05 for int8.")
    ] = None,
    allow_int8_residual: Annotated[
        bool, typer.Option("--allow-int8-residual", help="Make int8 of a physics-informed model.")
    ] = False,
) -> None:
    """Add an fp16 or int8 variant to a model package, and say what it costs."""
    from rich.console import Console

    from edgeai.paths import default_state_folder
    from edgeai.quantize import quantize

    if to not in {"fp16", "int8"}:
        raise typer.BadParameter("--to must be fp16 or int8")
    with _stages(Console(stderr=True)) as show:
        report = quantize(
            package,
            "fp16" if to == "fp16" else "int8",
            state_folder=default_state_folder(),
            windows=None if windows == "golden" else Path(windows),
            output=output,
            tolerance=tolerance,
            allow_int8_residual=allow_int8_residual,
            progress=show,
        )
    for line in report.lines():
        typer.echo(line)


@app.command("evaluate")
def evaluate_command(
    what: Annotated[str, typer.Argument(help="pinn: the physics-informed reference problems.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the public data; default: beside the checkout.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print what stored models reach, published beside measured; exit code 1 if short of it."""
    from rich.console import Console

    from edgeai.training.pinn.evaluate import evaluate_pinn, identifiability
    from edgeai.training.pinn.show import figures_table

    if what != "pinn":
        raise typer.BadParameter("must be pinn")
    with _stages(Console(stderr=True)) as show:
        figures = evaluate_pinn(data, show)
    missed = [figure for figure in figures if figure.judged and not figure.met]
    notes = identifiability(data)
    if as_json:
        found = [figure.as_json() for figure in figures]
        typer.echo(json.dumps({"figures": found, "notes": notes, "missed": len(missed)}, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 160).print(figures_table(figures))
        for line in [*notes, f"{len(missed)} targets missed"]:
            typer.echo(line)
    if missed:
        raise typer.Exit(1)


@app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.PY", help="Your network and equation.")],
    output: Annotated[Path, typer.Option(help="The ONNX file.")],
    opset: Annotated[int, typer.Option(help="13 to 18.", min=13, max=18)] = 17,
) -> None:
    """Write your own torch network and equation as ONNX: field, parameters, residual (see docs)."""
    from edgeai.training.extra import library

    library("torch", "edgeai export")
    from edgeai.training.pinn.own import export_own, load_own

    _keep_inputs([file], [output])
    model = load_own(file)
    made = export_own(model, output.stem, opset)
    with ExitStack() as stack:
        _open(stack, output).write(made.model.SerializeToString(deterministic=True))
    typer.echo(f"{output}: {made.nodes} operators, opset {opset}, batch symbolic")
    for item in model.outputs():
        agreement = f"agrees with float64 within {made.errors[item['name']]:.1e}"
        typer.echo(f"  {item['name']} [{item['unit']}]: {item['meaning']}; {agreement}")


@app.command("report")
def report_command(
    package: Annotated[
        str, typer.Argument(metavar="PACKAGE", help="A model's folder, or a shipped model's name.")
    ],
    recording: Annotated[
        Path, typer.Option("--input", help="CSV, Parquet or JSON lines with the model's signals.")
    ],
    output: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    time_column: Annotated[str, typer.Option(help="Of a table, ms.")] = "timestamp",
) -> None:
    """Write what a model says of a recording as one HTML page: field, estimates, alarms."""
    from edgeai.paths import shipped
    from edgeai.training.report.html import page
    from edgeai.training.report.report import tell

    folder = Path(package)
    if not folder.exists():
        folder = shipped("models") / package
    _keep_inputs([recording], [output])
    told = tell(folder, recording, time_column)
    with ExitStack() as stack:
        _open(stack, output).write(page(told).encode())
    typer.echo(f"{output}: {len(told.at)} windows, {len(told.alarms)} alarms")


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
