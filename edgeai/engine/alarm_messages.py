"""The retained messages of alarms: a change of state, or what else became of an alarm."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from edgeai.engine.alarm_hooks import Telling
from edgeai.engine.contributions import Contributor
from edgeai.engine.other_model import OtherModel
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import Cause, ScoreReason, Transition
from edgeai.engine.stream_state import StreamState
from edgeai.messages import AlarmReason, AlarmState, Diagnosis, Publication

_encode = msgspec.json.Encoder().encode


class AlarmMessages:
    """Makes the messages of the alarms of one pipeline, judged by one model."""

    def __init__(
        self,
        pipeline: Pipeline,
        model: Pipeline | OtherModel,
        clock_ns: Callable[[], int] | None = None,
    ) -> None:
        """Look up what all messages say.

        Args:
            pipeline: The alarms'.
            model: Whose outputs are judged.
            clock_ns: Now, nanoseconds since 1970; None in a replay, where it means nothing.
        """
        self._pipeline, self._clock_ns = pipeline, clock_ns or _no_time
        self._model, self._version = model.manifest.name, model.manifest.version
        self._abnormal: str | UnsetType = "low" if model.rule.abnormal == "low" else UNSET

    def transition(
        self,
        state: StreamState,
        previous: AlarmState,
        telling: Telling | None = None,
        *,
        changed: bool = True,
        top: Sequence[Contributor] = (),
        outputs: Mapping[str, Any] | None = None,
        diagnosis: Diagnosis | UnsetType | None = UNSET,
        reason: ScoreReason | None = None,
    ) -> list[Publication]:
        """Return a change of alarm state, retained, so that a later subscriber sees it.

        Args:
            state: The stream, with its new alarm state.
            previous: The state before.
            telling: How it is told; None: the desk is asked.
            changed: Whether the state has changed. If not, what the broker retains of before a
                restart may still say something else.
            top: As in the prediction that caused it; a reset has none of these.
            outputs: As in the prediction.
            diagnosis: As in the prediction.
            reason: As in the prediction.

        Returns:
            The message; none for an alarm that is held back because it chatters.
        """
        alarm = state.alarm
        if changed:
            self._pipeline.metrics.alarms[alarm.state] += 1
        if telling is None:
            time_ns = alarm.since_ns or 0
            telling = self._pipeline.hooks.on_change(state, previous, time_ns, changed=changed)
        if telling == "hold":
            return []
        if telling == "release":
            return [self.tell_again(state, "active")]
        if changed:
            state.alarm_since_ns = state.alarm_told_ns = self._clock_ns()
        found = Cause(list(top), dict(outputs or {}), diagnosis)
        if changed and alarm.state == "active":
            state.raised = found
        time_ns = (alarm.since_ns if changed else state.time_ns) or 0
        shown: AlarmState | Literal["unknown"] = previous if changed else "unknown"
        return [self._message(state, shown, time_ns, found, mark=alarm.state, reason=reason)]

    def tell_again(self, state: StreamState, previous: AlarmState | None = None) -> Publication:
        """Return a message of an alarm whose state has not changed, but what became of it.

        Args:
            state: The stream.
            previous: The state that was told last; None: the present one.
        """
        shown = state.shown_alarm
        if previous is not None and previous != shown:
            state.alarm_since_ns = state.alarm_told_ns = self._clock_ns()
        found = (state.raised if shown == "active" else None) or Cause()
        mark = f"{shown}:{state.status}:{self._clock_ns()}"
        time_ns = state.alarm.since_ns or state.time_ns or 0
        told: AlarmState | Literal["unknown"] = shown if state.is_announced else "unknown"
        return self._message(state, previous or told, time_ns, found, mark=mark)

    def _message(
        self,
        state: StreamState,
        previous: AlarmState | Literal["unknown"],
        time_ns: int,
        found: Cause,
        *,
        mark: str,
        reason: ScoreReason | None = None,
    ) -> Publication:
        """Return the retained message of an alarm, and tell it; `mark` is the end of its id."""
        alarm, handling, pipeline = state.alarm, state.handling, self._pipeline
        shown = state.shown_alarm
        state.is_announced, state.is_told_stale = True, state.is_stale
        why: AlarmReason | UnsetType = UNSET if alarm.reason == "score" else alarm.reason
        transition = Transition(
            timestamp=time_ns,
            asset=state.key,
            pipeline=pipeline.name,
            model=self._model,
            version=self._version,
            state=shown,
            previous=previous,
            score=state.score,
            threshold=alarm.rule.threshold,
            top=found.top,
            priority=alarm.priority,
            id=f"{state.id_of(time_ns)}:{mark}",
            quality=state.quality,
            outputs=found.outputs,
            diagnosis=found.diagnosis,
            alarm_reason=reason or why,
            abnormal=self._abnormal,
            status=state.status,
            position=pipeline.config.alarm.position,
            acknowledged=handling.acknowledged or UNSET,
            shelved=handling.shelved or UNSET,
            suppressed_by=handling.cause or UNSET,
            chattering=state.is_held or UNSET,
        )
        if state.is_stale:
            transition.presence, transition.stale_cause = "stale", state.stale_cause
        publication = Publication(state.alarm_topic, _encode(transition), 1, True)
        pipeline.hooks.on_transition(state, publication, transition)
        if previous != shown or not handling.is_quiet:  # commands and silence are told as such
            pipeline.log.alarm(
                state.key, previous, shown, status=transition.status, score=state.score,
                threshold=alarm.rule.threshold, top=found.top, diagnosis=found.diagnosis or None,
            )  # fmt: skip
        return publication


def _no_time() -> int:
    return 0
