"""Every alert is complete: labels, annotations in two languages, a unit test, a runbook page."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support.paths import REPOSITORY
from tests.support.promql import kebab, known_series, rules_of, selectors

ALERTS = rules_of("alert")
UNIT_TESTS = REPOSITORY / "deploy" / "prometheus" / "tests"
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
SECTIONS = ["What it means", "How to see it", "What to do"]
HANGUL = re.compile("[가-힣]")
OPTIONAL = re.compile(r"\{\{ with .*?\{\{ end \}\}")
every_alert = pytest.mark.parametrize("name", list(ALERTS))


def groups_of(name: str) -> list[dict[str, Any]]:
    """Return the groups of the unit test of an alert."""
    groups = yaml.safe_load((UNIT_TESTS / f"{kebab(name)}.yaml").read_text())["tests"]
    assert isinstance(groups, list)
    return groups


def fired(name: str) -> list[str]:
    """Return the alerts that the unit test expects to fire."""
    return [
        sample["labels"]
        for group in groups_of(name)
        for case in group["promql_expr_test"]
        for sample in case["exp_samples"]
    ]


@every_alert
def test_labels_and_annotations(name: str) -> None:
    rule = ALERTS[name]
    severity = rule["labels"]["severity"]
    assert severity in {"critical", "warning"} or "$labels.priority" in severity
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "summary_ko", "runbook_url"}
    link = f'{{{{ reReplaceAll "NAME" "{kebab(name)}" $externalLabels.runbooks }}}}'
    assert annotations["runbook_url"] == link
    assert HANGUL.search(annotations["summary_ko"])
    assert not HANGUL.search(annotations["summary"])
    values = [set(re.findall(r"\$(?:labels\.)?\w+", annotations[key])) for key in
              ("summary", "summary_ko")]  # fmt: skip
    assert values[0] == values[1], "both languages tell the same"
    told = annotations["summary"] + annotations["summary_ko"]
    assert "humanize }}" not in told, (
        "increase() is 1.019 for one machine: a count is a whole number"
    )


@every_alert
def test_annotations_use_labels_that_the_alert_has(name: str) -> None:
    needed = set()
    for text in ALERTS[name]["annotations"].values():
        needed |= set(re.findall(r"\$labels\.(\w+)", OPTIONAL.sub("", text)))
    assert "node" in needed
    for sample in fired(name):
        [(_, labels)] = selectors(sample)
        assert needed <= labels, sample
        assert "severity" in labels


@every_alert
def test_an_alert_of_a_state_outlives_a_restart(name: str) -> None:
    """Gauges are gone for some seconds then: it would be told as resolved, and as new."""
    rule = ALERTS[name]
    is_state = "[" not in rule["expr"] and not any(":" in one for one, _ in selectors(rule["expr"]))
    assert ("keep_firing_for" in rule) == (is_state and name != "EdgeaiDown")


@every_alert
def test_the_unit_test_expects_it_to_fire_and_not_to_fire(name: str) -> None:
    assert fired(name)
    wanted = [f'alertname="{name}"' in sample for sample in fired(name)]
    assert all(wanted)
    silent = [
        group["name"] for group in groups_of(name)
        if all(case["exp_samples"] == [] for case in group["promql_expr_test"])
    ]  # fmt: skip
    assert silent, "no group in which it stays silent"


@every_alert
def test_the_runbook(name: str) -> None:
    text = (RUNBOOKS / f"{kebab(name)}.md").read_text()
    assert text.startswith(f"# {name}\n")
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections[: len(SECTIONS)] == SECTIONS
    assert len(sections) <= 5
    assert "edgeai_" in text or "log" in text
    overview = (REPOSITORY / "docs" / "monitoring.md").read_text()
    assert f"[{name}](runbooks/{kebab(name)}.md)" in overview


def test_no_page_and_no_unit_test_is_left_without_an_alert() -> None:
    expected = {kebab(name) for name in ALERTS}
    assert {file.stem for file in RUNBOOKS.glob("*.md")} == expected
    assert {file.stem for file in UNIT_TESTS.glob("*.yaml")} == expected | {"healthy"}


def test_the_healthy_line_has_every_series_that_a_rule_reads() -> None:
    """Otherwise an alert would stay silent there for want of data."""
    recorded = rules_of("record")
    [group] = yaml.safe_load((UNIT_TESTS / "healthy.yaml").read_text())["tests"]
    given = {name for series in group["input_series"] for name, _ in selectors(series["series"])}
    used = {
        name
        for rule in [*ALERTS.values(), *recorded.values()]
        for name, _ in selectors(rule["expr"])
    }
    assert used - set(recorded) <= given
    computed = {case["expr"].split(" ")[0] for case in group["promql_expr_test"]}
    assert set(recorded) <= computed, "each recording rule has a value there"
    assert given <= set(known_series())


def test_one_label_is_the_place_of_all_runbooks() -> None:
    config = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yml").read_text())
    place = config["global"]["external_labels"]["runbooks"]
    for name in ALERTS:
        assert (REPOSITORY / place.replace("NAME", kebab(name))).is_file()
    dropped = config["alerting"]["alert_relabel_configs"]
    assert dropped == [{"regex": "runbooks", "action": "labeldrop"}]
