"""promtool and amtool accept what is shipped, and each unit test of an alert can fail."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.grafana.source.overview import WORST_STATE
from deploy.grafana.source.values import SEVERITY
from edgeai.metrics.aggregate import MergedMetrics, WorkerText
from edgeai.metrics.definitions import Metrics, WorkerMetrics
from tests.support.paths import REPOSITORY
from tests.support.promql import kebab, rules_of

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
PROMTOOL, AMTOOL = shutil.which("promtool"), shutil.which("amtool")
ALERTS = rules_of("alert")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )


def succeeds(name: str, folder: Path) -> bool:
    """Return whether the unit test of an alert, in a copy of the shipped folder, succeeds."""
    return run(str(PROMTOOL), "test", "rules", folder / "tests" / f"{name}.yaml").returncode == 0


@needs_promtool
def test_promtool_accepts_rules_and_configuration(tmp_path: Path) -> None:
    done = run(str(PROMTOOL), "check", "rules", *sorted((PROMETHEUS / "rules").glob("*.yaml")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout + done.stderr
    shutil.copytree(PROMETHEUS, tmp_path / "p")
    (tmp_path / "token").write_text("a token")
    config = (PROMETHEUS / "prometheus.yml").read_text()
    config = config.replace("/run/secrets/edgeai_metrics_token", str(tmp_path / "token"))
    (tmp_path / "p" / "prometheus.yml").write_text(config)
    done = run(str(PROMTOOL), "check", "config", tmp_path / "p" / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout


@needs_promtool
def test_all_unit_tests_of_the_rules_succeed() -> None:
    done = run(str(PROMTOOL), "test", "rules", *sorted((PROMETHEUS / "tests").glob("*.yaml")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(ALERTS) + 1


@needs_promtool
@pytest.mark.parametrize("name", list(ALERTS))
def test_the_unit_test_of_an_alert_fails_when_its_rule_is_broken(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "p"
    shutil.copytree(PROMETHEUS, folder)
    file = folder / "rules" / "alerts.yaml"
    shipped = yaml.safe_load(file.read_text())

    def broken(**changes: str) -> bool:
        content = yaml.safe_load(yaml.safe_dump(shipped))
        [rule] = [one for one in content["groups"][0]["rules"] if one["alert"] == name]
        rule.update(changes)
        file.write_text(yaml.safe_dump(content))
        return not succeeds(kebab(name), folder)

    assert not broken(), "nothing is changed"
    assert broken(expr="vector(1) > 2"), "it never fires"
    assert broken(expr=f"({ALERTS[name]['expr']}) or vector(1)"), "it always fires"
    assert not succeeds("healthy", folder), "it always fires, on the healthy line too"
    assert broken(labels={"severity": "info"}), "another severity"
    if "for" in ALERTS[name]:
        assert broken(**{"for": "0s"}), "it does not wait"
        assert broken(**{"for": "9h"}), "it waits for ever"


@needs_promtool
def test_promtool_accepts_the_metrics_of_several_workers() -> None:
    own, workers = Metrics(), [Metrics(), Metrics()]
    WorkerMetrics(own, len(workers))
    texts = []
    for number, metrics in enumerate(workers, 1):
        metrics.of_pipeline("p", "model", "cpu")
        metrics.session_info("p", "model", "1", provider="cpu", requested="cpu", reason="")
        texts.append(WorkerText(number, 1, metrics.render().decode()))
    merged = MergedMetrics(own.registry).render(texts)
    done = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=merged, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    bad = merged.replace(b"edgeai_ready", b"edgeai_ready_ms")
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=bad, capture_output=True,
                          check=False)  # fmt: skip
    assert done.returncode != 0, "promtool finds a wrong unit"


@pytest.mark.skipif(AMTOOL is None, reason="amtool is not installed")
def test_amtool_accepts_the_configuration_and_its_examples(tmp_path: Path) -> None:
    shipped = REPOSITORY / "deploy" / "alertmanager" / "alertmanager.yml"
    text = shipped.read_text()
    lines = []
    for line in text.splitlines():
        example = re.fullmatch(r"( *)# (( *)(?:- |\w+:|routes:).*)", line)
        lines.append(f"{example[1]}{example[2]}" if example else line)
    with_examples = tmp_path / "examples.yml"
    with_examples.write_text("\n".join(lines) + "\n")
    content = yaml.safe_load(with_examples.read_text())
    assert content["receivers"][0]["webhook_configs"], "the examples are in the copy"
    assert content["receivers"][0]["email_configs"]
    assert content["time_intervals"]
    assert content["route"]["routes"]
    for file in (shipped, with_examples):
        done = run(str(AMTOOL), "check-config", file)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_worst_state_of_a_machine_has_the_order_of_the_page(tmp_path: Path) -> None:
    """In the dashboards' table `Machines, the worst first`; nothing unknown is normal there."""
    normal, doubtful, waiting, aside, silent, acknowledged, latched, active = range(8)
    cases = {  # asset_state, alarm_state, quality; None: absent
        "not judged yet": (0, None, None, waiting),
        "not judged since the restart, latched": (0, 2, None, latched),
        "silent": (2, None, None, silent),
        "silent, active": (2, 1, None, active),
        "silent, latched": (2, 2, None, latched),
        "current": (1, 0, 0, normal),
        "current, uncertain": (1, 0, 1, doubtful),
        "current, bad": (1, 0, 2, doubtful),
        "current, latched, bad": (1, 2, 2, latched),
        "current, active": (1, 1, 0, active),
        "shelved, active": (1, 1, 0, aside),
        "shelved, latched": (1, 2, 0, aside),
        "shelved": (1, 0, 0, normal),
        "shelved, active, silent": (2, 1, 0, silent),
        "suppressed, active": (1, 1, 0, aside),
        "acknowledged, active": (1, 1, 0, acknowledged),
        "acknowledged, active, silent": (2, 1, 0, acknowledged),
    }
    names = ("edgeai_asset_state", "edgeai_alarm_state", "edgeai_quality")
    series = [
        {"series": f'{name}{{job="j", instance="i", pipeline="p", asset="{asset}"}}',
         "values": f"{value}x1"}
        for asset, values in cases.items()
        for name, value in zip(names, values, strict=False) if value is not None
    ]  # fmt: skip
    series += [
        {"series": f'edgeai_alarm_info{{job="j", instance="i", pipeline="p", asset="{asset}", '
         f'status="{status}", priority="high", position="line"}}', "values": "1x1"}
        for asset in cases
        if (status := asset.partition(",")[0]) in {"shelved", "suppressed", "acknowledged"}
    ]  # fmt: skip
    expected = [
        {"labels": f'{{job="j", instance="i", pipeline="p", asset="{asset}"}}', "value": values[-1]}
        for asset, values in cases.items()
    ]
    expression = re.sub(r"\$(job|instance|pipeline)", ".*", WORST_STATE)
    test = {"eval_time": "1m", "expr": expression, "exp_samples": expected}
    group = {"interval": "1m", "input_series": series, "promql_expr_test": [test]}
    (tmp_path / "t.yaml").write_text(json.dumps({"rule_files": [], "tests": [group]}))
    done = run(str(PROMTOOL), "test", "rules", tmp_path / "t.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    words = [one["text"].en for one in SEVERITY[0]["options"].values()]
    assert words == [
        "✓ normal", "? doubtful values", "… waiting", "◇ shelved or suppressed", "✗ no data",
        "▽ alarm, acknowledged", "△ to acknowledge", "▲ ALARM",
    ]  # fmt: skip
