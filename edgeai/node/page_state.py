"""What `/api/state` answers: all machines, as the overview of the page shows them."""

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeai.config.node import Config
from edgeai.errors import DROP_REASONS
from edgeai.messages import PRIORITIES
from edgeai.version import __version__

if TYPE_CHECKING:  # the supervisor uses this module and must not load the engine
    from edgeai.engine.pipeline import Pipeline
    from edgeai.engine.stream_state import StreamState

MAX_SHOWN_ASSETS = 500  # per pipeline
MAX_SHOWN_SIGNALS = 10  # names of the signals that an asset waits for
MAX_SHOWN_EVENTS = 40
SECOND_NS = 1_000_000_000
RANKS = (
    "active", "low", "latched", "acknowledged", "stale", "suppressed", "shelved", "unknown",
    "normal",
)  # fmt: skip
"""What a machine needs, the most urgent first. `active`: an alarm that nobody has acknowledged;
`low`: such an alarm in conditions that the model does not know."""


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


def count_followers(pipelines: Iterable["Pipeline"]) -> Counter[str]:
    """Return how many alarms are suppressed by each cause, as `Handling.cause` names it."""
    streams = [state for one in pipelines for state in list(one.streams.values())]
    return Counter(state.handling.cause for state in streams if state.handling.cause)


