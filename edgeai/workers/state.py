"""The state of several workers as that of one process, for the status page."""

from collections.abc import Iterable
from typing import Any

from edgeai.node.http_server import MAX_SHOWN_ASSETS


def merge_pipelines(states: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pipelines of several `/api/state` as those of one.

    Args:
        states: Each with the same pipelines, but its own streams.
    """
    merged: dict[str, dict[str, Any]] = {}
    for state in states:
        for pipeline in state["pipelines"]:
            known = merged.setdefault(pipeline["name"], {**pipeline, "streams": 0, "assets": []})
            known["streams"] += pipeline["streams"]
            known["assets"] += pipeline["assets"]
            if pipeline["provider"] not in known["provider"].split(", "):
                known["provider"] += f", {pipeline['provider']}"
            if pipeline["reason"] not in known["reason"]:
                known["reason"] += f"{', ' if known['reason'] else ''}{pipeline['reason']}"
    for pipeline in merged.values():
        pipeline["assets"] = sorted(pipeline["assets"], key=lambda asset: str(asset["asset"]))
        del pipeline["assets"][MAX_SHOWN_ASSETS:]
    return list(merged.values())
