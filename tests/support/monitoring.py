"""A real Alertmanager for tests, and a receiver of what is sent to people."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.live import patient, wait_for

START_SECONDS = 30.0


def find(*names: str) -> str:
    """Return the path of a program; skip the test if it is not installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"{names[0]} is not installed (make test-system installs it where it may)")


def get_json(url: str) -> Any:
    """Return the content of a page; None if it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=patient(5)) as answer:
            return json.load(answer)
    except OSError:
        return None


@contextlib.contextmanager
def running_program(command: list[str], log: Path, ready_url: str) -> Iterator[None]:
    """Run a program until the end of the context; wait until it is ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(ready_url, timeout=patient(5)):
            return True
        return False

    try:
        wait_for(is_ready, ready_url, START_SECONDS)
        yield
    finally:
        process.kill()
        process.wait(patient(10))


@contextlib.contextmanager
def running_alertmanager(config: Path, data: Path, port: int) -> Iterator[str]:
    """Run Alertmanager with a configuration file; yield its address."""
    command = [
        find("prometheus-alertmanager", "alertmanager"),
        f"--config.file={config}",
        f"--storage.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    url = f"http://127.0.0.1:{port}"
    with running_program(command, data.with_suffix(".log"), f"{url}/-/ready"):
        yield url


class Receiver:
    """A webhook that keeps every alert that it is sent."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        keep = self.alerts.extend

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                keep(json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def firing(self, name: str) -> list[dict[str, Any]]:
        """Return what was sent about a firing alert."""
        return [
            one
            for one in list(self.alerts)
            if one["labels"]["alertname"] == name and one["status"] == "firing"
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(patient(5))
