"""Commands that run a config, or check it."""

import json
import logging
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeai import stop_signals
from edgeai.cli.logs import FORMAT_VARIABLE, LogStyle, choose_style, log_to_stderr
from edgeai.cli.options import (
    ConfigArgument,
    LogFormat,
    LogLevel,
)
from edgeai.log_events import event

log = logging.getLogger("edgeai")


def run(
    config: ConfigArgument,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
    worker_socket: Annotated[Path | None, typer.Option(hidden=True)] = None,
    simulated_faults: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Connect to the broker and publish predictions until SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # while the models load; the runtime tells it
    try:
        log_to_stderr(choose_style(log_level, log_format))  # for a config that cannot be read
        if worker is not None:
            _run_worker(config, log_level, log_format, worker, worker_socket)
        else:
            _run(config, log_level, log_format, simulated_faults)
    except stop_signals.StoppedError as stopped:
        log.info(
            "%s: stopped before it served", stopped,
            extra=event("start_interrupted", signal=str(stopped)),
        )  # fmt: skip


def _style_of(config: Any, log_level: str | None, log_format: str | None) -> LogStyle:
    """Return how the log of a node with this configuration looks."""
    style = choose_style(
        log_level, log_format, default_level=config.log.level, default_form=config.log.format
    )
    style.node = config.node
    return style


def _run(
    config: str, log_level: str | None, log_format: str | None, simulated_faults: Path | None
) -> None:
    from edgeai.config.node import find_config, load_config

    path = find_config(config)
    loaded = load_config(path)
    style = _style_of(loaded, log_level, log_format)
    if loaded.workers > 1:
        # The supervisor does not import NumPy or ONNX Runtime, so that it stays small.
        from edgeai.workers.supervisor import Supervisor, check_in_child

        style.process = "supervisor"
        log_to_stderr(style)
        with stop_signals.interruptible():
            if code := check_in_child(path, {FORMAT_VARIABLE: style.form}):
                raise typer.Exit(code)
            options = [f"--log-level={style.level}", f"--log-format={style.form}"]
            supervisor = Supervisor(path, loaded, options)
        supervisor.run()
        return
    log_to_stderr(style)
    from edgeai.assembly.plan import check as make_plan
    from edgeai.node.runtime import Runtime

    faults = None
    if simulated_faults is not None:  # written by the demo
        faults = json.loads(simulated_faults.read_text(encoding="utf-8"))
    with stop_signals.interruptible():
        runtime = Runtime(make_plan(path), faults=faults)
    runtime.run()


def _run_worker(
    config: str, log_level: str | None, log_format: str | None, worker: str, socket: Path | None
) -> None:
    """Serve one worker's share of the streams. The supervisor holds the other end of stdin."""
    from edgeai.assembly.plan import check as make_plan
    from edgeai.config.node import find_config, load_config
    from edgeai.engine.sharding import Shard
    from edgeai.node.runtime import Runtime, WorkerRole

    path = find_config(config)
    if socket is None:
        raise typer.BadParameter("--worker is for the supervisor, with --worker-socket")
    try:
        shard = Shard.parse(worker)
    except ValueError as error:
        raise typer.BadParameter(f"--worker {error}") from error
    style = _style_of(load_config(path), log_level, log_format)
    style.process = f"w{shard.number}"
    log_to_stderr(style)
    with stop_signals.interruptible():
        runtime = Runtime(make_plan(path), WorkerRole(shard, socket))
    runtime.run()
    with suppress(OSError):  # if the supervisor is gone, the last worker removes the folder
        socket.parent.rmdir()


def check(config: ConfigArgument) -> None:
    """Validate config, device and models without a network; exit code 2 if there is a problem."""
    from edgeai.assembly.plan import check as make_plan
    from edgeai.assembly.report import describe_plan
    from edgeai.config.node import find_config

    log_to_stderr(LogStyle("error", choose_style(None, None).form))  # warnings are printed below
    for line in describe_plan(make_plan(find_config(config))):
        typer.echo(line)


def health(config: ConfigArgument) -> None:
    """Ask a running node whether it is ready, and why not; exit code 1 if it is not."""
    from edgeai.config.node import find_config
    from edgeai.node.health import report

    raise typer.Exit(report(find_config(config)))
