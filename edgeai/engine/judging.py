"""Outputs to publications: alarm state, quality, explanation, diagnosis. One for each pipeline."""

from collections.abc import Sequence
from math import inf
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from edgeai.alarms.alarm import quality_of
from edgeai.alarms.diagnosis import diagnose
from edgeai.engine.batch import Window
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import Prediction, Transition, largest_contributions
from edgeai.engine.stream_state import StreamState
from edgeai.messages import AlarmState, Diagnosis, Publication, Quality

_encode = msgspec.json.Encoder().encode
LEAST, GREATEST = -inf, inf


class Judging:
    """What is made of a pipeline's outputs. Its rules are looked up once, not each time."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Look up the rules for a pipeline's outputs and streams."""
        manifest, publish = pipeline.manifest, pipeline.config.publish
        position = {name: index for index, name in enumerate(pipeline.outputs)}
        self._pipeline = pipeline
        self._model, self._version = manifest.name, manifest.version
        self._score = position[manifest.score]
        self._contribution = position.get(manifest.contribution or "")
        self._evidence = position.get(manifest.evidence or "")
        self._kinds = manifest.diagnosis
        self._published = [(name, unit, position[name]) for name, unit in pipeline.published]
        self._threshold = pipeline.rule.threshold
        self._max_ratio = pipeline.config.stream.max_invalid_ratio
        self._top, self._qos = publish.top, publish.qos

    def judge(
        self, windows: list[Window], outputs: list[npt.NDArray[np.float32]]
    ) -> list[Publication]:
        """Return the predictions of a batch, and the alarms that change with them.

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
            diagnoses = diagnose(outputs[self._evidence], scores, threshold, self._kinds)
        extras: list[dict[str, Any]] = [{}] * len(scores)
        if self._published:
            extras = self._extras(outputs)
        tops: list[list[tuple[str, float]]] = [[]] * len(scores)
        if self._contribution is not None:  # last, because it overwrites them
            contributions = outputs[self._contribution]
            tops = largest_contributions(contributions, pipeline.signals, self._top)
        for (state, time_ns, substituted, doubtful, broken), score, top, diagnosis, extra in zip(
            windows, scores, tops, diagnoses, extras, strict=True
        ):
            quality: Quality = "good"
            if substituted or doubtful:
                quality = quality_of(substituted, doubtful, pipeline.window_values, self._max_ratio)
            alarm = state.alarm
            previous = alarm.state
            changed = False
            if not LEAST < score < GREATEST:  # NaN neither
                pipeline.metrics.not_finite.inc()
                quality = "bad"
            if broken:
                alarm.interrupt()
            if quality != "bad":
                changed = alarm.update(score, time_ns)
            state.score, state.time_ns, state.quality = score, time_ns, quality
            counted[quality] += 1
            prediction = Prediction(
                time_ns, state.key, self._model, self._version, score, threshold, alarm.state,
                quality, session.provider, session.requested, session.reason,
                f"{state.id_prefix}{time_ns}", extra, top, diagnosis,
            )  # fmt: skip
            published = Publication(state.topic, _encode(prediction), self._qos, False)
            publications.append(published)
            if changed:
                publications.append(self.transition(state, previous, top))
        return publications

    def _extras(self, outputs: list[npt.NDArray[np.float32]]) -> list[dict[str, Any]]:
        """Return what is published of the outputs beyond score and contributions, by window."""
        columns = [(name, unit, outputs[index].tolist()) for name, unit, index in self._published]
        return [
            {name: {"value": values[window], "unit": unit} for name, unit, values in columns}
            for window in range(len(outputs[self._score]))
        ]

    def transition(
        self, state: StreamState, previous: AlarmState, top: list[tuple[str, float]]
    ) -> Publication:
        """Return a change of alarm state, retained, so that a late listener sees it."""
        alarm = state.alarm
        self._pipeline.metrics.alarms[alarm.state] += 1
        time_ns = alarm.since_ns or 0
        transition = Transition(
            time_ns, state.key, self._pipeline.name, self._model, self._version, alarm.state,
            previous, state.score, self._threshold, top,
            f"{state.id_prefix}{time_ns}:{alarm.state}",
        )  # fmt: skip
        return Publication(state.alarm_topic, _encode(transition), 1, True)
