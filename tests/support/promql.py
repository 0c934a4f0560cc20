"""The names of metrics and labels in PromQL, and which of them exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from edgeai.metrics.table import METRICS
from tests.support.paths import REPOSITORY

RULES = REPOSITORY / "deploy" / "prometheus" / "rules"
TARGET_LABELS = frozenset({"job", "instance", "node"})
"""Prometheus adds the first two, `deploy/prometheus/prometheus.yml` the third."""

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_SERIES = re.compile(
    r"\b((?:[a-z_]+:)?edgeai_[a-z0-9_]*(?::[a-z0-9_]+)?|up|ALERTS)\b(\s*\{[^}]*\})?"
)
_MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def rules_of(kind: str) -> dict[str, dict[str, Any]]:
    """Return the shipped rules by name; `kind` is `alert` or `record`."""
    found = {}
    for file in sorted(RULES.glob("*.yaml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            found.update({rule[kind]: rule for rule in group["rules"] if kind in rule})
    return found


def known_series() -> dict[str, frozenset[str]]:
    """Return the labels of every series: of edgeai, of the recording rules, and of Prometheus."""
    known: dict[str, frozenset[str]] = {"up": TARGET_LABELS}
    for one in METRICS.values():
        for name in one.series:
            le = {"le"} if name.endswith("_bucket") and one.kind == "histogram" else set()
            known[name] = TARGET_LABELS | set(one.labels) | le
    for name, rule in rules_of("record").items():
        labels = set[str]()
        for used, _ in selectors(rule["expr"]):
            labels |= known[used]
        dropped = re.findall(r"without\s*\((\w+)\)", rule["expr"])
        known[name] = frozenset(labels - {"le", *dropped})
    any_label = frozenset(label for labels in known.values() for label in labels)
    known["ALERTS"] = any_label | {"alertname", "alertstate", "severity"}
    return known


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the name of each series in an expression, and the labels that it is matched by."""
    for name, matchers in _SERIES.findall(_TEXT.sub('""', expression)):
        yield name, set(_MATCHED.findall(matchers))


def faults(expression: str, known: Mapping[str, frozenset[str]], legend: str = "") -> list[str]:
    """Return what an expression, or the legend of its series, names that does not exist."""
    found = []
    labels: set[str] = set()
    for name, matched in selectors(expression):
        if name not in known:
            found.append(f"no series has the name {name}")
            continue
        labels |= known[name]
        found += [f"{name} has no label {label}" for label in sorted(matched - known[name])]
    named = [one for group in _GROUPED.findall(expression) for one in re.findall(r"\w+", group)]
    for label in [*named, *_LEGEND.findall(legend)]:
        if labels and label not in labels:
            found.append(f"none of its series has the label {label}")
    return found


def kebab(name: str) -> str:
    """Return the file name of an alert: EdgeaiInputStale is edgeai-input-stale."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def pages() -> list[Path]:
    """Return the documents that name metrics."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
