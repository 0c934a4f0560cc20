"""What the outputs of a model say of each window beside the score: diagnosis, values, fields."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from edgeai.alarms.diagnosis import Domain, diagnose, domain_distances, is_outside
from edgeai.engine.batch import DueWindow
from edgeai.engine.other_model import OtherModel
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from edgeai.messages import Diagnosis


def _own_domain(state: StreamState) -> Domain:
    return state.domain


class ModelOutputs:
    """Reads the outputs of one model, a batch at a time."""

    def __init__(self, pipeline: Pipeline, other: OtherModel | None) -> None:
        """Look up the places of the outputs once, not for every batch.

        Args:
            pipeline: Whose windows are computed.
            other: The model of some of its states; None: the pipeline's own.
        """
        model: Pipeline | OtherModel = other or pipeline
        manifest = model.manifest
        position = {name: index for index, name in enumerate(model.outputs)}
        self.score = position[manifest.score]
        """Place of the score among the outputs."""
        self.contribution = position.get(manifest.contribution or "")
        """Place of the contributions of the signals; None: the model has none."""
        self.diagnoses_windows = bool(manifest.evidence or manifest.domains)
        self.published = [(name, unit, position[name]) for name, unit in model.published]
        """Name, unit and place of the other published outputs."""
        self.fields = [
            (out.name, position[out.name]) for out in manifest.outputs if out.role == "field"
        ]
        """Name and place of the outputs that are shown and not published."""
        self._domain_of = _own_domain if other is None else other.domain_of
        self._evidence = position.get(manifest.evidence or "")
        self._kinds = manifest.diagnosis
        self._domains = [(position[name], edge) for name, edge in manifest.domains]
        self._advice = [(out.name, out.unit) for out in manifest.outputs if out.role == "advice"]
        self._threshold, self._abnormal = model.rule.threshold, model.rule.abnormal

    def diagnose(
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

    def extras(
        self,
        outputs: list[npt.NDArray[np.float32]],
        diagnoses: Sequence[Diagnosis | UnsetType | None],
    ) -> list[dict[str, Any]]:
        """Return value and unit of the other published outputs, for each window.

        Advice is null, with the reason, where the model does not know the conditions.
        """
        columns = [(name, unit, outputs[index].tolist()) for name, unit, index in self.published]
        extras = [
            {name: {"value": values[window], "unit": unit} for name, unit, values in columns}
            for window in range(len(outputs[self.score]))
        ]
        if self._advice:
            for extra, diagnosis in zip(extras, diagnoses, strict=True):
                if diagnosis is not UNSET and is_outside(diagnosis):
                    reason = diagnosis["kind"]
                    for name, unit in self._advice:
                        extra[name] = {"value": None, "unit": unit, "reason": reason}
        return extras

    def keep_fields(self, windows: list[DueWindow], outputs: list[npt.NDArray[np.float32]]) -> None:
        """Copy the fields of the streams that somebody looks at; the next run overwrites them."""
        for index, window in enumerate(windows):
            state = window[0]
            if state.fields is not None:
                state.fields = {name: outputs[column][index].copy() for name, column in self.fields}
