"""From rows of panels to a dashboard that Grafana loads from a file."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .panels import DATASOURCE, Panel
from .queries import metric
from .texts import DASHBOARDS, LANGUAGES, ROWS, WORDS, Text, localised

COLUMNS = 24  # of Grafana's grid
SCHEMA_VERSION = 39  # of Grafana 11, which newer versions migrate when they load it
REFRESH = "10s"


class Row(NamedTuple):
    """Panels side by side under a heading; they wrap at the width of the grid."""

    key: str
    """Of its text in `texts.yaml`."""
    panels: Sequence[Panel]


class Dashboard(NamedTuple):
    """A dashboard, in all languages."""

    name: str
    """Of its text in `texts.yaml`, of its file, and the middle of its uid."""
    rows: Sequence[Row]
    variables: Sequence[dict[str, Any]] = ()
    """Beside data source, job and instance."""
    since: str = "now-1h"


def uid(name: str) -> Text:
    """Return the uid of a dashboard, which does not change: links and bookmarks hold it."""
    return Text(*[f"edgeai-{name}-{language}" for language in LANGUAGES])


def variable(name: str, label: Text | str, query: str, *, many: bool = True) -> dict[str, Any]:
    """Return a variable whose values Prometheus knows.

    Args:
        name: Of the variable, as in `$name`.
        label: What the user sees.
        query: `label_values(...)`.
        many: Whether several values, or all, can be chosen.
    """
    every = {"text": ["All"], "value": ["$__all"]} if many else {}
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,  # on time range change
        "sort": 1,  # alphabetical
        "regex": "",
        "hide": 0,
        "skipUrlSync": False,
        "multi": many,
        "includeAll": many,
        **({"allValue": ".+"} if many else {}),
        "options": [],
        "current": {"selected": False, **every},
    }


def _common_variables() -> list[dict[str, Any]]:
    # These three names and labels are those that Grafana's dashboard linter asks for.
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "regex": "",
            "refresh": 1,  # on load
            "hide": 0,
            "skipUrlSync": False,
            "multi": False,
            "includeAll": False,
            "options": [],
            "current": {},
        },
        variable("job", "job", "label_values(edgeai_build_info, job)"),
        variable("instance", "instance", 'label_values(edgeai_build_info{job=~"$job"}, instance)'),
    ]


def pipeline_variable(*, many: bool = True) -> dict[str, Any]:
    """Return the variable of the pipelines."""
    query = f"label_values({metric('edgeai_streams')}, pipeline)"
    return variable("pipeline", WORDS["pipeline"], query, many=many)


def asset_variable() -> dict[str, Any]:
    """Return the variable of one machine."""
    query = f"label_values({metric('edgeai_asset_state', of='pipeline')}, asset)"
    return variable("asset", WORDS["machine"], query, many=False)


def render(dashboard: Dashboard, language: str) -> dict[str, Any]:
    """Return a dashboard in one language, as JSON values."""
    text = DASHBOARDS[dashboard.name]
    tree = {
        "uid": uid(dashboard.name),
        "title": text.title,
        "description": text.about,
        "tags": ["edgeai", Text(*[f"edgeai-{one}" for one in LANGUAGES])],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,  # the source is here
        "graphTooltip": 1,  # one cross hair for all panels
        "refresh": REFRESH,
        "time": {"from": dashboard.since, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "fiscalYearStartMonth": 0,
        "annotations": {"list": []},
        "links": [_links()],
        "templating": {"list": [*_common_variables(), *dashboard.variables]},
        "panels": _placed(dashboard.rows),
    }
    found: dict[str, Any] = localised(tree, LANGUAGES.index(language))
    return found


def _links() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "edgeai",
        "tags": [Text(*[f"edgeai-{one}" for one in LANGUAGES])],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }


def _placed(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows and panels with their places and numbers."""
    placed: list[dict[str, Any]] = []
    y = 0

    def place(panel: dict[str, Any], x: int, width: int, height: int) -> None:
        at = {"x": x, "y": y, "w": width, "h": height}
        placed.append({"id": len(placed) + 1, "gridPos": at, **panel})

    for row in rows:
        heading = {"type": "row", "title": ROWS[row.key], "collapsed": False, "panels": []}
        place(heading, 0, COLUMNS, 1)
        y += 1
        x = height = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            place(panel.content, x, panel.width, panel.height)
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return placed
