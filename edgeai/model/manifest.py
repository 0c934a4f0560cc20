"""The manifest of a model package, model.yaml: what its files are, take, give and may be off by."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edgeai.config.base import Precision, Strict
from edgeai.config.node import AlarmConfig

MANIFEST = "model.yaml"
GRAPH = "model.onnx"
GOLDEN = "golden.npz"
INPUT_NAME = "window"
MAX_OPSET = 24

GRAPHS: dict[Precision, str] = {
    "fp32": GRAPH,
    "fp16": "model.fp16.onnx",
    "int8": "model.int8.onnx",
}
"""File of each variant of the graph; `model.onnx` is the one a package must hold."""
Number = Annotated[float, Field(allow_inf_nan=False)]


class SignalSpec(Strict):
    """One input channel: its name, unit and valid range, in the order of the window's last axis."""

    name: str = Field(min_length=1, max_length=128)
    unit: str = Field(description="UCUM or plain text, `1` for a ratio or count.")
    range: list[Number] | None = Field(None, min_length=2, max_length=2)
    meaning: str = ""

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.range is not None and not self.range[0] < self.range[1]:
            msg = "`range` must be [low, high] with low < high"
            raise ValueError(msg)
        return self


class WindowSpec(Strict):
    """Samples in a window, and samples from one window to the next."""

    length: int = Field(ge=1, le=1_000_000)
    hop: int = Field(ge=1, le=1_000_000)


Role = Literal[
    "score", "contribution", "value", "parameter", "residual", "domain", "advice", "interval",
    "field", "evidence",
]  # fmt: skip
UNPUBLISHED: frozenset[Role] = frozenset({"field", "evidence"})
"""A whole field is for the report: a publication holds what the graph reduces it to."""


class AxisSpec(Strict):
    """One axis of a field after the batch: fixed values, or those of another output (B, n)."""

    name: str = Field(min_length=1)
    unit: str
    values: list[Number] | None = Field(None, min_length=1)
    output: str | None = Field(None, description="Output (B, n) that gives the values.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.values is None) == (self.output is None):
            msg = "exactly one of `values` and `output` must be given"
            raise ValueError(msg)
        return self


class OutputSpec(Strict):
    """One output of the graph; the judge reads the roles `score`, `contribution` and `evidence`.

    `score` is (B,), `contribution` (B, C), `residual` and `domain` (B,), `interval` (B, 2), and
    `evidence` (B, K), one column for each entry of `diagnosis`; a `field` is (B, axes...).
    """

    name: str = Field(min_length=1)
    unit: str
    meaning: str
    role: Role = "value"
    of: str | None = Field(None, description="Output whose interval this is.")
    level: float | None = Field(None, gt=0, lt=1, description="Coverage of the interval.")
    normal: list[Number] | None = Field(
        None, min_length=2, max_length=2, description="Range in healthy operation."
    )
    axes: list[AxisSpec] = Field([], description="Of a field, in order.")

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if (self.role == "interval") != (self.of is not None and self.level is not None):
            msg = "the role `interval`, and only it, needs `of` and `level`"
            raise ValueError(msg)
        if (self.role == "field") != bool(self.axes):
            msg = "the role `field`, and only it, needs `axes`"
            raise ValueError(msg)
        return self


class KindSpec(Strict):
    """What a column of the output with the role `evidence` speaks for."""

    kind: str = Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")
    cause: Literal["sensor", "physics", "domain"] = Field(
        description="A sensor is wrong, the process has changed, or the model was not trained here."
    )
    meaning: str


class ThresholdSpec(Strict):
    """The score above which a window is abnormal, and how it was found."""

    value: Number
    method: str
    data: str
    false_alarms_per_day: float | None = Field(None, ge=0)


class Tolerance(Strict):
    """How far an output may be from the golden one: |a - b| <= atol + rtol |b|."""

    rtol: float = Field(1e-4, gt=0, le=0.1)
    atol: float = Field(1e-5, gt=0, le=10)


class ReducedTolerance(Strict):
    """The same for a reduced precision: what its error may be is the model's maker's to say."""

    rtol: float = Field(gt=0, le=0.5)
    atol: float = Field(gt=0, le=1e6)


class ToleranceSpec(Tolerance):
    """`rtol` and `atol` are those of fp32, which also bind a precision that has none of its own."""

    fp16: ReducedTolerance | None = Field(
        None, description="Of model.fp16.onnx, and of devices that compute in half precision."
    )
    int8: ReducedTolerance | None = Field(
        None, description="Of model.int8.onnx, and of devices that compute in 8-bit integers."
    )

    def of(self, precision: Precision) -> Tolerance | ReducedTolerance:
        """Return the tolerance of a precision."""
        reduced = {"fp32": None, "fp16": self.fp16, "int8": self.int8}[precision]
        return self if reduced is None else reduced


class OnnxSpec(Strict):
    """What the graph needs of a runtime."""

    opset: int = Field(ge=7, le=MAX_OPSET)
    ir_version: int = Field(ge=3)
    domains: list[str]
    control_flow: bool = Field(
        False, description="Loop, Scan and If are refused unless this says so."
    )


class CompiledSpec(Strict):
    """What a vendor's compiler made of the graph, for a backend that takes no ONNX."""

    backend: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Entry point under `edgeai.backends`."
    )
    file: str = Field(description="The artefact; its hash is in `files`.")
    beside: list[str] = Field(
        [], description="Files the backend reads beside it (OpenVINO's model.bin)."
    )
    device: str = Field(
        "",
        max_length=64,
        description="The profile's `device_type` it was compiled for; empty: any of the backend's.",
    )
    precision: Precision = Field(
        description="Of the arithmetic: which tolerance the golden outputs are held to."
    )
    compiler: str = Field(description="Name and version of what compiled it.")


