"""The retained MQTT status of a node."""

import json
from collections.abc import Mapping

from edgeai.mqtt import Status
from edgeai.version import __version__

HANGUP_IGNORED = "SIGHUP is ignored: to read a changed configuration, restart edgeai"
"""What the log says to a SIGHUP, of a node as of the supervisor of its workers."""


def status_topic(node: str) -> str:
    """Return the topic of a node's status."""
    return f"edgeai/{node}/status"


def node_status(
    node: str,
    started: float,
    pipelines: Mapping[str, str],
    *,
    state: str = "online",
    reason: str = "",
    workers: Mapping[str, int] | None = None,
    signed_by: Mapping[str, str] | None = None,
) -> Status:
    """Return the payloads that are published on `edgeai/<node>/status`.

    Args:
        node: Name of the node.
        started: Seconds since 1970.
        pipelines: Model and version, by the name of the pipeline.
        state: The state to publish while connected.
        reason: Why the state is not `online`.
        workers: `{"running": n, "of": N}` if the node has several workers.
        signed_by: Id of the key that signed the model package, by the name of the pipeline. Shown
            only if any is signed.
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
        if signed_by:
            content["signed_by"] = signed_by
        return json.dumps(content if workers is None else {**content, "workers": workers}).encode()

    all_stopped = None if workers is None else {**workers, "running": 0}
    return Status(
        topic=status_topic(node),
        online=payload(state, reason, workers),
        offline=payload("offline", "stopped", all_stopped),
        lost=payload("offline", "connection lost", all_stopped),
    )
