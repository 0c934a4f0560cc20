"""The retained status of a node, as its payloads say it."""

import json
from collections.abc import Mapping

from edgeai import __version__
from edgeai.mqtt import Status


def node_status(
    node: str,
    started: float,
    pipelines: Mapping[str, str],
    *,
    state: str = "online",
    reason: str = "",
    workers: Mapping[str, int] | None = None,
) -> Status:
    """Return what is published on `edgeai/<node>/status`.

    Args:
        node: Its name.
        started: Seconds since 1970.
        pipelines: Model and version by pipeline.
        state: While connected.
        reason: Why the state is not `online`.
        workers: `{"running": n, "of": N}`, where there are several.
    """

    def payload(state: str, reason: str, workers: Mapping[str, int] | None) -> bytes:
        content = {
            "state": state,
            "reason": reason,
            "node": node,
            "version": __version__,
            "started": round(started, 3),
            "pipelines": pipelines,
        }
        return json.dumps(content if workers is None else {**content, "workers": workers}).encode()

    none = None if workers is None else {**workers, "running": 0}
    return Status(
        topic=f"edgeai/{node}/status",
        online=payload(state, reason, workers),
        offline=payload("offline", "stopped", none),
        lost=payload("offline", "connection lost", none),
    )
