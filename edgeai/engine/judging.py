"""Model outputs to publications: quality, alarm state, contributing signals, diagnosis."""

from collections.abc import Callable, Mapping, Sequence
from math import inf, nan
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from edgeai.alarms.alarm import Alarm, quality_of
from edgeai.alarms.diagnosis import Domain, diagnose, domain_distances, is_outside
from edgeai.engine.alarm_hooks import Telling
from edgeai.engine.batch import DueWindow, WindowNote
from edgeai.engine.contributions import Contributor, largest_contributions
from edgeai.engine.other_model import OtherModel
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import Cause, CycleFacts, Prediction, ScoreReason, Transition
from edgeai.engine.stream_state import StreamState
from edgeai.messages import SECOND_NS, AlarmReason, AlarmState, Diagnosis, Publication, Quality
from edgeai.model.direction import SIDES
from edgeai.streams.side import Mark

_encode = msgspec.json.Encoder().encode


def _no_time() -> int:
    return 0


def _own_domain(state: StreamState) -> Domain:
    return state.domain


def heed(note: WindowNote, alarm: Alarm, time_ns: int) -> bool:
    """Let an alarm follow the operating state; return whether its state or priority changed.

    Args:
        note: Of a window.
        alarm: Of its stream.
        time_ns: Time of the window's last sample.
    """
    if note.rule is not None and note.rule is not alarm.rule:
        alarm.use(note.rule)
    if note.not_judged is not UNSET:
        alarm.interrupt()
    if note.is_declared:
        return alarm.end_undeclared(time_ns)
    return note.missing_ns is not None and alarm.raise_undeclared(
        time_ns - note.missing_ns, time_ns
    )


