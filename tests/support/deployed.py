"""The shipped `deploy/` without containers: the same files, with paths and ports of this machine.

What is replaced is listed here, and nothing else: paths inside the containers, host names of the
containers, ports, and times that a test cannot wait for.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import yaml

from edgeai.config.broker import Broker, Secret, Tls
from edgeai.config.limits import Limits
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.mqtt import Connection
from edgeai.plant.line import Line
from tests.support.brokers import free_port
from tests.support.live import PATIENCE_SECONDS, patient, wait_for
from tests.support.paths import REPOSITORY

SHIPPED = REPOSITORY / "deploy"
EXPECTED_SECONDS = min(patient(5.0), 8.0)
"""`source.expect_within_seconds` in the copy; a machine is stale only after 10 s."""
BUDGET_SECONDS = patient(10.0)  # publish.latency_budget_seconds: a busy machine is no finding here


class Deployed:
    """A copy of `deploy/` that runs on this machine."""

    def __init__(self, folder: Path, receiver_url: str) -> None:
        """Copy it, make its secrets, and put in what is different here."""
        self.folder = folder
        unmade = shutil.ignore_patterns("secrets", "models", "systemd")
        shutil.copytree(SHIPPED, folder, ignore=unmade)
        self.init_output = self.init()
        names = ("broker", "health", "http", "alertmanager")
        self.ports = {name: free_port() for name in names}
        (folder / "data").mkdir()
        self._adapt_broker()
        self._adapt_node()
        self._adapt_monitoring(receiver_url)

    def init(self, *arguments: str) -> str:
        """Run `init.sh`."""
        command = [str(self.folder / "init.sh"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def secret(self, name: str) -> str:
        """Return a secret."""
        return (self.folder / "secrets" / name).read_text().strip()

    @property
    def broker_lines(self) -> list[str]:
        """The lines of mosquitto.conf."""
        return (self.folder / "mosquitto" / "mosquitto.conf").read_text().splitlines()

    def _replace(self, file: str, *changes: tuple[str, str]) -> None:
        path = self.folder / file
        text = path.read_text().replace("/run/secrets/", f"{self.folder}/secrets/")
        for old, new in changes:
            assert old in text, f"{file}: {old}"
            text = text.replace(old, new)
        path.write_text(text)

    def _adapt_broker(self) -> None:
        self._replace(
            "mosquitto/mosquitto.conf",
            ("/mosquitto/config/", f"{self.folder}/mosquitto/"),
            ("/mosquitto/data/", f"{self.folder}/data/"),
            ("listener 8883\n", f"listener {self.ports['broker']} 127.0.0.1\n"),
            ("listener 1880 127.0.0.1\n", f"listener {self.ports['health']} 127.0.0.1\n"),
            # The tests run as root; mosquitto would leave root and could not read the secrets.
            ("per_listener_settings true\n", "per_listener_settings true\nuser root\n"),
        )

    def _adapt_node(self) -> None:
        self._replace(
            "edgeai/config.yaml",
            ("host: mosquitto", "host: localhost"),
            ("port: 8883", f"port: {self.ports['broker']}"),
            ("host: 0.0.0.0 ", "host: 127.0.0.1 "),
            ("port: 8080", f"port: {self.ports['http']}"),
            ("/var/lib/edgeai", f"{self.folder}/state"),
            (
                "    alarm:\n",
                f"    publish: {{latency_budget_seconds: {BUDGET_SECONDS}}}\n    alarm:\n",
            ),
            ("      qos: 1 ", f"      expect_within_seconds: {EXPECTED_SECONDS}\n      qos: 1 "),
        )

    def _adapt_monitoring(self, receiver_url: str) -> None:
        self._replace(
            "prometheus/prometheus.yml",
            ("edgeai:8080", f"127.0.0.1:{self.ports['http']}"),
            ("alertmanager:9093", f"127.0.0.1:{self.ports['alertmanager']}"),
            ("_interval: 10s", "_interval: 1s"),
        )
        rules = self.folder / "prometheus" / "rules" / "alerts.yaml"
        shipped = yaml.safe_load(rules.read_text())
        rules.write_text(re.sub(r"\bfor: (\d+)m\b", r"for: \1s", rules.read_text()))
        shortened = yaml.safe_load(rules.read_text())
        pairs = zip(shipped["groups"][0]["rules"], shortened["groups"][0]["rules"], strict=True)
        assert all(one["expr"] == other["expr"] for one, other in pairs)
        path = self.folder / "alertmanager" / "alertmanager.yml"
        content = yaml.safe_load(path.read_text())
        content["receivers"][0]["webhook_configs"] = [{"url": receiver_url}]
        content["route"] |= {"group_wait": "0s", "group_interval": "1s"}
        path.write_text(yaml.safe_dump(content))


class SimulatedLine:
    """Machines that publish over TLS with a login, as controllers do, in a thread of their own."""

    def __init__(self, deployed: Deployed, user: str = "line") -> None:
        self._line = Line({"moulding-1": "moulding", "moulding-2": "moulding"})
        secrets = deployed.folder / "secrets"
        broker = Broker(
            host="localhost",
            port=deployed.ports["broker"],
            username=user,
            password=Secret(file=str(secrets / f"mqtt_{user}_password")),
            tls=Tls(ca_file=str(secrets / "mqtt_ca_certificate")),
        )
        self._connection = Connection(broker, "line", {}, Limits(), Metrics())
        self._commands: list[dict[str, str]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def inject(self, asset: str, fault: str) -> None:
        """Start a fault in a machine."""
        self._commands.append({"asset": asset, "fault": fault})
        wait_for(lambda: self._line.active_faults[asset], "the fault")

    def stop(self) -> None:
        """Stop sending."""
        self._stopped.set()
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._connection.receive(0.02)
            while self._commands:
                command = self._commands.pop()
                payload = json.dumps({"fault": command["fault"]}).encode()
                self._line.handle(f"factory/{command['asset']}/command", payload)
            due = self._line.step(time.time_ns())
            if self._connection.connected:
                self._connection.publish(
                    [
                        Publication(one.topic, one.payload, 1, False)
                        for one in due
                        if one.topic.endswith("/sensors")
                    ]
                )
        self._connection.close()
