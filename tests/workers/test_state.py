"""Which machines the page shows when there are too many: the most urgent ones of all workers."""

from __future__ import annotations

from typing import Any

from edgeai.node.page_state import MAX_SHOWN_ASSETS
from edgeai.workers.state import merge_pipelines

USUAL = {
    "state": "current", "alarm": "normal", "status": "normal", "reason": "score",
    "priority": "high", "refused": None, "since": None,
}  # fmt: skip
ACTIVE = {"alarm": "active", "status": "unacknowledged"}


def merged(*assets: dict[str, Any]) -> list[str]:
    """The names that are shown of two workers with these assets, and many normal ones."""
    many = [{**USUAL, "asset": f"n{number}"} for number in range(MAX_SHOWN_ASSETS)]
    shown = [{**USUAL, "asset": str(number), **one} for number, one in enumerate(assets)]
    pipeline = {"name": "p", "fault": None, "hint": "", "provider": "cpu", "reason": ""}
    states = [
        {"pipelines": [{**pipeline, "streams": len(part), "stale": 0, "assets": part}]}
        for part in (many, shown)
    ]
    (found,) = merge_pipelines(states)
    assert len(found["assets"]) == MAX_SHOWN_ASSETS
    return [one["asset"] for one in found["assets"][: len(assets)]]


def test_the_most_urgent_machines_are_shown_of_equal_ones_those_that_changed_last() -> None:
    names = merged(
        {"state": "unknown"},
        {"state": "unknown", "refused": "invalid_json"},
        {"state": "stale", "since": 5.0},
        {"state": "stale", "since": 9.0},
        {"alarm": "latched", "status": "returned", "since": 1.0},
        {**ACTIVE, "reason": "outside_domain", "priority": "low", "since": 1.0},
        {**ACTIVE, "since": 3.0},
        {**ACTIVE, "since": 7.0, "state": "stale"},
    )
    assert names == ["7", "6", "5", "4", "3", "2", "1", "0"]


def test_what_operators_and_causes_have_made_of_alarms_counts() -> None:
    names = merged(
        {"alarm": "normal", "status": "shelved"},
        {"state": "unknown"},
        {"alarm": "active", "status": "shelved"},
        {"alarm": "active", "status": "suppressed"},
        {"alarm": "active", "status": "shelved", "state": "stale"},
        {"alarm": "active", "status": "acknowledged", "state": "stale"},
        {**ACTIVE, "priority": "medium", "since": 9.0},
        {**ACTIVE, "priority": "critical", "since": 1.0},
    )
    assert names == ["7", "6", "5", "4", "3", "2", "1", "0"]
