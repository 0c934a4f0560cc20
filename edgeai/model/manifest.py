"""The manifest of a model package, model.yaml: signals, window, outputs, tolerances and files.

The descriptions of the fields are shown to users by `edgeai schema model`.
"""

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from edgeai.config.alarms import AlarmConfig
from edgeai.config.base import NotBool, Number, Precision, Strict, first_repeated
from edgeai.model.cycle_spec import CycleSpec
from edgeai.model.output_spec import DOMAIN_EDGE, UNPUBLISHED, KindSpec, OutputSpec
from edgeai.model.threshold_spec import HeldValuesSpec, ThresholdSpec
from edgeai.model.tolerance_spec import ToleranceSpec

MANIFEST = "model.yaml"
GRAPH = "model.onnx"
GOLDEN = "golden.npz"
INPUT_NAME = "window"
CONTEXT_NAME = "context"  # the second input of a graph that has one
WINDOW_LABEL = "window_label"  # optional array of golden.npz: which windows are healthy
TESTED_OPSET = 24  # the newest ONNX opset that edgeai is tested with; a newer one gets a note

GRAPHS: dict[Precision, str] = {
    "fp32": GRAPH,
    "fp16": "model.fp16.onnx",
    "int8": "model.int8.onnx",
}
"""File of each variant of the graph. A package must hold `model.onnx`; the others are optional."""


class SignalSpec(Strict):
    """One input channel. The signals have the order of the window's last axis."""

    name: str = Field(min_length=1, max_length=128, description="Name of the signal.")
    unit: str = Field(
        description="Unit of the signal, in UCUM or as plain text; `1` for a ratio or a count."
    )
    range: list[Number] | None = Field(
        None,
        json_schema_extra={"minItems": 2, "maxItems": 2},
        description="Valid range [low, high] in this unit. Default: every finite value is valid.",
    )
    meaning: str = Field("", description="What the signal measures, for people.")

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.range is not None and not (len(self.range) == 2 and self.range[0] < self.range[1]):
            msg = f"`range` must be [low, high] with low < high, not {self.range}"
            raise ValueError(msg)
        return self


class ContextSpec(SignalSpec):
    """One value of the second input `context`."""

    default: Number | None = Field(
        None,
        description="Stands for the value while none has come, and makes windows `uncertain`. "
        "Default: there is no window before the first value.",
    )


class WindowSpec(Strict):
    """The length of a window and the distance between two windows."""

    length: int = Field(ge=1, le=1_000_000, description="Number of samples in a window.")
    hop: int = Field(
        ge=1, le=1_000_000, description="Number of samples from one window to the next."
    )


class OnnxSpec(Strict):
    """What the graph requires of an ONNX runtime."""

    opset: int = Field(ge=7, description="Opset of the graph.")
    ir_version: int = Field(ge=3, description="Version of the ONNX file format (IR version).")
    domains: list[str] = Field(
        description="Operator domains of the graph's nodes. Further names do no harm."
    )
    control_flow: bool = Field(
        False,
        description="Whether the graph may use the operators Loop, Scan and If. By default they "
        "are refused.",
    )


class CompiledSpec(Strict):
    """A file that a vendor's compiler made from the graph, for a backend that takes no ONNX."""

    backend: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the adapter's entry point."
    )
    file: str = Field(
        description="File of the compiled model in the package. Its hash is in `files`."
    )
    beside: list[str] = Field(
        [],
        description="Further files that the backend reads, such as OpenVINO's model.bin. Default: "
        "none.",
    )
    device: str = Field(
        "",
        max_length=64,
        description="The `device_type` of the device profile that it was compiled for. Default: "
        "any device of the backend.",
    )
    precision: Precision = Field(
        description="Precision of the arithmetic. It decides the tolerance of the golden outputs."
    )
    compiler: str = Field(description="Name and version of the compiler.")


