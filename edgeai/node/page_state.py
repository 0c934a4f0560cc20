"""What `/api/state` answers and the status page shows."""

import math
import time
from typing import TYPE_CHECKING, Any

from edgeai.config.node import Config
from edgeai.version import __version__

if TYPE_CHECKING:  # the supervisor uses this module and must not load the engine
    from edgeai.engine.pipeline import Pipeline
    from edgeai.engine.stream_state import StreamState

MAX_SHOWN_ASSETS = 500  # per pipeline
MAX_SHOWN_SIGNALS = 10  # names of the signals that an asset waits for


def node_state(
    config: Config,
    *,
    started: float,
    received: int,
    predicted: int,
    connected: bool,
    protocol: str | None,
    fault: str | None,
    pipelines: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the state of a node.

    Args:
        config: The node's configuration.
        started: Seconds since 1970.
        received: Messages since the start.
        predicted: Predictions since the start.
        connected: Whether the node is connected to its broker.
        protocol: MQTT version.
        fault: Why the node is not ready; None when it is.
        pipelines: From `pipeline_state`.
    """
    return {
        "node": config.node,
        "version": __version__,
        "now": time.time(),
        "started": started,
        "received": received,
        "predicted": predicted,
        "broker": {
            "address": f"{config.broker.host}:{config.broker.port}",
            "connected": connected,
            "protocol": protocol,
            "fault": fault,
        },
        "pipelines": pipelines,
    }


def pipeline_state(pipeline: "Pipeline", fault: str | None, hint: str) -> dict[str, Any]:
    """Return the state of a pipeline and of its first `MAX_SHOWN_ASSETS` assets.

    Args:
        pipeline: As it is now.
        fault: Why it is not ready; None if it is.
        hint: What may be wrong with its subscription; empty if nothing is known.
    """
    states = list(pipeline.streams.values())
    return {
        "name": pipeline.name,
        "fault": pipeline.containment.fault or fault,
        "stale_after_seconds": pipeline.stale_after_seconds,
        "stale": sum(state.is_stale for state in states),
        "model": pipeline.manifest.name,
        "version": pipeline.manifest.version,
        "provider": pipeline.session.provider,
        "requested": pipeline.session.requested,
        "reason": pipeline.session.reason,
        "topic": pipeline.config.source.topic,
        "hint": hint,
        "threshold": pipeline.rule.threshold,
        "abnormal": pipeline.rule.abnormal,
        "streams": len(states),
        "assets": [_asset_state(pipeline, state) for state in states[:MAX_SHOWN_ASSETS]],
    }


def _asset_state(pipeline: "Pipeline", state: "StreamState") -> dict[str, Any]:
    waiting_for: list[str] = []
    is_judged = state.time_ns is not None
    if not is_judged:
        waiting_for = [pipeline.signals[i] for i in state.stream.waiting_for()]
    alarm = state.alarm.state
    newest_ns = state.stream.newest_ns
    return {
        "asset": state.key,
        "state": state.presence,
        "score": _shown_score(state),
        # Only an alarm of before a restart is known before the first window is judged.
        "alarm": alarm if is_judged or alarm != "normal" else "unknown",
        "priority": state.alarm.priority,
        "diagnosis": state.diagnosis,
        "quality": state.quality or "unknown",
        "time": None if state.time_ns is None else state.time_ns / 1e9,
        "last_sample": None if newest_ns is None else newest_ns / 1e9,
        "waiting_for": waiting_for[:MAX_SHOWN_SIGNALS],
    }


def _shown_score(state: "StreamState") -> float | None:
    """Return the score of the last judged window; None if JSON cannot say it, as an infinity."""
    is_judged = state.time_ns is not None
    return state.score if is_judged and math.isfinite(state.score) else None
