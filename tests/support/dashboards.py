"""The Grafana dashboards as files, and their expressions as Grafana would send them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.support.paths import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "grafana" / "dashboards"
DASHBOARDS = sorted(FOLDER.glob("*/*.json"))
BY_NAME: dict[tuple[str, str], Any] = {
    (path.parent.name, path.stem): json.loads(path.read_text(encoding="utf-8"))
    for path in DASHBOARDS
}
"""By language and name."""

INTERVALS = {"__rate_interval": "15s", "__range": "5m"}
ANY = ".+"  # of a variable: `All`


def panels_of(dashboard: Any) -> list[Any]:
    """Return the panels that show data: all but the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions_of(dashboard: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each panel with each of its targets."""
    for panel in panels_of(dashboard):
        for target in panel["targets"]:
            yield panel, target


def at_the_test(expression: str, **chosen: str) -> str:
    """Return an expression with values for its variables, as Grafana sends it; default: `All`."""
    values = {**INTERVALS, **chosen}
    return re.sub(r"\$(\w+)", lambda found: values.get(found[1], ANY), expression)


def variable_queries(dashboard: Any) -> list[str]:
    """Return a query for the values of each variable of a dashboard."""
    queries = []
    for one in dashboard["templating"]["list"]:
        if one["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"]["query"])
            assert found is not None, one["query"]
            queries.append(f"count by ({found[2]}) ({found[1]})")
    return queries
