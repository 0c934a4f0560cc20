"""What Grafana's dashboard linter may complain of, and why it is right here."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .layout import Dashboard
from .texts import DASHBOARDS, LANGUAGES, PANELS

FILE = ".lint"
"""The linter reads this file beside the dashboards."""


class Exemption(NamedTuple):
    """A rule that does not fit some panels."""

    rule: str
    reason: str
    panels: Sequence[tuple[str, str]]
    """Dashboard and panel, by the keys of their texts."""


WHOLE_RANGE = "The number counts the whole time shown, so it needs $__range; or the last hour."
NO_NODE = "An alert may concern no single node, so it may have no job and instance."
EXEMPTIONS = (
    Exemption(
        "target-rate-interval-rule",
        WHOLE_RANGE,
        [
            ("overview", "refused"),
            ("overview", "lost"),
            ("overview", "alarms_per_hour"),
            ("runtime", "restarts"),
            ("providers", "failovers"),
            ("providers", "parity_failures"),
        ],
    ),
    Exemption("target-job-rule", NO_NODE, [("overview", "firing_alerts")]),
    Exemption("target-instance-rule", NO_NODE, [("overview", "firing_alerts")]),
)


def render(language: str, dashboards: Sequence[Dashboard]) -> dict[str, Any]:
    """Return the content of the linter's file beside the dashboards of a language.

    Raises:
        ValueError: An exemption names a dashboard that does not exist.
    """
    number = LANGUAGES.index(language)
    names = {dashboard.name for dashboard in dashboards}
    found: dict[str, Any] = {}
    for one in EXEMPTIONS:
        if unknown := {name for name, _ in one.panels} - names:
            raise ValueError(f"{one.rule}: there is no dashboard {min(unknown)}")
        entries = [
            {"dashboard": DASHBOARDS[name].title[number], "panel": PANELS[key].title[number]}
            for name, key in one.panels
        ]
        found[one.rule] = {"reason": one.reason, "entries": entries}
    return {"exclusions": found}
