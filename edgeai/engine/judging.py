"""Model outputs to publications: quality, alarm state, contributing signals, the prediction."""

from collections.abc import Callable, Sequence
from math import inf, nan
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from edgeai.alarms.alarm import Alarm, quality_of
from edgeai.alarms.diagnosis import is_outside
from edgeai.engine.alarm_hooks import Telling
from edgeai.engine.alarm_messages import AlarmMessages
from edgeai.engine.batch import DueWindow, WindowNote
from edgeai.engine.contributions import Contributor, largest_contributions
from edgeai.engine.model_outputs import ModelOutputs
from edgeai.engine.other_model import OtherModel
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import CycleFacts, Prediction, ScoreReason
from edgeai.engine.stream_state import StreamState
from edgeai.messages import SECOND_NS, Diagnosis, Publication, Quality
from edgeai.model.direction import SIDES
from edgeai.streams.side import Mark

_encode = msgspec.json.Encoder().encode


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
        model: Pipeline | OtherModel = other or pipeline
        manifest, publish = model.manifest, pipeline.config.publish
        self._outputs = ModelOutputs(pipeline, other)
        self.alarms = AlarmMessages(pipeline, model, clock_ns)
        """Makes the messages of its alarms."""
        self._pipeline = pipeline
        self._session, self._batch = model.session, model.batch
        self._model, self._version = manifest.name, manifest.version
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
        model = self._outputs
        scores = outputs[model.score].tolist()
        diagnoses: Sequence[Diagnosis | UnsetType | None] = [UNSET] * len(scores)
        if model.diagnoses_windows:
            diagnoses = model.diagnose(windows, outputs, scores)
        if model.fields:
            model.keep_fields(windows, outputs)
        extras: list[dict[str, Any]] = [{}] * len(scores)
        if model.published:
            extras = model.extras(outputs, diagnoses)
        tops: list[list[Contributor]] = [[]] * len(scores)
        if model.contribution is not None:  # last, because it overwrites the contributions
            contributions = outputs[model.contribution]
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
                publications += self.alarms.transition(
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
                diagnosis=None if self._outputs.diagnoses_windows else UNSET,
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
                publications += self.alarms.transition(state, previous, telling, changed=changed)

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
