"""Run the demo: broker, simulated line, runtime, and a live table of predictions.

Only the line is simulated (`edgeai.plant`). The processes communicate over MQTT, and the runtime is
`edgeai run` with the shipped config `demo.yaml`.
"""

import contextlib
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import webbrowser
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from edgeai import paths, stop_signals
from edgeai.demo.broker import embedded_broker, free_port
from edgeai.demo.predictions_table import predictions_table
from edgeai.demo.watcher import Watcher
from edgeai.errors import TransportError
from edgeai.plant.line import ASSETS, make_machine

START_SECONDS = 30.0
REFRESH_SECONDS = 0.25
INJECT_ASSET, INJECT_FAULT = "moulding-1", "coolant_blocked"
INJECT_AFTER_SECONDS = 8.0
CLEAR_AFTER_SECONDS = 30.0
DETECT_SECONDS = 8.0  # the fault must be detected within this time after injection
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HANGUP = "SIGHUP"  # the terminal is closed
TOKEN_BYTES = 12  # 16 characters
LOGGED_LINES = 15  # lines of the logs that an error message shows


@dataclass(frozen=True)
class Scene:
    """The running demo: its processes and the watcher."""

    folder: Path
    """Folder with configuration and logs."""
    parts: dict[str, subprocess.Popen[bytes]]
    watcher: Watcher

    def require_alive(self) -> None:
        """Raise TransportError with the end of the logs if a process has ended."""
        for name, process in self.parts.items():
            if process.poll() is not None:
                logs = sorted(self.folder.glob("*.log"))
                text = "\n".join(path.read_text(errors="replace") for path in logs)
                tail = "\n".join(text.strip().splitlines()[-LOGGED_LINES:])
                raise TransportError(f"{name} ended with {process.returncode}:\n{tail}")

    def wait_online(self, stop: list[str]) -> None:
        """Wait until the runtime is online, or a signal stops the demo.

        Raises:
            TransportError: The runtime is not online after START_SECONDS.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self.watcher.online and not stop:
            self.watcher.listen(REFRESH_SECONDS)
            self.require_alive()
            if time.monotonic() > deadline:
                raise TransportError(f"the runtime is not ready after {START_SECONDS:.0f} s")


@dataclass(frozen=True)
class Addresses:
    """Where to look, and the token of the page's commands."""

    page: str
    port: int
    """Port of the broker."""
    broker: str
    """Name of the broker."""
    token: str


def run_demo(seconds: float | None, console: Console, *, open_page: bool = False) -> int:
    """Run the demo and return the exit code.

    Args:
        seconds: Duration after the runtime is online; None: until Ctrl-C.
        console: Console for the table.
        open_page: Whether to open the page in the user's browser.

    Returns:
        0 if predictions were published, and the injected fault was detected or there was not enough
        time for it; else 1.

    Raises:
        TransportError: No broker is installed, or a process of the demo ended.
    """
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_signals.collected(*STOP_SIGNALS))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeai-demo-")))
        port = free_port(1883)
        broker = stack.enter_context(embedded_broker(folder, port))
        token = secrets.token_urlsafe(TOKEN_BYTES)
        config, page = _write_config(folder, port, broker, token)
        faults = _write_faults(folder)
        watcher = Watcher(port)
        stack.callback(watcher.close)
        parts = {
            "the runtime": _start(
                stack, folder, "run", str(config), "--simulated-faults", str(faults)
            ),
            "the simulated line": _start(stack, folder, "plant", "--port", str(port)),
        }
        scene = Scene(folder, parts, watcher)
        scene.wait_online(stop)
        try:
            addresses = Addresses(page, port, broker, token)
            if open_page and not stop:
                webbrowser.open(f"{page}/")
            return _present(scene, seconds, console, stop, addresses)
        except OSError:
            if HANGUP not in stop:
                raise
            return 0  # the terminal is closed, so nothing can be printed


def _present(
    scene: Scene,
    seconds: float | None,
    console: Console,
    stop: list[str],
    addresses: Addresses,
) -> int:
    """Print where to look, show the table until the end, and return the exit code."""
    if stop:
        return 0
    page, port = addresses.page, addresses.port
    console.print(f"[bold]edgeai demo[/bold]: a [bold]simulated[/bold] line on {addresses.broker}")
    console.print(f"  status page   [bold]{page}/[/bold]", soft_wrap=True)
    console.print(
        f"  its token     {addresses.token}   (to inject a fault on the page)",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"  metrics       {page}/metrics")
    console.print(f"  broker        127.0.0.1:{port}   (mosquitto_sub -p {port} -t 'edgeai/#')")
    console.print(
        f"  inject        mosquitto_pub -p {port} -t factory/agitator-1/command "
        """-m '{"fault": "impeller_imbalance"}'""",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"  config        {paths.shipped('configs') / 'demo.yaml'}\n", soft_wrap=True)
    injected_at = _show(scene, seconds, console, stop)
    return 0 if HANGUP in stop else _summary(scene.watcher, injected_at, console)


