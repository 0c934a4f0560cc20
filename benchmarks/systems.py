"""The systems under test: their commands for a workload, and how they report ready."""

import contextlib
import functools
import http.client
import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks import child_device
from benchmarks.broker import Broker
from benchmarks.frame_load import Frames
from benchmarks.models import NEVER
from benchmarks.processes import start_program
from benchmarks.workload import Workload
from edgeai.demo.broker import free_port

HERE = Path(__file__).parent
ROOT = HERE.parent
OUT = HERE / "out"
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
PEER_TOPIC = "bench-out"


@dataclass(frozen=True)
class Options:
    """Settings of edgeai that affect its cost."""

    qos_out: int = 0
    top: int = 3
    http: bool = True
    tls: bool = False
    child: bool = False
    """Serve from a child process (`benchmarks.child_device`)."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further top-level keys of the configuration."""


@dataclass(frozen=True)
class Setting:
    """Everything that a system needs to start."""

    folder: Path
    broker: Broker
    load: Workload
    package: Path
    options: Options
    http_port: int
    certificate: Path | None = None


@dataclass(frozen=True)
class System:
    """One system under test."""

    name: str
    title: str
    command: Callable[[Setting], list[str]]
    kind: Literal["prediction", "echo"] = "prediction"
    is_edgeai: bool = False

    @property
    def output_filter(self) -> str:
        """Topic filter of its outputs."""
        return "edgeai/bench/predictions/#" if self.is_edgeai else f"{PEER_TOPIC}/#"


def edgeai_config(setting: Setting) -> dict[str, Any]:
    """Return edgeai's configuration for a workload."""
    load, options, broker = setting.load, setting.options, setting.broker
    source: dict[str, Any] = {"layout": load.layout, "qos": load.qos}
    stream: dict[str, Any] = {}
    if load.layout == "tag":
        source |= {"topic": "bench/{asset}/{signal}", "time": {"path": "t", "unit": "ms"}}
        source |= {"value_path": "v"}
        stream = {"alignment": "hold"}
    elif load.layout == "frame":
        source |= {"topic": "bench/{asset}/frame", "frame": {"type": "binary"}}
    else:
        source |= {"topic": "bench/{asset}/row", "time": {"path": "timestamp", "unit": "ms"}}
        source |= {"values_path": "values"}
    connection: dict[str, Any] = {"host": "127.0.0.1", "port": broker.port}
    if options.tls:
        connection["port"] = broker.tls_port
        connection["tls"] = {"ca_file": str(setting.certificate)}
    return {
        "node": "bench",
        "broker": connection,
        "http": {"enabled": options.http, "port": setting.http_port},
        "state_folder": str(setting.folder / "state"),
        "pipelines": {
            name: {
                "model": str(setting.package.with_name(name)),
                "source": source,
                "stream": stream,
                "publish": {"qos": options.qos_out, "top": options.top},
            }
            for name in load.pipelines
        },
        **options.more,
    }


def _edgeai_command(setting: Setting) -> list[str]:
    config = setting.folder / "edgeai.yaml"
    document = edgeai_config(setting)
    environment = []
    if setting.options.child:
        site, profile = child_device.install(setting.folder)
        document["device"] = str(profile)
        environment = ["env", f"PYTHONPATH={site}"]
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    return [*environment, *edgeai_command(config)]


def edgeai_command(config: Path) -> list[str]:
    """Return the command that runs edgeai with a configuration."""
    return [sys.executable, "-m", "edgeai", "run", str(config), "--log-level", "warning"]


def _peer_settings(setting: Setting) -> str:
    load = setting.load
    return json.dumps(
        {
            "port": setting.broker.port,
            "model": str(setting.package / "model.onnx"),
            "filter": load.topic_filter,
            "out": PEER_TOPIC,
            "length": load.length,
            "hop": load.hop,
            "signals": load.signals,
            "threshold": NEVER,
            "tags": load.layout == "tag",
            "rms": isinstance(load, Frames) and load.model == "rms",
        }
    )


def _python_peer(script: str, setting: Setting) -> list[str]:
    return [sys.executable, str(HERE / "peers" / script), _peer_settings(setting)]


def _node_command(setting: Setting) -> list[str]:
    return ["node", str(OUT / "node" / "node.mjs"), _peer_settings(setting)]


EDGEAI = System("edgeai", "edgeai", _edgeai_command, is_edgeai=True)
SCRIPT = System("script", "paho + json script", functools.partial(_python_peer, "hand_written.py"))
TUNED = System("tuned_script", "the same, tuned", functools.partial(_python_peer, "tuned.py"))
NODE = System("node", "Node.js", _node_command)
FRAME_SCRIPT = System("script", "paho + NumPy script", functools.partial(_python_peer, "frames.py"))
ECHO = System("echo", "paho echo", functools.partial(_python_peer, "echo.py"), kind="echo")


@contextlib.contextmanager
def run_system(system: System, setting: Setting) -> Iterator[subprocess.Popen[bytes]]:
    """Run a system while the context is open; it is ready when the context begins."""
    log = setting.folder / f"{system.name}.log"
    process = start_program(system.command(setting), log, cwd=ROOT, read=not system.is_edgeai)
    try:
        if not _wait_until_ready(system, setting, process):
            output = log.read_text(errors="replace")[-500:]
            raise RuntimeError(f"{system.title} does not become ready: {output}")
        yield process
    finally:
        stop(process)


def _wait_until_ready(system: System, setting: Setting, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    if system.is_edgeai and setting.options.http:
        while time.monotonic() < deadline and process.poll() is None:
            if is_ready(setting.http_port):
                return True
            time.sleep(0.02)
        return False
    if system.is_edgeai:
        # Without an endpoint the retained status shows it.
        return _wait_for_status(setting.broker.port, deadline)
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
    return bool(readable) and process.stdout.readline().strip() == b"ready"


def is_ready(http_port: int) -> bool:
    """Return whether edgeai reports ready."""
    try:
        return ask(http_port, "/readyz")[0] == 200
    except OSError:
        return False


def ask(http_port: int, path: str) -> tuple[int, str]:
    """Request a path from edgeai's endpoint; return status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _wait_for_status(port: int, deadline: float) -> bool:
    from benchmarks.wire import open_client

    sock = open_client(port, "bench-status", "edgeai/bench/status")
    with sock:
        sock.settimeout(0.1)
        seen = b""
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                seen += sock.recv(65_536)
            if b'"online"' in seen:
                return True
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process with SIGTERM, and with SIGKILL if it does not end in time."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def setting_for(
    folder: Path,
    broker: Broker,
    load: Workload,
    package: Path,
    options: Options,
    certificate: Path | None = None,
) -> Setting:
    """Return a setting with a free port for edgeai's endpoint."""
    return Setting(folder, broker, load, package, options, free_port(0), certificate)
