"""A real Prometheus for tests, and what its HTTP API answers."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.brokers import free_port
from tests.support.live import patient, wait_for
from tests.support.monitoring import find, running_program

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")


class QueryError(Exception):
    """Prometheus refused an expression: it says why."""


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the HTTP API; None while nobody answers.

        Raises:
            QueryError: Prometheus refuses the request.
        """
        text = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(
                f"{self.url}/api/v1/{path}?{text}", timeout=patient(10)
            ) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise QueryError(f"{parameters}: {error.read().decode()}") from error
        except OSError:
            return None

    def query(self, expression: str) -> list[Any]:
        """Return the samples of an expression now."""
        data = self.get("query", query=expression)
        return [] if data is None else list(data["result"])

    def value(self, expression: str) -> float:
        """Wait until an expression has a sample, and return the first one's value."""
        found = wait_for(lambda: self.query(expression), expression)
        return float(found[0]["value"][1])

    def targets(self) -> list[Any]:
        """Return what it scrapes."""
        data = self.get("targets")
        return [] if data is None else list(data["activeTargets"])

    def wait_scraped(self, targets: int = 1) -> None:
        """Wait until this many targets are up."""
        wait_for(lambda: len(self.query("up == 1")) >= targets, "the scrape", 30)


def write_scrape_config(path: Path, jobs: dict[str, str], **more: Any) -> Path:
    """Write a configuration that scrapes addresses (`host:port`) every second, by job."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]}
            for job, address in jobs.items()
        ],
        **more,
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@contextlib.contextmanager
def running_prometheus(config: Path, data: Path, port: int | None = None) -> Iterator[Prometheus]:
    """Run Prometheus with a configuration file.

    Args:
        config: The file.
        data: Folder for its data; its log lies beside it.
        port: To listen on; None: a free one.
    """
    port = port or free_port()
    command = [
        find("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running_program(command, data.with_suffix(".log"), f"http://127.0.0.1:{port}/-/ready"):
        yield Prometheus(port)
