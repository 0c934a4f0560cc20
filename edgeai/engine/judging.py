"""Model outputs to publications: quality, alarm state, contributing signals, diagnosis."""

from collections.abc import Sequence
from math import inf
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from edgeai.alarms.alarm import quality_of
from edgeai.alarms.diagnosis import diagnose, domain_distances, is_outside
from edgeai.engine.batch import DueWindow
from edgeai.engine.contributions import Contributor, largest_contributions
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import Prediction, Transition
from edgeai.engine.stream_state import StreamState
from edgeai.messages import AlarmState, Diagnosis, Publication, Quality

_encode = msgspec.json.Encoder().encode


class Judge:
    """Turns the outputs of one pipeline's model into publications."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Look up a pipeline's rules once, not for every window."""
        manifest, publish = pipeline.manifest, pipeline.config.publish
        position = {name: index for index, name in enumerate(pipeline.outputs)}
        self._pipeline = pipeline
        self._model, self._version = manifest.name, manifest.version
        self._score = position[manifest.score]
        self._contribution = position.get(manifest.contribution or "")
        self._evidence = position.get(manifest.evidence or "")
        self._kinds = manifest.diagnosis
        self._domains = [(position[name], edge) for name, edge in manifest.domains]
        self._published = [(name, unit, position[name]) for name, unit in pipeline.published]
        self._advice = [(out.name, out.unit) for out in manifest.outputs if out.role == "advice"]
        self._threshold = pipeline.rule.threshold
        self._abnormal = pipeline.rule.abnormal
        self._abnormal_told: str | UnsetType = self._abnormal if self._abnormal == "low" else UNSET
        self._quality_rule = pipeline.quality_rule
        self._top, self._qos = publish.top, publish.qos

    def judge(
        self, windows: list[DueWindow], outputs: list[npt.NDArray[np.float32]]
    ) -> list[Publication]:
        """Return the predictions of a batch, each followed by its change of alarm state, if any.

        Args:
            windows: (B,).
            outputs: (B, ...) each, in the order of the manifest. Overwritten.
        """
        pipeline, threshold = self._pipeline, self._threshold
        session, counted = pipeline.session, pipeline.metrics.predictions
        publications: list[Publication] = []
        scores = outputs[self._score].tolist()
        diagnoses: Sequence[Diagnosis | UnsetType | None] = [UNSET] * len(scores)
        if self._evidence is not None:
            diagnoses = diagnose(
                outputs[self._evidence], scores, threshold, self._kinds, self._abnormal
            )
        if self._domains:
            diagnoses = self._keep_to_domain(windows, outputs, diagnoses)
        extras: list[dict[str, Any]] = [{}] * len(scores)
        if self._published:
            extras = self._extras(outputs)
            if self._advice:
                self._withhold_advice(extras, diagnoses)
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
        ), score, top, diagnosis, extra in zip(
            windows, scores, tops, diagnoses, extras, strict=True
        ):
            quality: Quality = "good"
            outside = diagnosis is not UNSET and is_outside(diagnosis)
            if substituted or uncertain or outside:
                quality = quality_of(substituted, uncertain or outside, self._quality_rule)
            alarm = state.alarm
            previous = alarm.state
            changed = False
            if not -inf < score < inf:  # also true for NaN
                pipeline.metrics.not_finite.inc()
                quality = "bad"
            if interrupted:
                alarm.interrupt()
            if quality != "bad":
                changed = alarm.update_outside(time_ns) if outside else alarm.update(score, time_ns)
            state.score, state.time_ns, state.quality = score, time_ns, quality
            state.diagnosis = diagnosis["kind"] if diagnosis else ""
            counted[quality] += 1
            prediction = Prediction(
                timestamp=time_ns,
                asset=state.key,
                model=self._model,
                version=self._version,
                score=score,
                threshold=threshold,
                alarm=alarm.state,
                quality=quality,
                provider=session.provider,
                requested=session.requested,
                reason=session.reason,
                id=f"{state.id_prefix}{time_ns}",
                outputs=extra,
                top=top,
                diagnosis=diagnosis,
                abnormal=self._abnormal_told,
            )
            published = Publication(state.topic, _encode(prediction), self._qos, False)
            publications.append(published)
            if changed:
                publications.append(self.transition(state, previous, top))
        return publications

    def _extras(self, outputs: list[npt.NDArray[np.float32]]) -> list[dict[str, Any]]:
        """Return value and unit of the other published outputs, for each window."""
        columns = [(name, unit, outputs[index].tolist()) for name, unit, index in self._published]
        return [
            {name: {"value": values[window], "unit": unit} for name, unit, values in columns}
            for window in range(len(outputs[self._score]))
        ]

    def _keep_to_domain(
        self,
        windows: list[DueWindow],
        outputs: list[npt.NDArray[np.float32]],
        diagnoses: Sequence[Diagnosis | UnsetType | None],
    ) -> Sequence[Diagnosis | None]:
        """Return the diagnoses, `outside_domain` for each window outside the domain."""
        distances = domain_distances(outputs, self._domains)
        return [
            window[0].domain.diagnose(None if found is UNSET else found, distance, window[1])
            for window, found, distance in zip(windows, diagnoses, distances, strict=True)
        ]

    def _withhold_advice(
        self, extras: list[dict[str, Any]], diagnoses: Sequence[Diagnosis | UnsetType | None]
    ) -> None:
        """Replace the advice of each window outside the domain by null and the reason."""
        for extra, diagnosis in zip(extras, diagnoses, strict=True):
            if diagnosis is UNSET or not is_outside(diagnosis):
                continue
            for name, unit in self._advice:
                extra[name] = {"value": None, "unit": unit, "reason": diagnosis["kind"]}

    def transition(
        self, state: StreamState, previous: AlarmState, top: list[Contributor]
    ) -> Publication:
        """Return a change of alarm state, retained, so that a later subscriber sees it."""
        alarm = state.alarm
        self._pipeline.metrics.alarms[alarm.state] += 1
        time_ns = alarm.since_ns or 0
        transition = Transition(
            timestamp=time_ns,
            asset=state.key,
            pipeline=self._pipeline.name,
            model=self._model,
            version=self._version,
            state=alarm.state,
            previous=previous,
            score=state.score,
            threshold=self._threshold,
            top=top,
            priority=alarm.priority,
            abnormal=self._abnormal_told,
            id=f"{state.id_prefix}{time_ns}:{alarm.state}",
        )
        return Publication(state.alarm_topic, _encode(transition), 1, True)
