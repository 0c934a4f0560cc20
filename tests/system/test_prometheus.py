"""A real Prometheus scrapes the runtime; promtool finds nothing to complain of."""

from __future__ import annotations

import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.brokers import RunningBroker
from tests.support.live import peer, running, wait_for
from tests.support.packages import write_config, write_package
from tests.support.paths import REPOSITORY
from tests.support.prometheus import PROMETHEUS, PROMTOOL, running_prometheus

pytestmark = pytest.mark.broker

TOKEN = "the-token-of-this-test"


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_prometheus_scrapes_what_the_runtime_counts(tmp_path: Path, broker: RunningBroker) -> None:
    write_package(tmp_path / "mean", threshold=5.0)
    source = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
    config = write_config(
        tmp_path / "config.yaml",
        broker.port,
        {"p": {"model": "mean", "source": source}},
        http={"enabled": True, "port": 0, "metrics_token": {"file": "token"}},
    )
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    with peer(broker.port, "edgeai/test/predictions/#") as other, running(config) as edgeai:
        for t in range(1, 21):
            other.publish("factory/m/sensors", {"t": t, "a": t, "b": 0})
        other.publish("factory/m/sensors", "{broken")
        wait_for(lambda: len(other.heard) == 17, "17 predictions")
        url = re.search(r"http://\S+", edgeai.log)
        assert url is not None
        if PROMTOOL is not None:
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"{url[0]}/metrics")
            request = urllib.request.Request(
                f"{url[0]}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
            )
            with urllib.request.urlopen(request) as answer:
                text = answer.read()
            done = subprocess.run(
                [PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        target = url[0].removeprefix("http://")
        # The configuration in docs/security.md, with the names of this test.
        documented = (REPOSITORY / "docs" / "security.md").read_text()
        scrape = next(
            block for block in re.findall(r"```yaml\n(.*?)```", documented, re.DOTALL)
            if "scrape_configs" in block
        )  # fmt: skip
        scrape = scrape.replace("press-pc:9108", target)
        scrape = scrape.replace("/etc/prometheus/edgeai-token", str(tmp_path / "token"))
        assert target in scrape
        (tmp_path / "prometheus.yml").write_text(f"global: {{scrape_interval: 1s}}\n{scrape}")
        with running_prometheus(tmp_path / "prometheus.yml", tmp_path / "data") as prometheus:
            prometheus.wait_scraped()
            value = prometheus.value
            assert value("sum(edgeai_predictions_total)") == 17
            assert value('edgeai_dropped_total{reason="invalid_json"}') == 1
            assert value("edgeai_messages_received_total") == 21
            assert value('edgeai_alarm_state{asset="m"}') == 1
            assert value('edgeai_score{asset="m"}') == 18.5
            assert value("edgeai_broker_connected") == 1
            assert value("histogram_quantile(0.99, sum(edgeai_inference_seconds_bucket) by (le))")
            assert value("time() - edgeai_last_message_timestamp_seconds") < 60
            info = prometheus.query("edgeai_session_info")[0]["metric"]
            assert (info["provider"], info["requested"]) == ("cpu", "cpu")
