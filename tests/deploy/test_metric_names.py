"""Dashboards, rules, unit tests and documents name only metrics and labels that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeai.metrics.table import METRICS
from tests.support.paths import REPOSITORY
from tests.support.promql import faults, known_series, pages, rules_of, selectors

DEPLOY = REPOSITORY / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").rglob("*.json"))
UNIT_TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yaml"))
MODULES = "edgeai_backend_"  # adapters of backends, which documents name too
KNOWN = known_series()


def inside(content: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON document."""
    if isinstance(content, dict):
        yield content
        content = list(content.values())
    if isinstance(content, list):
        for one in content:
            yield from inside(one)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_dashboards(file: Path) -> None:
    found = []
    count = 0
    for one in inside(json.loads(file.read_text())):
        legend = str(one.get("legendFormat", ""))
        for key in ("expr", "query", "definition"):
            if isinstance(one.get(key), str) and one[key]:
                count += 1
                found += [f"{one[key]}: {fault}" for fault in faults(one[key], KNOWN, legend)]
    assert found == []
    assert count, "a dashboard without an expression"


@pytest.mark.parametrize("kind", ["alert", "record"])
def test_rules(kind: str) -> None:
    rules = rules_of(kind)
    assert rules
    for name, rule in rules.items():
        assert list(selectors(rule["expr"])), f"{name} reads no series"
        assert faults(rule["expr"], KNOWN) == [], name


@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.stem)
def test_unit_tests_of_rules_use_series_as_they_are(file: Path) -> None:
    """A test with a label too few or too many would show nothing about a real scrape."""
    for group in yaml.safe_load(file.read_text())["tests"]:
        for series in group["input_series"]:
            [(name, labels)] = selectors(series["series"])
            assert labels == KNOWN[name], series["series"]


@pytest.mark.parametrize("file", pages(), ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_documents(file: Path) -> None:
    text = file.read_text()
    secrets = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["secrets"]
    allowed = {*KNOWN, *METRICS, *secrets}
    for name, star in re.findall(r"\b(edgeai_[a-z0-9_]+)(\*?)", text):
        if name.startswith(MODULES):
            continue
        if star:
            assert any(one.startswith(name) for one in METRICS), f"{name}*"
        else:
            assert name in allowed, f"{name} is no metric"
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"```promql\n(.*?)```", text, re.DOTALL)
    for expression in code:
        if "{" in expression and re.search(r"\bedgeai_\w+\{", expression):
            assert faults(expression, KNOWN) == [], expression


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(edgeai_nothing_total[5m])", "no series has the name edgeai_nothing_total"),
        ('edgeai_score{machine="a"}', "edgeai_score has no label machine"),
        ("sum by (asset) (edgeai_ready)", "none of its series has the label asset"),
        ("edgeai_turn_seconds", "no series has the name edgeai_turn_seconds"),
        ('pipeline:edgeai_predictions:rate5m{quality="good"}', "has no label quality"),
        ("pipeline:edgeai_nothing:rate5m", "no series has the name pipeline:edgeai_nothing:rate5m"),
    ],
)
def test_a_wrong_name_is_found(expression: str, fault: str) -> None:
    [found] = faults(expression, KNOWN)
    assert fault in found


@pytest.mark.parametrize(
    "expression",
    [
        'sum by (node, le) (rate(edgeai_turn_seconds_bucket{node=~"$node"}[$__rate_interval]))',
        'label_values(edgeai_build_info{job="edgeai"}, node)',
        'ALERTS{alertname=~"Edgeai.*", alertstate="firing", asset!=""}',
        'edgeai_messages_unrouted_total{reason="edgeai_nothing"}',
    ],
)
def test_a_right_expression_is_accepted(expression: str) -> None:
    assert faults(expression, KNOWN, "{{node}}") == []