class Manifest(Strict):
    """The manifest of a model package, the file model.yaml."""

    format: Annotated[Literal[1], NotBool] = Field(
        description="Version of the format of this file."
    )
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Name of the model in predictions."
    )
    version: str = Field(
        pattern=r"^\d+\.\d+\.\d+$", description="Version of the model, as in 1.0.0."
    )
    task: Literal["anomaly", "pinn"] = Field(
        description="Kind of model. `anomaly`: anomaly detection; `pinn`: physics-informed."
    )
    description: str = Field(description="What the model is for, for people.")
    signals: list[SignalSpec] = Field(
        min_length=1, description="The input signals, in the order of the window's last axis."
    )
    context: list[ContextSpec] = Field(
        [],
        description="The values of the second input `context` (B, K), in the order of its last "
        "axis: recipe, material, tool, ambient. They are those at the end of the window. Default: "
        "the graph has no second input.",
    )
    sample_rate_hz: float | None = Field(
        ge=1e-6,
        le=1e7,
        description="Sample rate in Hz. `null`: one sample an event, such as a cycle or a part.",
    )
    window: WindowSpec = Field(description="Length and hop of the windows.")
    cycle: CycleSpec | None = Field(
        None,
        description="Says that a window is one cycle of the machine, brought to `window.length` "
        "samples; `window.hop` means nothing then. Default: windows slide.",
    )
    outputs: list[OutputSpec] = Field(min_length=1, description="The outputs of the graph.")
    threshold: ThresholdSpec = Field(description="The threshold of the score.")
    held_values: HeldValuesSpec | None = Field(
        None,
        description="How many held (substituted) values a window bears. Default: measured on the "
        "golden windows when the package is loaded.",
    )
    diagnosis: list[KindSpec] = Field(
        [],
        description="Meaning of each column of the output with the role `evidence`. An abnormal "
        "window gets the kind with the largest evidence. Default: no "
        "diagnosis.",
    )
    alarm: AlarmConfig = Field(
        AlarmConfig(), description="Defaults of the alarm, which a pipeline may change."
    )
    tolerance: ToleranceSpec = Field(
        ToleranceSpec(), description="How far outputs may be from the golden outputs."
    )
    onnx: OnnxSpec = Field(description="What the graph requires of an ONNX runtime.")
    training: dict[str, Any] = Field(
        description="Provenance of the model: data, recipe, seed and figures."
    )
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(
        description="SHA-256 (hexadecimal) of every other file of the package that is loaded."
    )
    compiled: list[CompiledSpec] = Field(
        [],
        description="Compiled files for backends that take no ONNX. The CPU serves model.onnx in "
        "any case. Default: none.",
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for field in ("signals", "context", "outputs"):
            if repeated := first_repeated([one.name for one in getattr(self, field)]):
                msg = f"`{field}`: the name `{repeated}` occurs twice"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        outputs = [output.name for output in self.outputs]
        inputs = {INPUT_NAME, CONTEXT_NAME} if self.context else {INPUT_NAME}
        if reserved := {*inputs, WINDOW_LABEL} & set(outputs):
            msg = f"`outputs`: `{min(reserved)}` is reserved, so no output may have this name"
            raise ValueError(msg)
        roles = [output.role for output in self.outputs]
        if roles.count("score") != 1:
            msg = "`outputs`: exactly one must have the role `score`"
            raise ValueError(msg)
        if roles.count("contribution") > 1:
            msg = "`outputs`: at most one may have the role `contribution`"
            raise ValueError(msg)
        if roles.count("evidence") != bool(self.diagnosis):
            msg = "`diagnosis` and one output with the role `evidence` belong together"
            raise ValueError(msg)
        for output in self.outputs:
            for name in (output.of, *[axis.output for axis in output.axes]):
                if name is not None and name not in outputs:
                    msg = f"`outputs`: {output.name} refers to {name}, which is no output"
                    raise ValueError(msg)
        missing = {GRAPH, GOLDEN} - set(self.files)
        if missing:
            msg = f"`files` must hold the hash of {', '.join(sorted(missing))}"
            raise ValueError(msg)
        if self.alarm.threshold is not None:
            msg = "the threshold belongs in `threshold.value`, not in `alarm.threshold`"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _length_signal_is_last(self) -> Self:
        computed = None if self.cycle is None else self.cycle.length_signal
        if computed is None:
            return self
        assert self.cycle is not None
        if self.cycle.fit != "pad":
            msg = "`cycle.length_signal` belongs to `cycle.fit: pad`"
            raise ValueError(msg)
        if len(self.signals) < 2 or self.signals[-1].name != computed:
            msg = "`cycle.length_signal` must be the last of `signals`, behind a measured one"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _variants_have_tolerances(self) -> Self:
        for precision in ("fp16", "int8"):
            uses = [item.file for item in self.compiled if item.precision == precision]
            uses += [GRAPHS[precision]] if GRAPHS[precision] in self.files else []
            if uses and getattr(self.tolerance, precision) is None:
                msg = f"`tolerance.{precision}` must be stated for {uses[0]}"
                raise ValueError(msg)
        targets = [(item.backend, item.device) for item in self.compiled]
        if len(targets) != len(set(targets)):
            msg = "`compiled`: one artefact for each backend and device"
            raise ValueError(msg)
        for item in self.compiled:
            for name in (item.file, *item.beside):
                if name not in self.files:
                    msg = f"`files` must hold the hash of {name}, which `compiled` names"
                    raise ValueError(msg)
            if item.file in GRAPHS.values():
                msg = f"`compiled`: {item.file} is a graph, which needs no entry"
                raise ValueError(msg)
        return self

    @property
    def measured(self) -> list[SignalSpec]:
        """The signals that messages carry: all but the one that says how long a cycle is."""
        has_computed = self.cycle is not None and self.cycle.length_signal is not None
        return self.signals[:-1] if has_computed else self.signals

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one window without the batch axis: (W, C)."""
        return self.window.length, len(self.signals)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a window with its context, as `edgeai.model.rows` says."""
        if not self.context:
            return self.input_shape
        return (math.prod(self.input_shape) + len(self.context),)

    @property
    def input_dtype(self) -> str:
        """Type of the values of a window, by its name in numpy."""
        return "float32"

    @property
    def input_bytes(self) -> int:
        """Size of one window with its context in bytes."""
        return np.dtype(self.input_dtype).itemsize * math.prod(self.row_shape)

    @property
    def score(self) -> str:
        """Name of the output with the role `score`."""
        return next(output.name for output in self.outputs if output.role == "score")

    @property
    def contribution(self) -> str | None:
        """Name of the output with the role `contribution`, or None."""
        return next((out.name for out in self.outputs if out.role == "contribution"), None)

    @property
    def evidence(self) -> str | None:
        """Name of the output with the role `evidence`, or None."""
        return next((out.name for out in self.outputs if out.role == "evidence"), None)

    @property
    def published(self) -> list[tuple[str, str]]:
        """Name and unit of the outputs that predictions carry beside score and contributions."""
        judged = {self.score, self.contribution}
        return [
            (output.name, output.unit)
            for output in self.outputs
            if output.name not in judged and output.role not in UNPUBLISHED
        ]

    @property
    def domains(self) -> list[tuple[str, float]]:
        """Name and edge of each output with the role `domain`."""
        return [
            (out.name, DOMAIN_EDGE if out.edge is None else out.edge)
            for out in self.outputs
            if out.role == "domain"
        ]

    @property
    def settle_seconds(self) -> float:
        """How long windows still count as outside the domain after the last one outside."""
        return max([out.settle_seconds for out in self.outputs])