class Manifest(Strict):
    """The file model.yaml."""

    format: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    task: Literal["anomaly", "pinn"]
    description: str
    signals: list[SignalSpec] = Field(min_length=1)
    sample_rate_hz: float | None = Field(
        ge=1e-6, le=1e7, description="Null: one sample an event (a cycle, a part)."
    )
    window: WindowSpec
    outputs: list[OutputSpec] = Field(min_length=1)
    threshold: ThresholdSpec
    diagnosis: list[KindSpec] = Field(
        [],
        description="Of the columns of the output `evidence`: a window whose score is above the "
        "threshold is diagnosed as the kind with the largest evidence.",
    )
    alarm: AlarmConfig = AlarmConfig()
    tolerance: ToleranceSpec = ToleranceSpec()
    onnx: OnnxSpec
    training: dict[str, Any] = Field(description="Provenance: data, recipe, seed, figures.")
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(
        description="SHA-256 of every other file of the package that is loaded."
    )
    compiled: list[CompiledSpec] = Field(
        [], description="Artefacts for backends that take no ONNX; the ONNX stays for the CPU."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [signal.name for signal in self.signals]
        if len(names) != len(set(names)):
            msg = "`signals`: each name may occur once"
            raise ValueError(msg)
        outputs = [output.name for output in self.outputs]
        if len(outputs) != len(set(outputs)) or INPUT_NAME in outputs:
            msg = f"`outputs`: each name may occur once, and none may be `{INPUT_NAME}`"
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
                    msg = f"`outputs`: {output.name} refers to {name}, which is not there"
                    raise ValueError(msg)
        missing = {GRAPH, GOLDEN} - set(self.files)
        if missing:
            msg = f"`files` must hold the hash of {', '.join(sorted(missing))}"
            raise ValueError(msg)
        if self.alarm.threshold is not None:
            msg = "`alarm.threshold` belongs into `threshold.value`"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _variants_stated(self) -> Self:
        for precision in ("fp16", "int8"):
            uses = [item.file for item in self.compiled if item.precision == precision]
            uses += [GRAPHS[precision]] if GRAPHS[precision] in self.files else []
            if uses and getattr(self.tolerance, precision) is None:
                msg = f"`tolerance.{precision}` must be stated for {uses[0]}"
                raise ValueError(msg)
        places = [(item.backend, item.device) for item in self.compiled]
        if len(places) != len(set(places)):
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
