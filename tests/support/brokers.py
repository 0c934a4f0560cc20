"""A real mosquitto for tests: its own folder, a free loopback port, stopped at the end."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeai.demo.broker import find_mosquitto
from tests.support.live import patient

START_SECONDS = patient(10)


@dataclass
class RunningBroker:
    """Where a broker listens, and its process."""

    port: int
    folder: Path
    config: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Stop it as an operator would."""
        self.process.terminate()
        self.process.wait(patient(10))

    def kill(self) -> None:
        """Let it vanish."""
        self.process.kill()
        self.process.wait(patient(10))

    def start_again(self) -> None:
        """Start it on the same port."""
        self.process = _launch(self.config, self.folder, self.port)


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def start_mosquitto(folder: Path, *lines: str, anonymous: bool = True) -> Iterator[RunningBroker]:
    """Run mosquitto with further configuration lines."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (make test installs it where it may)")
    port = free_port()
    text = [
        f"listener {port} 127.0.0.1",
        f"allow_anonymous {'true' if anonymous else 'false'}",
        "set_tcp_nodelay true",
        "max_queued_messages 0",
        "user root",
        *lines,
    ]
    with run_mosquitto(folder, text, port) as running:
        yield running


@contextlib.contextmanager
def run_mosquitto(folder: Path, lines: list[str], port: int) -> Iterator[RunningBroker]:
    """Run mosquitto with a whole configuration, which listens on a port."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    running = RunningBroker(port, folder, config, _launch(config, folder, port))
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(patient(10))


def _launch(config: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    program = find_mosquitto()
    assert program is not None
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"mosquitto did not start: {(folder / 'log').read_text()}")
