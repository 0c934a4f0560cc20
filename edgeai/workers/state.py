"""The state of several workers as that of one process, for the status page."""

from collections.abc import Iterable
from typing import Any

from edgeai.node.page_state import MAX_SHOWN_ASSETS

EMPTY: dict[str, Any] = {"streams": 0, "stale": 0, "fault": None}
"""What is added up over the workers."""


def merge_pipelines(states: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pipelines of several `/api/state` answers as those of one process.

    Args:
        states: One a worker, all with the same pipelines, each with its own streams.
    """
    merged: dict[str, dict[str, Any]] = {}
    for state in states:
        for pipeline in state["pipelines"]:
            known = merged.setdefault(pipeline["name"], {**pipeline, **EMPTY, "assets": []})
            known["streams"] += pipeline["streams"]
            known["stale"] += pipeline["stale"]
            known["fault"] = known["fault"] or pipeline["fault"]
            known["assets"] += pipeline["assets"]
            known["hint"] = known["hint"] and pipeline["hint"]  # a worker's share may be empty
            if pipeline["provider"] not in known["provider"].split(", "):
                known["provider"] += f", {pipeline['provider']}"
            if pipeline["reason"] not in known["reason"]:
                known["reason"] += f"{', ' if known['reason'] else ''}{pipeline['reason']}"
    for pipeline in merged.values():
        pipeline["assets"] = sorted(pipeline["assets"], key=lambda asset: str(asset["asset"]))
        del pipeline["assets"][MAX_SHOWN_ASSETS:]
    return list(merged.values())
