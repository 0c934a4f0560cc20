"""What `/api/state` answers: all machines, as the overview of the page shows them."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeai.config.node import Config
from edgeai.errors import DROP_REASONS
from edgeai.version import __version__

if TYPE_CHECKING:  # the supervisor uses this module and must not load the engine
    from edgeai.engine.pipeline import Pipeline
    from edgeai.engine.stream_state import StreamState

MAX_SHOWN_ASSETS = 500  # per pipeline
MAX_SHOWN_SIGNALS = 10  # names of the signals that an asset waits for
MAX_SHOWN_EVENTS = 40
SECOND_NS = 1_000_000_000
RANKS = ("active", "low", "latched", "stale", "unknown", "normal")
"""What a machine needs, the most urgent first. `low`: an active alarm of low priority."""


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
    refused: Mapping[str, int] | None = None,
    events: Sequence[Mapping[str, Any]] = (),
    commands: Sequence[str] = (),
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
        refused: Messages that no pipeline takes, by reason.
        events: What has changed last, the newest first.
        commands: Names of the commands that the page may offer.
    """
    counted = {reason: count for reason, count in (refused or {}).items() if count}
    reasons = set(counted).union(*[pipeline.get("drops", ()) for pipeline in pipelines])
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
        "refused": counted,
        "reasons": {reason: DROP_REASONS.get(reason, reason) for reason in sorted(reasons)},
        "events": list(events[:MAX_SHOWN_EVENTS]),
        "commands": list(commands) if config.http.token is not None else [],
        "pipelines": pipelines,
    }


def pipeline_state(pipeline: "Pipeline", fault: str | None, hint: str) -> dict[str, Any]:
    """Return the state of a pipeline and of its `MAX_SHOWN_ASSETS` most urgent assets.

    Args:
        pipeline: As it is now.
        fault: Why it is not ready; None if it is.
        hint: What may be wrong with its subscription; empty if nothing is known.
    """
    states = list(pipeline.streams.values())
    ranks = [rank_of(state) for state in states]
    if len(states) > MAX_SHOWN_ASSETS:
        order = sorted(range(len(states)), key=lambda index: RANKS.index(ranks[index]))
        shown = [states[index] for index in order[:MAX_SHOWN_ASSETS]]
    else:
        shown = states
    manifest = pipeline.manifest
    metrics = pipeline.metrics
    return {
        "name": pipeline.name,
        "fault": pipeline.containment.fault or fault,
        "stale_after_seconds": pipeline.stale_after_seconds,
        "stale": sum(state.is_stale for state in states),
        "model": manifest.name,
        "version": manifest.version,
        "task": manifest.task,
        "provider": pipeline.session.provider,
        "requested": pipeline.session.requested,
        "reason": pipeline.session.reason,
        "topic": ", ".join(one.topic for one in pipeline.config.named_sources.values()),
        "hint": hint,
        "threshold": pipeline.rule.threshold,
        "abnormal": pipeline.rule.abnormal,
        "latch": pipeline.rule.latch,
        "diagnoses": {
            one.kind: {"cause": one.cause, "meaning": one.meaning} for one in manifest.diagnosis
        },
        "advices": {
            out.name: {"unit": out.unit, "meaning": out.meaning}
            for out in manifest.outputs
            if out.role == "advice"
        },
        "messages": metrics.messages.value,
        "predictions": dict(metrics.predictions),
        "drops": {reason: count for reason, count in metrics.drops.items() if count},
        "invalid": {reason: count for reason, count in metrics.invalid_counts().items() if count},
        "streams": len(states),
        "counts": dict(Counter(ranks)),
        "assets": [_asset_state(pipeline, state) for state in shown],
    }


def rank_of(state: "StreamState") -> str:
    """Return what an asset needs: a value of `RANKS`."""
    alarm = state.alarm
    if alarm.state == "active":
        return "active" if alarm.priority == "high" else "low"
    if alarm.state == "latched":
        return "latched"
    if state.is_stale or state.is_unused:
        return "stale"
    return "unknown" if state.time_ns is None else "normal"


def _asset_state(pipeline: "Pipeline", state: "StreamState") -> dict[str, Any]:
    waiting_for: list[str] = []
    is_judged = state.time_ns is not None
    undecided = state.stream.undecided
    if not is_judged and not state.is_from_before and not undecided:
        waiting_for = [pipeline.channels[i] for i in state.stream.waiting_for()]
    alarm = state.alarm.state
    newest_ns = state.last_sample_ns
    found = {
        "asset": state.key,
        "state": state.presence,
        "score": _shown_score(state),
        # Only an alarm of before a restart is known before the first window is judged.
        "alarm": alarm if is_judged or alarm != "normal" else "unknown",
        "priority": state.alarm.priority,
        "diagnosis": state.diagnosis,
        "quality": state.quality or "unknown",
        "time": None if state.time_ns is None else state.time_ns / SECOND_NS,
        "last_sample": None if newest_ns is None else newest_ns / SECOND_NS,
        "since": since_seconds(state),
        # Why a machine has no data: refused messages; else the sender is silent.
        "refused": state.drops.reason if state.is_refused or state.is_unused else None,
        "stale_cause": state.stale_cause if state.is_stale else None,
        "one_stamp": None
        if undecided is None
        else {"count": undecided[0], "time": undecided[1] / SECOND_NS},
        "waiting_for": waiting_for[:MAX_SHOWN_SIGNALS],
    }
    if state.sources:  # those of several that have stopped
        inlets = pipeline.sources.inlets
        found["silent_sources"] = [
            inlet.plan.name for inlet in inlets if state.sources[inlet.number].is_stale
        ]
    if alarm != "normal":
        found |= _reasons(pipeline, state)
    return found


def _reasons(pipeline: "Pipeline", state: "StreamState") -> dict[str, Any]:
    """Return why there is an alarm, and what to do: of the last window, or of the alarm's start."""
    raised = state.raised
    top, outputs, diagnosis = state.top, state.outputs, state.diagnosis
    if raised is not None and (state.alarm.state == "latched" or not (top or outputs)):
        top, outputs = raised.top, raised.outputs
        if not diagnosis and raised.diagnosis:
            diagnosis = raised.diagnosis["kind"]
    names = {out.name for out in pipeline.manifest.outputs if out.role == "advice"}
    advice = [{"name": name, **outputs[name]} for name in outputs if name in names]
    return {"top": list(top), "diagnosis": diagnosis, "advice": advice}


def since_seconds(state: "StreamState") -> float | None:
    """Return since when an asset has been as it is shown, seconds since 1970; None: not known."""
    if state.alarm.state != "normal":
        if state.raised_ns:
            return state.raised_ns / SECOND_NS
        since_ns = state.alarm.since_ns  # of before the restart, by the sender's clock
        return None if since_ns is None else since_ns / SECOND_NS
    if state.is_stale and state.is_from_before and state.before is not None:
        return state.before[0]
    if state.is_stale:
        return time.time() - (time.monotonic() - state.used) if state.used else None
    return state.alarm_told_ns / SECOND_NS or None


def _shown_score(state: "StreamState") -> float | None:
    """Return the score of the last judged window; None if JSON cannot say it, as an infinity."""
    is_judged = state.time_ns is not None
    return state.score if is_judged and math.isfinite(state.score) else None