def pipeline_state(
    pipeline: "Pipeline",
    fault: str | None,
    hint: str,
    followers: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the state of a pipeline and of its `MAX_SHOWN_ASSETS` most urgent assets.

    Args:
        pipeline: As it is now.
        fault: Why it is not ready; None if it is.
        hint: What may be wrong with its subscription; empty if nothing is known.
        followers: From `count_followers`.
    """
    states = list(pipeline.streams.values())
    ranks = [rank_of(state) for state in states]
    # One for all, so that machines that fell silent together have the same time.
    clock_offset = time.time() - time.monotonic()
    since = {state: since_seconds(state, clock_offset) for state in states}
    if len(states) > MAX_SHOWN_ASSETS:  # of equally urgent ones those that changed last
        ranked = sorted(
            zip(ranks, states, strict=True),
            key=lambda one: (
                RANKS.index(one[0]),
                PRIORITIES.index(one[1].alarm.priority),
                -(since[one[1]] or 0),
            ),
        )
        shown = [state for _, state in ranked[:MAX_SHOWN_ASSETS]]
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
        "position": pipeline.config.alarm.position,
        "shelve_max_seconds": pipeline.config.alarm.shelve_max_seconds,
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
        "assets": [_asset_state(pipeline, state, since[state], followers or {}) for state in shown],
    }


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None or time_ns < 0 else time_ns / SECOND_NS


def rank_of(state: "StreamState") -> str:
    """Return what an asset needs: a value of `RANKS`."""
    status = state.status
    if status == "unacknowledged":
        return "active" if state.alarm.reason == "score" else "low"
    if status == "returned":
        return "latched"
    if status == "acknowledged":
        return "acknowledged"
    if state.is_stale or state.is_unused:
        return "stale"
    if state.shown_alarm != "normal":
        return status  # shelved or suppressed
    return "unknown" if state.time_ns is None else "normal"


def _asset_state(
    pipeline: "Pipeline", state: "StreamState", since: float | None, followers: Mapping[str, int]
) -> dict[str, Any]:
    waiting_for: list[str] = []
    is_judged = state.time_ns is not None
    undecided = state.stream.undecided
    if not is_judged and not state.is_from_before and not undecided:
        waiting_for = [pipeline.channels[i] for i in state.stream.waiting_for()]
    alarm, handling = state.shown_alarm, state.handling
    acknowledged, shelved = handling.acknowledged, handling.shelved
    newest_ns = state.last_sample_ns
    found = {
        "asset": state.key,
        "state": state.presence,
        "score": _shown_score(state),
        # Only an alarm of before a restart is known before the first window is judged.
        "alarm": alarm if is_judged or alarm != "normal" else "unknown",
        "priority": state.alarm.priority,
        "reason": state.alarm.reason,
        "status": state.status,
        "acknowledged": None
        if acknowledged is None
        else {"at": acknowledged.timestamp / SECOND_NS, "by": acknowledged.by},
        "shelved": None
        if shelved is None
        else {"until": shelved.until / SECOND_NS, "by": shelved.by, "reason": shelved.reason},
        "cause": handling.cause or None,
        "followers": followers.get(f"alarm:{pipeline.name}/{state.key}", 0),
        "chattering": state.is_held,
        "diagnosis": state.diagnosis,
        "quality": state.quality or "unknown",
        "threshold": state.alarm.rule.threshold,
        "operating": None if pipeline.states is None else pipeline.states.name_of(state) or None,
        "operating_since": _seconds(state.tracker.since_ns if state.tracker else None),
        "not_judged": state.not_judged,
        "is_undeclared": state.alarm.reason == "undeclared_state",
        "time": None if state.time_ns is None else state.time_ns / SECOND_NS,
        "last_sample": None if newest_ns is None else newest_ns / SECOND_NS,
        "since": since,
        # Why a machine has no data: refused messages; else the sender is silent.
        "refused": state.drops.reason if state.is_refused or state.is_unused else None,
        "stale_cause": state.stale_cause if state.is_stale else None,
        "one_stamp": None
        if undecided is None
        else {"count": undecided[0], "time": undecided[1] / SECOND_NS},
        "waiting_for": waiting_for[:MAX_SHOWN_SIGNALS],
        "at_fault": _signals_at_fault(pipeline, state)[:MAX_SHOWN_SIGNALS],
    }
    if state.sources:  # those of several that have stopped
        inlets = pipeline.sources.inlets
        found["silent_sources"] = [
            inlet.plan.name for inlet in inlets if state.sources[inlet.number].is_stale
        ]
    if alarm != "normal":
        found |= _reasons(pipeline, state)
    return found


def _signals_at_fault(pipeline: "Pipeline", state: "StreamState") -> list[str]:
    """Return the signals whose values cannot be used, if a machine has no result because of them.

    Those of which no good value has come yet, or none for a whole window. Of a policy that drops
    samples they are not known after the first good value: then the log names them.
    """
    channels: Iterable[int] = ()
    if state.is_refused or state.is_unused or state.is_stale:
        if state.stale_cause == "bad_values":
            channels = state.stream.held_channels()
        elif state.drops.reason == "invalid_value":
            channels = state.stream.waiting_for()
    return [pipeline.signals[channel] for channel in sorted(channels)]


def _reasons(pipeline: "Pipeline", state: "StreamState") -> dict[str, Any]:
    """Return why there is an alarm, and what to do.

    An active alarm has the reasons of the last window. Those of a latched alarm, and of one that
    continues after a restart, are of the window that raised it: windows are healthy now.
    """
    top, outputs, diagnosis = state.top, state.outputs, state.diagnosis
    raised = state.raised
    is_over = state.shown_alarm == "latched" or not (top or outputs)
    if is_over:
        top, outputs, diagnosis = (), {}, diagnosis if state.shown_alarm == "active" else ""
    if is_over and raised is not None:
        top, outputs = raised.top, raised.outputs
        if not diagnosis and raised.diagnosis:
            diagnosis = raised.diagnosis["kind"]
    names = {out.name for out in pipeline.manifest.outputs if out.role == "advice"}
    advice = [{"name": name, **outputs[name]} for name in outputs if name in names]
    return {
        "top": list(top),
        "diagnosis": diagnosis,
        "advice": advice,
        "cause_known": not is_over or raised is not None,
    }


def since_seconds(state: "StreamState", clock_offset: float) -> float | None:
    """Return since when an asset has been as it is shown, seconds since 1970; None: not known.

    It is a time of this machine's clock: that of the alarm's last change, as
    `edgeai_alarm_since_timestamp_seconds` says it; or of the last sample, window or message.

    Args:
        state: The stream.
        clock_offset: What to add to a monotonic time to get seconds since 1970.
    """
    changed_ns = state.alarm_since_ns
    if state.shown_alarm != "normal":
        return (changed_ns or state.alarm.since_ns or 0) / SECOND_NS or None
    if state.is_stale:
        if state.is_from_before and state.before is not None:
            return state.before[0]
        if state.stale_cause in ("no_window", "bad_values"):
            last = state.decided or state.first_heard
        else:
            last = state.used or state.first_heard
        return clock_offset + last if last else None
    if state.is_unused:
        return state.made_ns / SECOND_NS or (state.before[0] if state.before else None)
    return changed_ns / SECOND_NS or None


def _shown_score(state: "StreamState") -> float | None:
    """Return the score of the last judged window; None if JSON cannot say it, as an infinity."""
    is_judged = state.time_ns is not None
    return state.score if is_judged and math.isfinite(state.score) else None
