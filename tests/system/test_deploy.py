"""The files of `deploy/` at work, without containers: broker, edgeai, Prometheus, Alertmanager.

The tests of this file follow each other: a healthy line, a fault, silence, the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeai.metrics.table import METRICS, WORKERS
from tests.support.brokers import run_mosquitto
from tests.support.deployed import EXPECTED_SECONDS, SHIPPED, Deployed, SimulatedLine
from tests.support.live import Running, patient, running, wait_for
from tests.support.monitoring import Receiver, find, get_json, running_alertmanager
from tests.support.pages import commands
from tests.support.paths import REPOSITORY
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.promql import rules_of, selectors

pytestmark = [pytest.mark.broker, pytest.mark.system]

ALERT_SECONDS = 30.0


@dataclass
class Site:
    """All that runs."""

    deployed: Deployed
    edgeai: Running
    line: SimulatedLine
    prometheus: Prometheus
    alertmanager: str
    receiver: Receiver

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes]:
        """Return status and body of a page of edgeai."""
        headers = {"Authorization": f"Bearer {self.deployed.secret(token)}"} if token else {}
        url = f"http://127.0.0.1:{self.deployed.ports['http']}{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def alerts(self) -> dict[str, list[dict[str, Any]]]:
        """Return what Alertmanager has, by the name of the alert."""
        found: dict[str, list[dict[str, Any]]] = {}
        for one in get_json(f"{self.alertmanager}/api/v2/alerts") or []:
            found.setdefault(one["labels"]["alertname"], []).append(one)
        return found

    def told(self, name: str) -> dict[str, Any]:
        """Wait until the receiver was sent an alert, and return it."""
        return wait_for(lambda: self.receiver.firing(name), name, ALERT_SECONDS)[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    find("prometheus")
    find("prometheus-alertmanager", "alertmanager")
    folder = tmp_path_factory.mktemp("site")
    receiver = Receiver()
    deployed = Deployed(folder / "deploy", receiver.url)
    with run_mosquitto(folder / "broker", deployed.broker_lines, deployed.ports["broker"]):
        line = SimulatedLine(deployed)
        prometheus_config = deployed.folder / "prometheus" / "prometheus.yml"
        alertmanager_config = deployed.folder / "alertmanager" / "alertmanager.yml"
        with (
            running(deployed.folder / "edgeai" / "config.yaml") as edgeai,
            running_alertmanager(
                alertmanager_config, folder / "alertmanager", deployed.ports["alertmanager"]
            ) as alertmanager,
            running_prometheus(prometheus_config, folder / "prometheus") as prometheus,
        ):
            yield Site(deployed, edgeai, line, prometheus, alertmanager, receiver)
        line.stop()
        receiver.close()


def test_a_healthy_line_is_served_scraped_and_quiet(site: Site) -> None:
    assert "mqtt_passwords" in site.deployed.init_output
    wait_for(lambda: site.get("/readyz", "edgeai_metrics_token")[0] == 200, "the node to be ready")
    assert site.get("/api/state")[0] == site.get("/metrics")[0] == 401, "no token"
    assert site.get("/api/state", "edgeai_page_token")[0] == 200
    assert site.get("/api/state", "edgeai_metrics_token")[0] == 401, "each token opens its own"
    query = site.prometheus.query
    wait_for(lambda: query("edgeai_asset_state == 1"), "a judged machine")
    wait_for(lambda: len(query("sum(edgeai_predictions_total) > 20")) == 1, "predictions")
    [target] = site.prometheus.targets()
    assert (target["health"], target["labels"]["node"]) == ("up", "line1")
    for name in (
        "pipeline:edgeai_predictions:rate5m",
        "pipeline:edgeai_end_to_end_seconds:p99_10m",
    ):
        [sample] = wait_for(lambda name=name: query(f"{name} > 0"), name)
        assert sample["metric"]["pipeline"] == "moulding"
    assert query("edgeai_ready == 1")
    assert query('edgeai_certificate_expiry_timestamp_seconds{certificate="broker"} > time()')
    assert query("ALERTS") == []
    assert site.alerts() == {}


def test_promtool_finds_nothing_to_complain_of_in_a_scrape(site: Site) -> None:
    status, text = site.get("/metrics", "edgeai_metrics_token")
    assert status == 200
    done = subprocess.run(
        [find("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_every_series_that_a_rule_reads_is_in_the_scrape(site: Site) -> None:
    """Not those of workers, of alarms that are not normal, and of answers: there are none."""
    text = site.get("/metrics", "edgeai_metrics_token")[1].decode()
    recorded = rules_of("record")
    absent = {"up", "edgeai_alarm_info", *recorded, *(one.name for one in WORKERS)}
    absent |= {name for name in METRICS if name.startswith("edgeai_answer")}
    for rule in [*rules_of("alert").values(), *recorded.values()]:
        for name, _ in selectors(rule["expr"]):
            if name not in absent:
                assert f"\n{name}{{" in text or f"\n{name} " in text, name


def test_the_health_check_of_the_broker_reads_one_topic_and_nobody_else_comes_in(
    site: Site,
) -> None:
    compose = yaml.safe_load((SHIPPED / "compose.yaml").read_text())
    command = compose["services"]["mosquitto"]["healthcheck"]["test"]
    assert command[0] == "CMD"
    port = site.deployed.ports["health"]
    check = [part.replace("$$", "$").replace("1880", str(port)) for part in command[1:]]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    check[check.index("-t") + 1 : check.index("-t") + 2] = ["#"]
    check[check.index("-W") + 1] = "1"
    heard = subprocess.run([*check, "-v"], capture_output=True, text=True, check=False)
    assert heard.returncode == 27 or heard.stdout.startswith("$SYS/broker/uptime"), heard.stdout
    secrets = site.deployed.folder / "secrets"
    publish = [
        "mosquitto_pub", "-h", "localhost", "-p", str(site.deployed.ports["broker"]),
        "--cafile", str(secrets / "mqtt_ca_certificate"), "-t", "factory/x/sensors", "-m", "{}",
    ]  # fmt: skip
    anonymous = subprocess.run(publish, capture_output=True, text=True, check=False)
    assert anonymous.returncode != 0
    assert "not authorised" in (anonymous.stdout + anonymous.stderr).lower()
    wrong = [*publish, "-u", "line", "-P", site.deployed.secret("mqtt_operator_password")]
    assert subprocess.run(wrong, capture_output=True, check=False).returncode != 0
    right = [*publish, "-u", "line", "-P", site.deployed.secret("mqtt_line_password")]
    assert subprocess.run(right, capture_output=True, check=False).returncode == 0


def test_the_simulated_line_of_the_profile_demo_publishes_with_the_rights_of_a_sender(
    site: Site,
) -> None:
    compose = yaml.safe_load((SHIPPED / "compose.yaml").read_text())
    deployed = site.deployed
    command = [
        part.replace("/run/secrets/", f"{deployed.folder}/secrets/")
        .replace("=mosquitto", "=localhost")
        .replace("=8883", f"={deployed.ports['broker']}")
        .replace("=moulding-1,moulding-2", "=agitator-1")  # the others publish already
        for part in compose["services"]["simulated-line"]["command"]
    ]
    heard = "edgeai_messages_unrouted_total"
    before = site.prometheus.query(f'{heard}{{reason="unexpected_topic"}}')[0]["value"][1]
    log = deployed.folder / "plant.log"
    with log.open("wb") as output:
        plant = subprocess.Popen([sys.executable, "-m", "edgeai", *command], stderr=output)
    try:
        more = f'{heard}{{reason="unexpected_topic"}} > {before} + 10'  # single ones came before
        wait_for(lambda: site.prometheus.query(more), f"its messages; log: {log.read_text()}")
    finally:
        plant.terminate()
        assert plant.wait(patient(10)) == 0, log.read_text()
    assert "refuses" not in log.read_text()


def test_the_commands_of_the_page_do_what_it_says(site: Site, tmp_path: Path) -> None:
    """All but those of Docker, which has no engine here."""
    page = (REPOSITORY / "docs" / "monitoring.md").read_text()
    folder = tmp_path / "deploy"
    shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns("secrets", "models"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = []
    for block in commands(page):
        if "not run" in block.marks:
            assert "docker" in block.text
            continue
        text = block.text.removeprefix("sudo ").replace("127.0.0.1:9093", site.alertmanager[7:])
        subprocess.run(
            ["bash", "-euc", text], cwd=folder, env={**os.environ, "PATH": path}, check=True,
            capture_output=True, timeout=patient(60),
        )  # fmt: skip
        done.append(text.split()[0])
    assert done == ["./init.sh", "edgeai", "amtool", "amtool", "promtool"]
    acl = (folder / "mosquitto" / "acl").read_text()
    assert acl == (SHIPPED / "mosquitto" / "acl").read_text()
    [silence] = get_json(f"{site.alertmanager}/api/v2/silences")
    assert silence["matchers"][0]["value"] == "EdgeaiInputStale|EdgeaiAssetSilent"
    expire = [find("amtool"), f"--alertmanager.url={site.alertmanager}", "silence", "expire"]
    subprocess.run([*expire, silence["id"]], check=True, capture_output=True)


def test_a_fault_in_a_machine_reaches_people(site: Site) -> None:
    site.line.inject("moulding-1", "coolant_blocked")
    alert = site.told("EdgeaiAlarmActive")
    labels = alert["labels"]
    assert (labels["node"], labels["pipeline"], labels["asset"], labels["severity"]) == (
        "line1", "moulding", "moulding-1", "warning",
    )  # fmt: skip
    assert "runbooks" not in labels, "the place of the links is no label"
    annotations = alert["annotations"]
    assert annotations == {
        "summary": "moulding-1: the alarm of moulding on line1 is active.",
        "summary_ko": "moulding-1: line1의 moulding 경보가 발생했습니다.",
        "runbook_url": "docs/runbooks/edgeai-alarm-active.md",
    }
    assert not site.receiver.firing("EdgeaiDown")


def test_silence_reaches_people_once(site: Site) -> None:
    site.line.stop()
    alert = site.told("EdgeaiInputStale")
    assert alert["labels"]["pipeline"] == "moulding"
    assert alert["annotations"]["summary"].startswith("line1, pipeline moulding: no message for ")
    age = site.prometheus.query("time() - edgeai_pipeline_last_message_timestamp_seconds")
    assert float(age[0]["value"][1]) > EXPECTED_SECONDS
    silent = wait_for(lambda: site.alerts().get("EdgeaiAssetSilent"), "the machines", ALERT_SECONDS)
    assert {one["status"]["state"] for one in silent} == {"suppressed"}, "it follows from the other"
    assert not site.receiver.firing("EdgeaiAssetSilent")


def test_the_end_of_edgeai_reaches_people(site: Site) -> None:
    site.edgeai.process.kill()
    site.edgeai.process.wait(patient(10))
    alert = site.told("EdgeaiDown")
    assert (alert["labels"]["node"], alert["labels"]["severity"]) == ("line1", "critical")
    assert alert["annotations"]["summary"] == "line1: edgeai does not answer."
