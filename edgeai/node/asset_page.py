"""What `/api/asset` and `/api/history` answer: one machine, as its own view shows it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from edgeai.engine.history import History, rounded
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from edgeai.messages import SECOND_NS
from edgeai.model.output_spec import AxisSpec, OutputSpec
from edgeai.node.http_answers import Query, Reply, reply_error

LOOKED_AT_SECONDS = 30.0  # after the last question the fields of a stream are kept for this time
MAX_LOOKED_AT = 16  # streams whose fields are kept at the same time
MAX_FIELD_VALUES = 10_000  # of one field; the page shows no larger one
MAX_OUTPUT_VALUES = 3  # an output with more values is a profile, which the field shows


class AssetPages:
    """Answers questions about single machines."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        history: History,
        faults_of: Callable[[str], Mapping[str, str]],
    ) -> None:
        """Wire the parts.

        Args:
            pipelines: The pipelines of the node.
            history: The last hour of each stream.
            faults_of: Returns the faults that can be injected into an asset of a simulated line.
        """
        self._faults_of = faults_of
        self._pipelines = {one.name: one for one in pipelines}
        self._history = history
        self._looked_at: dict[StreamState, float] = {}
        """When somebody asked last for a stream with fields, in monotonic seconds."""

    def asset(self, query: Query) -> Reply:
        """Return one machine in all its pipelines: `?asset=NAME`."""
        name = query.get("asset", "")
        found = [
            (pipeline, state)
            for pipeline in self._pipelines.values()
            if (state := pipeline.streams.get(name)) is not None
        ]
        if not found:
            return reply_error(HTTPStatus.NOT_FOUND, f"no such machine: {name[:100]}")
        self._forget_fields()
        return Reply(
            HTTPStatus.OK,
            {
                "asset": name,
                "faults": self._faults_of(name),
                "pipelines": [self._detail(*one) for one in found],
            },
        )

    def history(self, query: Query) -> Reply:
        """Return the last hour of one machine: `?pipeline=NAME&asset=NAME&after=STEP`."""
        pipeline = self._pipelines.get(query.get("pipeline", ""))
        state = None if pipeline is None else pipeline.streams.get(query.get("asset", ""))
        if pipeline is None or state is None:
            return reply_error(HTTPStatus.NOT_FOUND, "no such pipeline and machine")
        after = query.get("after", "")
        step = int(after) if after.isascii() and after.isdigit() and len(after) < 16 else None
        return Reply(HTTPStatus.OK, self._history.read(pipeline, state, step))

    def _detail(self, pipeline: Pipeline, state: StreamState) -> dict[str, Any]:
        manifest = pipeline.manifest
        outputs = state.outputs
        ring = state.stream.ring
        newest = ring.newest.tolist() if ring.size else [None] * len(pipeline.channels)
        held = state.stream.held_channels()
        return {
            "name": pipeline.name,
            "description": manifest.description,
            "signals": [
                {
                    "name": signal.name, "unit": signal.unit, "meaning": signal.meaning,
                    "range": signal.range, "value": _short(value),
                    "is_held": channel in held,
                }
                for channel, (signal, value) in enumerate(
                    zip(manifest.measured, newest, strict=False)
                )
            ],
            "top": list(state.top),
            "outputs": [
                _output(output, outputs[output.name])
                for output in manifest.outputs
                if output.name in outputs
            ],
            "fields": self._fields(pipeline, state),
            "has_fields": any(output.role == "field" for output in manifest.outputs),
            "cycle": _cycle(state),
        }  # fmt: skip

    def _fields(self, pipeline: Pipeline, state: StreamState) -> list[dict[str, Any]]:
        """Return the fields of the last window, once somebody has asked for them before."""
        outputs = [output for output in pipeline.manifest.outputs if output.role == "field"]
        if not outputs:
            return []
        self._looked_at[state] = time.monotonic()
        values = state.fields
        if values is None:
            state.fields = {}  # the next window fills it
            return []
        axes = {axis.output for output in outputs for axis in output.axes}
        return [
            {
                "name": output.name, "unit": output.unit, "meaning": output.meaning,
                "axes": [_axis(axis, values) for axis in output.axes],
                "values": rounded(values[output.name]),
            }
            for output in outputs
            if output.name in values and output.name not in axes
            and values[output.name].size <= MAX_FIELD_VALUES
        ]  # fmt: skip

    def _forget_fields(self) -> None:
        """Keep no fields of streams that nobody has asked for lately."""
        now = time.monotonic()
        newest = sorted(self._looked_at.items(), key=lambda item: -item[1])
        for index, (state, asked) in enumerate(newest):
            if index >= MAX_LOOKED_AT or now - asked > LOOKED_AT_SECONDS:
                state.fields = None
                self._looked_at.pop(state, None)


def _cycle(state: StreamState) -> dict[str, Any] | None:
    """Return the last cycle and the open one, times in seconds; None where windows slide."""
    cycles = state.stream.cycles
    if cycles is None:
        return None
    last, since_ns = cycles.last, cycles.open_since_ns
    return {
        "last": None
        if last is None
        else {
            "number": last.number,
            "end": last.end_ns / SECOND_NS,
            "duration_seconds": last.duration_ns / SECOND_NS,
            "outcome": last.outcome,
        },
        "open_since": None if since_ns is None else since_ns / SECOND_NS,
    }


def _axis(axis: AxisSpec, values: dict[str, Any]) -> dict[str, Any]:
    found = axis.values if axis.output is None else rounded(values[axis.output])
    return {"name": axis.name, "unit": axis.unit, "values": found}


def _output(output: OutputSpec, published: dict[str, Any]) -> dict[str, Any]:
    value = published.get("value")
    if isinstance(value, list) and len(value) > MAX_OUTPUT_VALUES:
        value = None
    return {
        "name": output.name, "unit": output.unit, "meaning": output.meaning, "role": output.role,
        "of": output.of, "level": output.level, "normal": output.normal, "value": value,
        "reason": published.get("reason"),
    }  # fmt: skip


def _short(value: float | None) -> float | None:
    """Return a value with the digits that float32 has; None if it is no number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
