"""Clients that connect to a server and never complete a request, in a process of their own.

    python -m tests.support.crowd HOST PORT SILENT SLOW

A process of its own, because paho in the test's process uses select(), which takes no descriptor
above 1023. Each client reconnects as soon as it has been dropped.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

SPARE = 100  # descriptors besides those of the clients


@contextlib.contextmanager
def crowd(url: str, *, silent: int, slow: int = 0) -> Iterator[None]:
    """Run clients for the time of a test; skip it where so many may not be opened.

    Args:
        url: Of the server.
        silent: Number of clients that send nothing.
        slow: Number of clients that send a byte now and then.
    """
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < silent + slow + SPARE:
        pytest.skip(f"this system allows fewer than {silent + slow + SPARE} open files")
    host, _, port = url.removeprefix("http://").rpartition(":")
    command = [sys.executable, "-m", "tests.support.crowd", host, port, str(silent), str(slow)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()


def _stay_connected(address: tuple[str, int], silent: int, slow: int) -> None:
    clients = selectors.DefaultSelector()

    def connect(*, is_slow: bool) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(address)
        clients.register(client, selectors.EVENT_READ, is_slow)

    for number in range(silent + slow):
        connect(is_slow=number >= silent)
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
        for key, _ in clients.select(0.1):
            clients.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
            connect(is_slow=key.data)
        for key in list(clients.get_map().values()):
            if key.data:
                with contextlib.suppress(OSError):
                    key.fileobj.send(b"G")  # type: ignore[union-attr]


if __name__ == "__main__":
    count = int(sys.argv[3]) + int(sys.argv[4])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + SPARE, limits[1]))
    _stay_connected((sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4]))
