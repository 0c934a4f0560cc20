"""The broker of the demo: mosquitto if it is installed, else amqtt, a broker in Python.

    python -m edgeai.demo.broker PORT    runs amqtt

amqtt supports only MQTT 3.1.1 and is slow. It comes with the extra `demo`, and is not for
production.
"""

import asyncio
import contextlib
import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from edgeai.errors import TransportError, install_extra

START_SECONDS = 15.0


def find_mosquitto() -> str | None:
    """Return the path of mosquitto, or None. On Debian it is only in the PATH of root."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port(preferred: int) -> int:
    """Return a free loopback port, the preferred one if possible."""
    for port in (preferred, 0):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return int(sock.getsockname()[1])
    raise TransportError("no free TCP port on 127.0.0.1")


@contextlib.contextmanager
def embedded_broker(folder: Path, port: int) -> Iterator[str]:
    """Run a broker on loopback while the context is open; yield its name.

    Args:
        folder: Folder for its configuration and log.
        port: TCP port of the broker.

    Raises:
        TransportError: Neither mosquitto nor amqtt is installed, or it does not start.
    """
    program = find_mosquitto()
    if program is not None:
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
            "persistence false\n"
        )
        name, command = "mosquitto", [program, "-c", str(config)]
    elif importlib.util.find_spec("amqtt") is not None:
        name, command = "amqtt", [sys.executable, "-m", "edgeai.demo.broker", str(port)]
    else:
        raise TransportError(
            "the demo needs a broker: install mosquitto from your system's packages, "
            f"or, for one in Python, {install_extra('demo')}"
        )
    log = folder / "broker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        _wait_until_listening(process, port, name, log)
        yield name
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        process.kill()


def _wait_until_listening(
    process: subprocess.Popen[bytes], port: int, name: str, log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise TransportError(f"{name} does not start: {last[0] if last else 'its log is empty'}")


async def _run_amqtt(port: int) -> None:
    from amqtt.broker import Broker

    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run_amqtt(int(sys.argv[1])))