def _show(scene: Scene, seconds: float | None, console: Console, stop: list[str]) -> float | None:
    """Show the table until the end, and inject a fault; return the time of the injection."""
    watcher = scene.watcher
    started = time.monotonic()
    after = INJECT_AFTER_SECONDS if seconds is None else min(INJECT_AFTER_SECONDS, seconds * 0.4)
    injected_at: float | None = None
    cleared = False
    drawn = 0.0
    was_well = True
    with contextlib.ExitStack() as stack:
        live = None
        if console.is_terminal:
            live = stack.enter_context(Live(console=console, auto_refresh=False))
        while not stop and (seconds is None or time.monotonic() - started < seconds):
            watcher.listen(REFRESH_SECONDS)
            scene.require_alive()
            now = time.monotonic()
            if injected_at is None and now - started >= after:
                watcher.inject(INJECT_ASSET, {"fault": INJECT_FAULT, "severity": 1.0})
                injected_at = now
                if live is None:
                    console.print(f"injected {INJECT_FAULT} into {INJECT_ASSET}")
            elif (
                injected_at is not None and not cleared and now > injected_at + CLEAR_AFTER_SECONDS
            ):
                watcher.inject(INJECT_ASSET, {"clear": "all"})
                cleared = True
            wrong = watcher.trouble()
            shown = Group(
                predictions_table(watcher), *([Text(wrong, style="bold red")] if wrong else [])
            )
            if live is not None:
                live.update(shown, refresh=True)
            elif now - drawn > 5 or (was_well and wrong):
                drawn = now
                console.print(shown)
            was_well = not wrong
    return injected_at


def _summary(watcher: Watcher, injected_at: float | None, console: Console) -> int:
    """Print a summary and return the exit code."""
    console.print(predictions_table(watcher))
    activated = [(at, asset) for at, asset, state in watcher.alarms if state == "active"]
    console.print(f"{watcher.predictions} predictions, alarms: {len(activated)}")
    if watcher.predictions == 0:
        console.print("[bold red]no predictions were published[/]")
        return 1
    if injected_at is None:
        return 0
    found = [at for at, asset in activated if asset == INJECT_ASSET and at >= injected_at]
    if found:
        delay = found[0] - injected_at
        console.print(f"{INJECT_FAULT} in {INJECT_ASSET}: alarm {delay:.1f} s after injection")
        return 0
    if time.monotonic() - injected_at < DETECT_SECONDS:
        console.print(f"{INJECT_FAULT} in {INJECT_ASSET}: not enough time to detect it")
        return 0
    console.print(f"[bold red]{INJECT_FAULT} in {INJECT_ASSET} was not detected[/]")
    return 1


def _write_faults(folder: Path) -> Path:
    """Write the faults that the page may inject: name and description, by asset."""
    faults = {
        asset: {one.name: one.description for one in make_machine(name, 0).faults.values()}
        for asset, name in ASSETS.items()
    }
    path = folder / "faults.json"
    path.write_text(json.dumps(faults), encoding="utf-8")
    return path


def _write_config(folder: Path, port: int, broker: str, token: str) -> tuple[Path, str]:
    """Write the demo config with free ports; return its path and the URL of the status page."""
    config = yaml.safe_load((paths.shipped("configs") / "demo.yaml").read_text(encoding="utf-8"))
    config["broker"]["port"] = port
    if broker == "amqtt":
        config["broker"]["protocol"] = "3.1.1"  # `auto` would find it two seconds later
    secret = folder / "token"
    secret.touch(mode=0o600)
    secret.write_text(token, encoding="utf-8")
    config["http"] = {
        "port": free_port(config.get("http", {}).get("port", 9108)),
        "token": {"file": str(secret)},
        "page_needs_token": False,
    }
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path, f"http://127.0.0.1:{config['http']['port']}"


def _start(
    stack: contextlib.ExitStack, folder: Path, command: str, *arguments: str
) -> subprocess.Popen[bytes]:
    """Start an edgeai command as a process; the stack stops it."""
    with (folder / f"{command}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeai", command, *arguments],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C reaches only this process
        )

    def stop() -> None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()

    stack.callback(stop)
    return process
