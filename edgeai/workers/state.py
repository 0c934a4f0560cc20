"""The state of several workers as that of one process, for the page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgeai.messages import PRIORITIES
from edgeai.node.page_state import MAX_SHOWN_ASSETS, RANKS

EMPTY: dict[str, Any] = {"streams": 0, "stale": 0, "messages": 0, "fault": None}
"""What is added up over the workers."""
TALLIES = ("predictions", "drops", "invalid", "counts")
"""Counts by name, which are added up too."""
SAME_SECONDS = 5.0
"""An event that several workers tell within this time is one event."""


def merge_pipelines(states: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pipelines of several `/api/state` answers as those of one process.

    Args:
        states: One a worker, all with the same pipelines, each with its own streams.
    """
    merged: dict[str, dict[str, Any]] = {}
    for state in states:
        for pipeline in state["pipelines"]:
            empty = {**EMPTY, "assets": [], **{name: {} for name in TALLIES}}
            known = merged.setdefault(pipeline["name"], {**pipeline, **empty})
            known["streams"] += pipeline["streams"]
            known["stale"] += pipeline["stale"]
            known["messages"] += pipeline.get("messages", 0)
            for name in TALLIES:
                known[name] = _added(known[name], pipeline.get(name, {}))
            known["fault"] = known["fault"] or pipeline["fault"]
            known["assets"] += pipeline["assets"]
            known["hint"] = known["hint"] and pipeline["hint"]  # a worker's share may be empty
            if pipeline["provider"] not in known["provider"].split(", "):
                known["provider"] += f", {pipeline['provider']}"
            if pipeline["reason"] not in known["reason"]:
                known["reason"] += f"{', ' if known['reason'] else ''}{pipeline['reason']}"
    for pipeline in merged.values():
        assets = sorted(pipeline["assets"], key=lambda asset: str(asset["asset"]))
        if len(assets) > MAX_SHOWN_ASSETS:
            assets = sorted(assets, key=_urgency)[:MAX_SHOWN_ASSETS]
        pipeline["assets"] = assets
    return list(merged.values())


def merge_refused(states: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the messages that no pipeline takes: every worker reads and counts all of them."""
    merged: dict[str, int] = {}
    for state in states:
        for reason, count in state.get("refused", {}).items():
            merged[reason] = max(count, merged.get(reason, 0))
    return merged


def merge_events(states: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the events of all workers, the newest first; what all of them tell, once."""
    events = [event for state in states for event in state.get("events", ())]
    merged: list[Mapping[str, Any]] = []
    for event in sorted(events, key=lambda one: -one["time"]):
        if not _is_told(event, merged):
            merged.append(event)
    return merged


def _is_told(event: Mapping[str, Any], merged: Sequence[Mapping[str, Any]]) -> bool:
    for other in reversed(merged):
        if other["time"] - event["time"] > SAME_SECONDS:
            return False
        if not event["assets"] and {**other, "time": 0} == {**event, "time": 0}:
            return True
    return False


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _urgency(asset: Mapping[str, Any]) -> tuple[int, int, float]:
    """Return how urgent an asset of `/api/state` is, as `page_state` sorts them."""
    priority = PRIORITIES.index(asset.get("priority", "high"))
    return RANKS.index(_rank(asset)), priority, -(asset.get("since") or 0)


def _rank(asset: Mapping[str, Any]) -> str:
    """Return what an asset needs, as `page_state.rank_of` does."""
    status, state = asset.get("status"), str(asset.get("state"))
    if status == "unacknowledged":
        return "active" if asset.get("reason", "score") == "score" else "low"
    if status == "returned":
        return "latched"
    if status == "acknowledged":
        return "acknowledged"
    if state != "stale" and status in {"shelved", "suppressed"} and asset["alarm"] != "normal":
        return str(status)
    if state == "unknown" and asset.get("refused"):
        return "stale"
    return state if state in RANKS else "normal"
