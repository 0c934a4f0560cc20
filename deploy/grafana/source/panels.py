"""One function for each kind of panel. Each returns what Grafana's JSON holds for it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .texts import PANELS, Text
from .values import AGO, NUMBER, PLAIN

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
Json = dict[str, Any]


class Panel(NamedTuple):
    """A panel and its size on the grid."""

    content: Json
    width: int
    height: int


class Query(NamedTuple):
    """A PromQL expression of a panel."""

    expression: str
    legend: str | Text = ""
    """Name of a series; `{{label}}` stands for the value of a label."""


class Column(NamedTuple):
    """A column of a table: a label, or the value of a query."""

    source: str
    """Name of a label, or `Value #A` for the value of the first query."""
    title: Text
    changes: Mapping[str, Any] = {}
    """Properties of its field, such as `unit` and `mappings`."""
    link: str | Text = ""
    """Where a click leads."""


def _panel(
    kind: str,
    key: str,
    targets: list[Json],
    size: tuple[int, int],
    options: Json,
    *,
    unit: str,
    thresholds: Json,
    mappings: Sequence[Json] = (),
    custom: Json | None = None,
    colour: str = "thresholds",
    overrides: Sequence[Json] = (),
    **more: Any,
) -> Panel:
    text = PANELS[key]
    content = {
        "type": kind,
        "title": text.title,
        "description": text.about,
        "datasource": DATASOURCE,
        "targets": targets,
        "options": options,
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "color": {"mode": colour},
                "thresholds": thresholds,
                "mappings": list(mappings),
                "custom": custom or {},
            },
            "overrides": list(overrides),
        },
        **more,
    }
    return Panel(content, *size)


def _targets(queries: Sequence[Query | str], *, instant: bool, table: bool = False) -> list[Json]:
    found = []
    for letter, one in zip("ABCDEFGHIJKLMNOP", queries, strict=False):
        query = one if isinstance(one, Query) else Query(one)
        found.append(
            {
                "refId": letter,
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": query.expression,
                "legendFormat": query.legend or "__auto",
                "format": "table" if table else "time_series",
                "instant": instant,
                "range": not instant,
            }
        )
    return found


_LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(
    key: str,
    *queries: Query | str,
    unit: str = NUMBER,
    thresholds: Json = PLAIN,
    mappings: Sequence[Json] = (),
    size: tuple[int, int] = (3, 4),
    shows: str = "auto",
    decimals: int | None = None,
) -> Panel:
    """Return a large number, or a text for it.

    Args:
        key: Of its text.
        queries: One value each.
        unit: Of the values.
        thresholds: Colours of the values.
        mappings: Texts of the values.
        size: Width and height.
        shows: `auto`: the value; `value_and_name`: also the legend; `name`: the legend alone.
        decimals: Digits after the point; None: as Grafana finds fit.
    """
    options = {
        "reduceOptions": _LAST,
        "colorMode": "background_solid" if mappings or thresholds is not PLAIN else "none",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "textMode": shows,
        "wideLayout": True,
    }
    panel = _panel(
        "stat", key, _targets(queries, instant=True), size, options,
        unit=unit, thresholds=thresholds, mappings=mappings,
    )  # fmt: skip
    if decimals is not None:
        panel.content["fieldConfig"]["defaults"]["decimals"] = decimals
    return panel


def lines(
    key: str,
    *queries: Query,
    unit: str = NUMBER,
    size: tuple[int, int] = (12, 8),
    dashed: Sequence[str] = (),
    stacked: bool = False,
    repeat: str = "",
) -> Panel:
    """Return curves over time, with the last and the largest value of each in the legend.

    Args:
        key: Of its text.
        queries: The curves.
        unit: Of the values.
        size: Width and height.
        dashed: Letters of the queries that are limits, drawn as dashed lines.
        stacked: Whether the curves are parts of a whole.
        repeat: Variable for whose values the panel is repeated.
    """
    custom = {
        "drawStyle": "line",
        "lineWidth": 2,
        "fillOpacity": 30 if stacked else 0,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    options = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    overrides = [
        {
            "matcher": {"id": "byFrameRefID", "options": letter},
            "properties": [
                {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}},
                {"id": "custom.fillOpacity", "value": 0},
            ],
        }
        for letter in dashed
    ]
    repeated: dict[str, Any] = {}
    if repeat:
        repeated = {"repeat": repeat, "repeatDirection": "h", "maxPerRow": 3}
    return _panel(
        "timeseries", key, _targets(queries, instant=False), size, options,
        unit=unit, thresholds=PLAIN, custom=custom, colour="palette-classic",
        overrides=overrides, **repeated,
    )  # fmt: skip


def timeline(
    key: str, *queries: Query, mappings: Sequence[Json], size: tuple[int, int] = (12, 8)
) -> Panel:
    """Return states over time as bars with their texts: what was wrong since when."""
    options = {
        "alignValue": "left",
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return _panel(
        "state-timeline", key, _targets(queries, instant=False), size, options,
        unit=NUMBER, thresholds=PLAIN, mappings=mappings,
        custom={"fillOpacity": 80, "lineWidth": 1},
    )  # fmt: skip


def bars(key: str, *queries: Query, unit: str = NUMBER, size: tuple[int, int] = (8, 8)) -> Panel:
    """Return the present values as horizontal bars with their names and numbers."""
    options = {
        "reduceOptions": _LAST,
        "displayMode": "basic",
        "orientation": "horizontal",
        "valueMode": "text",
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizHeight": 16,
        "minVizWidth": 8,
        "maxVizHeight": 300,
    }
    return _panel(
        "bargauge", key, _targets(queries, instant=True), size, options,
        unit=unit, thresholds=PLAIN, colour="continuous-BlYlRd",
    )  # fmt: skip


def heatmap(
    key: str, query: Query, *, unit: str = NUMBER, size: tuple[int, int] = (12, 8)
) -> Panel:
    """Return a field over time: one row for each series, its value as colour and in the tooltip."""
    options = {
        "calculate": False,
        "cellGap": 0,
        "cellValues": {"unit": unit},
        "color": {
            "mode": "scheme", "scheme": "Viridis", "steps": 64, "reverse": False,
            "fill": "dark-blue", "exponent": 0.5, "scale": "exponential",
        },
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
        "yAxis": {"axisPlacement": "left", "unit": NUMBER},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
    }  # fmt: skip
    return _panel(
        "heatmap", key, _targets([query], instant=False), size, options,
        unit=unit, thresholds=PLAIN, custom={"scaleDistribution": {"type": "linear"}},
    )  # fmt: skip


def table(
    key: str,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    size: tuple[int, int] = (24, 10),
    worst: str = "",
) -> Panel:
    """Return rows of several queries that are joined by the labels that they share.

    Args:
        key: Of its text.
        queries: Instant queries.
        columns: What is shown, in this order; all else is left out.
        size: Width and height.
        worst: Source of the column by which the rows are sorted, the largest first.
    """
    titles = {column.source: column.title for column in columns}
    transformations: list[Json] = [
        {"id": "merge", "options": {}},
        {
            "id": "filterFieldsByName",
            "options": {"include": {"names": [column.source for column in columns]}},
        },
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {column.source: n for n, column in enumerate(columns)},
                "renameByName": titles,
            },
        },
    ]
    if worst:
        order = {"fields": {}, "sort": [{"field": titles[worst], "desc": True}]}
        transformations.append({"id": "sortBy", "options": order})
    return _panel(
        "table", key, _targets(queries, instant=True, table=True), size,
        {"showHeader": True, "cellHeight": "sm"},
        unit=NUMBER, thresholds=PLAIN,
        custom={"align": "left", "cellOptions": {"type": "auto"}, "filterable": True},
        overrides=[one for column in columns for one in _override(column)],
        transformations=transformations,
    )  # fmt: skip


def _override(column: Column) -> list[Json]:
    properties = [{"id": name, "value": value} for name, value in column.changes.items()]
    if "mappings" in column.changes:
        coloured = {"type": "color-background", "mode": "basic"}
        properties.append({"id": "custom.cellOptions", "value": coloured})
    if column.changes.get("unit") == AGO:
        properties.append({"id": "custom.width", "value": 150})
    if column.link:
        link = {"title": column.title, "url": column.link, "targetBlank": False}
        properties.append({"id": "links", "value": [link]})
    if not properties:
        return []
    return [{"matcher": {"id": "byName", "options": column.title}, "properties": properties}]
