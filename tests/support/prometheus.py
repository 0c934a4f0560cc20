"""A real Prometheus for tests: its own folder, a free loopback port, stopped at the end."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.brokers import free_port
from tests.support.live import patient, wait_for

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")


class QueryError(Exception):
    """Prometheus refused an expression: it says why."""


class RunningPrometheus:
    """Where a Prometheus listens, and what it answers."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.port = port
        self.process = process
        self.log_path = log

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the HTTP API; None while nobody listens.

        Raises:
            QueryError: Prometheus answers with an error.
        """
        text = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{text}"
        try:
            with urllib.request.urlopen(url, timeout=patient(10)) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                body = error.read().decode()
            if error.code == 503:  # it starts
                return None
            raise QueryError(f"{parameters}: {body}") from error
        except OSError:
            assert self.process.poll() is None, self.log_path.read_text()
            return None

    def query(self, expression: str) -> list[Any]:
        """Return the result of an instant query; a list that is empty before the first answer."""
        data = self.get("query", query=expression)
        if data is None:
            return []
        return [data["result"]] if data["resultType"] == "scalar" else list(data["result"])

    def value(self, expression: str) -> float:
        """Wait until a query has a result, and return its first value."""
        found = wait_for(lambda: self.query(expression), expression)
        return float(found[0]["value"][1])

    def wait_scraped(self, targets: int = 1) -> None:
        """Wait until this many targets are up."""
        wait_for(
            lambda: len(self.query("up == 1")) >= targets,
            f"the scrape, log: {self.log_path.read_text()}", 30,
        )  # fmt: skip


def scrape_config(jobs: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return a configuration that scrapes addresses (`host:port`) every second, by job."""
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]}
            for job, address in jobs.items()
        ],
        **more,
    }


@contextlib.contextmanager
def running_prometheus(folder: Path, config: str | dict[str, Any]) -> Iterator[RunningPrometheus]:
    """Run a Prometheus for the time of a test.

    Args:
        folder: For its configuration, data and log.
        config: Content of its configuration file. Relative paths in it start at `folder`.
    """
    assert PROMETHEUS is not None
    folder.mkdir(parents=True, exist_ok=True)
    text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
    (folder / "prometheus.yml").write_text(text)
    port, log = free_port(), folder / "prometheus.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=file,
            stderr=file,
        )
    try:
        yield RunningPrometheus(port, process, log)
    finally:
        process.kill()
        process.wait(patient(10))
