"""Run a mosquitto on a free loopback port."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import start_program
from edgeai.demo.broker import find_mosquitto, free_port

START_SECONDS = 10.0
SETTINGS = (
    "user root",  # only has an effect for root; needed to read the certificate in our folder
    "allow_anonymous true",
    "set_tcp_nodelay true",
    "max_queued_messages 0",
    "max_inflight_messages 0",
    "persistence false",
    "sys_interval 0",
)
"""No delay by Nagle's algorithm, and no messages dropped by limits of the broker."""


@dataclass(frozen=True)
class Broker:
    """Ports and process id of the broker."""

    port: int
    tls_port: int
    pid: int


class BrokerMissingError(RuntimeError):
    """Mosquitto is not installed, or does not start."""


@contextlib.contextmanager
def run_broker(folder: Path, certificate: Path | None = None) -> Iterator[Broker]:
    """Run mosquitto while the context is open.

    Args:
        folder: Folder for its configuration and log.
        certificate: File with certificate and key; if given, a second port uses TLS.
    """
    program = find_mosquitto()
    if program is None:
        raise BrokerMissingError(
            "mosquitto is not installed (make bench installs it if it has the rights)"
        )
    port, tls_port = free_port(0), 0
    lines = [f"listener {port} 127.0.0.1", *SETTINGS]
    if certificate is not None:
        tls_port = free_port(0)
        lines += [f"listener {tls_port} 127.0.0.1", "allow_anonymous true"]
        lines += [f"certfile {certificate}", f"keyfile {certificate}"]
    config, log = folder / "mosquitto.conf", folder / "mosquitto.log"
    config.write_text("\n".join(lines) + "\n")
    process = start_program([program, "-c", str(config)], log)
    try:
        _wait_until_listening(process, port, log)
        yield Broker(port, tls_port, process.pid)
    finally:
        process.kill()
        process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import socket

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise BrokerMissingError(f"mosquitto does not start: {log.read_text(errors='replace')[-300:]}")


def broker_version() -> str:
    """Return mosquitto's version, or an empty text."""
    program = find_mosquitto()
    if program is None:
        return ""
    output = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    return output.splitlines()[0].removeprefix("mosquitto version ") if output else ""