class Judge:
    """Turns the outputs of one pipeline's model into publications."""

    def __init__(
        self,
        pipeline: Pipeline,
        clock_ns: Callable[[], int] | None = None,
        other: OtherModel | None = None,
    ) -> None:
        """Look up a pipeline's rules once, not for every window.

        Args:
            pipeline: Whose windows are judged.
            clock_ns: Now, nanoseconds since 1970; None in a replay, where it means nothing.
            other: The model of some of its states; None: the pipeline's own.
        """
        self._clock_ns = clock_ns or _no_time
        model: Pipeline | OtherModel = other or pipeline
        manifest, publish = model.manifest, pipeline.config.publish
        position = {name: index for index, name in enumerate(model.outputs)}
        self._pipeline = pipeline
        self._session, self._batch = model.session, model.batch
        self._domain_of = _own_domain if other is None else other.domain_of
        self._model, self._version = manifest.name, manifest.version
        self._score = position[manifest.score]
        self._contribution = position.get(manifest.contribution or "")
        self._evidence = position.get(manifest.evidence or "")
        self._kinds = manifest.diagnosis
        self._diagnoses_windows = bool(manifest.evidence or manifest.domains)
        self._domains = [(position[name], edge) for name, edge in manifest.domains]
        self._published = [(name, unit, position[name]) for name, unit in model.published]
        self._advice = [(out.name, out.unit) for out in manifest.outputs if out.role == "advice"]
        self._threshold = model.rule.threshold
        self._abnormal = model.rule.abnormal
        self._abnormal_told: str | UnsetType = self._abnormal if self._abnormal == "low" else UNSET
        self._worst = inf if self._abnormal == "high" else -inf
        """The score that is beyond every threshold."""
        self._quality_rule = model.quality_rule
        self._channels = pipeline.channels
        self._has_cycles = pipeline.settings.cycle is not None
        self._top, self._qos = publish.top, publish.qos
        self._answer = None if pipeline.answers is None else pipeline.answers.add
        self._fields = [
            (out.name, position[out.name]) for out in manifest.outputs if out.role == "field"
        ]

    def judge(  # noqa: C901, PLR0912, PLR0915  one loop over the windows, for speed
        self,
        windows: list[DueWindow],
        outputs: list[npt.NDArray[np.float32]],
        publications: list[Publication],
    ) -> None:
        """Append the predictions of a batch, each followed by its change of alarm state, if any.

        Args:
            windows: (B,).
            outputs: (B, ...) each, in the order of the manifest. Overwritten.
            publications: Receives the publications. After an exception it holds those of the
                windows before, so that no window is judged twice.
        """
        pipeline, threshold = self._pipeline, self._threshold
        session, counted, batch = self._session, pipeline.metrics.predictions, self._batch
        scores = outputs[self._score].tolist()
        diagnoses: Sequence[Diagnosis | UnsetType | None] = [UNSET] * len(scores)
        if self._diagnoses_windows:
            diagnoses = self._diagnose(windows, outputs, scores)
        if self._fields:
            self._keep_fields(windows, outputs)
        extras: list[dict[str, Any]] = [{}] * len(scores)
        if self._published:
            extras = self._extras(outputs, diagnoses)
        tops: list[list[Contributor]] = [[]] * len(scores)
        if self._contribution is not None:  # last, because it overwrites the contributions
            contributions = outputs[self._contribution]
            tops = largest_contributions(contributions, pipeline.signals, self._top)
        for (
            state,
            time_ns,
            substituted,
            uncertain,
            interrupted,
            note,
        ), score, top, diagnosis, extra in zip(
            windows, scores, tops, diagnoses, extras, strict=True
        ):
            quality: Quality = "good"
            if interrupted:
                state.alarm.interrupt()
                state.enter(interrupted - 1)
            is_used = time_ns <= state.used_until_ns and state.is_used(time_ns)
            suffix = state.used_suffix if is_used else ""
            outside = diagnosis is not UNSET and is_outside(diagnosis)
            is_judged = note is None or note.not_judged is UNSET
            if substituted or uncertain or outside or is_used or not is_judged:
                doubtful = uncertain or outside or is_used or not is_judged
                quality = quality_of(substituted, doubtful, self._quality_rule)
            alarm = state.alarm
            previous = alarm.state
            changed = note is not None and heed(note, alarm, time_ns)
            level = score
            reason = None
            if not -inf < score < inf:  # also true for NaN
                level = self._worst
                reason = self._reason_of(state, score, quality)
            if quality != "bad" and is_judged:
                # Outside the domain the score says nothing, but that it is none is a failure.
                update = alarm.update_outside if outside and reason is None else alarm.update
                changed = update(level, time_ns) or changed
            if quality != "bad" or not is_judged:  # what is not judged, is so by declaration
                state.decided_ns = time_ns
            telling: Telling | None = None
            if changed or not state.is_announced or state.is_held:
                telling = pipeline.hooks.on_change(state, previous, time_ns, changed=changed)
            if reason is not None and score != level:
                quality = "bad"
            state.score, state.time_ns, state.quality = score, time_ns, quality
            state.diagnosis = diagnosis["kind"] if diagnosis else ""
            state.outputs, state.top = extra, top
            counted[quality] += 1
            prediction = Prediction(
                timestamp=time_ns,
                asset=state.key,
                model=self._model,
                version=self._version,
                score=score,
                threshold=threshold if note is None else alarm.rule.threshold,
                alarm=alarm.state,
                quality=quality,
                provider=session.provider,
                requested=session.requested,
                reason=session.reason,
                id=f"{state.id_prefix}{time_ns}{suffix}",
                outputs=extra,
                top=top,
                diagnosis=diagnosis,
                abnormal=self._abnormal_told,
                alarm_status=state.alarm_status,
            )
            if reason is not None:
                prediction.alarm_reason = reason
            if batch.marks:
                prediction.marks = self._marks_of(state, time_ns)
            if self._has_cycles:
                prediction.cycle = _cycle_of(state, time_ns)
            if note is not None:
                prediction.state, prediction.not_judged = note.state, note.not_judged
                state.not_judged = note.not_judged or None
            if level > state.highest:  # noqa: PLR1730  `max` takes four times as long
                state.highest = level
            if level < state.lowest:  # noqa: PLR1730
                state.lowest = level
            published = Publication(state.topic, _encode(prediction), self._qos, False)
            publications.append(published)
            if self._answer is not None:
                self._answer(state, prediction)
            if telling is not None:
                publications += self.transition(
                    state,
                    previous,
                    telling,
                    changed=changed,
                    top=top,
                    outputs=extra,
                    diagnosis=diagnosis,
                    reason=reason,
                )

    def pass_over(self, windows: list[DueWindow], publications: list[Publication]) -> None:
        """Append the predictions of windows that no model computes: they have no score.

        Args:
            windows: (n,), each with a note.
            publications: Receives the publications.
        """
        counted, session = self._pipeline.metrics.predictions, self._session
        for state, time_ns, substituted, uncertain, interrupted, note in windows:
            assert note is not None
            alarm = state.alarm
            if interrupted:
                state.enter(interrupted - 1)
            is_used = time_ns <= state.used_until_ns and state.is_used(time_ns)
            suffix = state.used_suffix if is_used else ""
            quality = quality_of(substituted, uncertain or is_used, self._quality_rule)
            previous = alarm.state
            changed = heed(note, alarm, time_ns)
            telling: Telling | None = None
            if changed or not state.is_announced or state.is_held:
                telling = self._pipeline.hooks.on_change(state, previous, time_ns, changed=changed)
            state.score, state.time_ns, state.quality = nan, time_ns, quality
            state.decided_ns = time_ns
            state.diagnosis, state.outputs, state.top = "", {}, ()
            state.not_judged = note.not_judged or None
            counted[quality] += 1
            prediction = Prediction(
                timestamp=time_ns,
                asset=state.key,
                model=self._model,
                version=self._version,
                score=None,
                threshold=alarm.rule.threshold,
                alarm=alarm.state,
                quality=quality,
                provider=session.provider,
                requested=session.requested,
                reason=session.reason,
                id=f"{state.id_prefix}{time_ns}{suffix}",
                outputs={},
                top=[],
                diagnosis=None if self._diagnoses_windows else UNSET,
                abnormal=self._abnormal_told,
                state=note.state,
                not_judged=note.not_judged,
                alarm_status=state.alarm_status,
            )
            if self._has_cycles:
                prediction.cycle = _cycle_of(state, time_ns)
            publications.append(Publication(state.topic, _encode(prediction), self._qos, False))
            if self._answer is not None:
                self._answer(state, prediction)
            if telling is not None:
                publications += self.transition(state, previous, telling, changed=changed)

    def _reason_of(self, state: StreamState, score: float, quality: Quality) -> ScoreReason:
        """Count and tell a score that is not finite; return what it is.

        +infinity is above every threshold: a model answers it to a gross fault. (Where a low score
        is abnormal, -infinity is.) The windows hold finite values only, so a NaN or the other
        infinity means that the model has failed. That must not pass in silence: it counts as
        beyond the threshold too, although the quality is then bad.
        """
        pipeline = self._pipeline
        pipeline.metrics.not_finite.inc()
        if quality == "bad":
            effect = "too many values of its window are substituted, so its alarm keeps its state"
        else:
            effect = f"it counts as {SIDES[self._abnormal]} the threshold"
        pipeline.log.score_not_finite(state.key, score, effect)
        return "score_infinite" if score == self._worst else "score_not_finite"

    def _marks_of(self, state: StreamState, time_ns: int) -> dict[str, Mark] | UnsetType:
        """Return what is wrong with signals of a window, by signal."""
        marks = self._batch.marks.get((state, time_ns))
        if not marks:
            return UNSET
        return {self._channels[place]: mark for place, mark in sorted(marks.items())}

    def _keep_fields(
        self, windows: list[DueWindow], outputs: list[npt.NDArray[np.float32]]
    ) -> None:
        """Copy the fields of the streams that somebody looks at; the next run overwrites them."""
        for index, window in enumerate(windows):
            state = window[0]
            if state.fields is not None:
                state.fields = {
                    name: outputs[column][index].copy() for name, column in self._fields
                }

    def _diagnose(
        self,
        windows: list[DueWindow],
        outputs: list[npt.NDArray[np.float32]],
        scores: list[float],
    ) -> Sequence[Diagnosis | None]:
        """Return the diagnoses: by evidence, and `outside_domain` for windows outside."""
        found: list[Diagnosis | None] = [None] * len(scores)
        if self._evidence is not None:
            evidence = outputs[self._evidence]
            limits = [
                self._threshold if note is None or note.rule is None else note.rule.threshold
                for *_, note in windows
            ]
            found = diagnose(evidence, scores, limits, self._kinds, self._abnormal)
        if not self._domains:
            return found
        distances = domain_distances(outputs, self._domains)
        return [
            self._domain_of(window[0]).diagnose(diagnosis, distance, window[1])
            for window, diagnosis, distance in zip(windows, found, distances, strict=True)
        ]

    def _extras(
        self,
        outputs: list[npt.NDArray[np.float32]],
        diagnoses: Sequence[Diagnosis | UnsetType | None],
    ) -> list[dict[str, Any]]:
        """Return value and unit of the other published outputs, for each window.

        Advice is null, with the reason, where the model does not know the conditions.
        """
        columns = [(name, unit, outputs[index].tolist()) for name, unit, index in self._published]
        extras = [
            {name: {"value": values[window], "unit": unit} for name, unit, values in columns}
            for window in range(len(outputs[self._score]))
        ]
        if self._advice:
            for extra, diagnosis in zip(extras, diagnoses, strict=True):
                if diagnosis is not UNSET and is_outside(diagnosis):
                    reason = diagnosis["kind"]
                    for name, unit in self._advice:
                        extra[name] = {"value": None, "unit": unit, "reason": reason}
        return extras

    def count_unpublished(self, error: Exception) -> None:
        """Count and tell a change of alarm state that cannot be published."""
        self._pipeline.containment.count_unpublished(error)

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
            abnormal=self._abnormal_told,
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


def _cycle_of(state: StreamState, time_ns: int) -> CycleFacts | UnsetType:
    """Return the cycle whose window's last sample is of a time."""
    cycles = state.stream.cycles
    cycle = None if cycles is None else cycles.facts.pop(time_ns, None)
    if cycle is None:
        return UNSET
    is_complete = cycle.outcome == "complete"
    return CycleFacts(
        number=cycle.number,
        start=cycle.start_ns,
        end=cycle.end_ns,
        duration_seconds=cycle.duration_ns / SECOND_NS,
        complete=is_complete,
        outcome=UNSET if is_complete else cycle.outcome,
    )
